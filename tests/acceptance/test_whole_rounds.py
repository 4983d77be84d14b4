"""Rounds of students in whole runs."""

from __future__ import annotations

import pytest
from relabelled import QUICK, label_anew, notes

from fractal_core.mil import pseudolabel_stage
from fractal_core.mil.saving import load_ensemble


def rounds_of(runner):
    """The rounds in table scores of stage pseudolabel, and that of the pseudo-labels."""
    tried = sorted(set(runner.table("pseudolabel", "scores").column("round").to_pylist()))
    (kept,) = set(runner.table("pseudolabel", "pseudolabels").column("round").to_pylist())
    return tried, kept


@pytest.mark.parametrize(
    ("losses", "tried", "kept"),
    [
        ((1.0, 1.1), [1], 0),
        ((1.0, 1.0), [1], 0),
        ((1.0, 0.9, 0.8, 0.7), [1, 2, 3], 3),
        ((1.0, 0.9, 0.95), [1, 2], 1),
    ],
    ids=["worse", "no better", "ever better", "better, then worse"],
)
def test_the_first_student_that_is_no_better_ends_the_rounds(runner, monkeypatch, losses, tried, kept):
    """A student is kept only if it fits held-out labels better; all that were tried have scores, and notes say so."""
    label_anew(runner, min, count=36)
    runner.run(*QUICK, until="train")
    left = list(losses)
    monkeypatch.setattr(pseudolabel_stage, "unseen_loss", lambda *arguments: left.pop(0))
    runner.run(*QUICK, "pseudolabel.rounds=3", until="pseudolabel")
    assert left == []
    assert rounds_of(runner) == (tried, kept)
    assert [note.endswith(": kept") for note in notes(runner, "pseudolabel")] == [n <= kept for n in tried]
    student = load_ensemble(runner.last.artefacts["pseudolabel"].path("student.safetensors"))
    assert student.metadata["round"] == kept
    teacher = load_ensemble(runner.last.artefacts["train"].path("scorer.safetensors"))
    same = [component.name for component in student.components] == [component.name for component in teacher.components]
    assert same is (kept == 0)


def test_no_rounds(runner):
    """Without rounds the pseudo-labels are those of the scorer, and table scores has no round but 0."""
    label_anew(runner, min, count=36)
    runner.run(*QUICK, "pseudolabel.rounds=0", until="pseudolabel")
    assert rounds_of(runner) == ([], 0)
    scores = runner.table("train", "scores").column("probability").to_pylist()
    assert runner.table("pseudolabel", "pseudolabels").column("score").to_pylist() == pytest.approx(scores)
