"""`train.on_new_data`: which stages run where responses come, change and go, and what the run says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from relabelled import notes
from small_data import make_rows

from fractal_core.config_loading import load_config
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.planning import make_plan
from fractal_core.store.collecting import collect

ALL = list(STAGE_NAMES)
TRAINING = ["train", "pseudolabel", "evaluate", "export"]
WARM, FREEZE = "train.on_new_data=warm-start", "train.on_new_data=freeze"
SCORER = "scorer.safetensors"


def grow(rows):
    """Six more responses about three new places, all in train."""
    for number, row in enumerate(make_rows(6, seed=9)):
        name = f"What happened at new place {number // 2}?"
        rows.append({**row, "id": f"new-{number}", "query": name, "split": "train"})


def shrink(rows):
    """The six responses are gone again."""
    del rows[-6:]


def file(runner, name, stage="train"):
    """The bytes of a file of the last run."""
    return runner.last.artefacts[stage].path(name).read_bytes()


@pytest.mark.parametrize("mode", [WARM, FREEZE], ids=["warm start", "freeze"])
def test_unchanged_and_reverted_input_runs_nothing(runner, mode):
    """New responses go on from the scorer, once; going back finds what there was, under every mode."""
    assert runner.run(mode) == ALL
    fingerprints = runner.last.record.fingerprints()
    assert runner.run(mode) == []
    first = runner.last.record.run_id  # The newest that has it.
    runner.edit(grow)
    assert runner.run(mode) == ALL
    said = {stage: notes(runner, stage)[0] for stage in ("train", "pseudolabel")}
    trained_on = (
        f"of run {first}, trained on 40 train responses; there are 46 with a label now, 40 of which it has seen"
    )
    if mode == FREEZE:
        assert said["train"] == f"frozen: scores are by the scorer {trained_on}"
        assert said["pseudolabel"] == f"frozen: sentence labels are by the scorer of run {first}"
    else:
        assert said["train"] == f"warm start from the scorer {trained_on}"
        assert said["pseudolabel"].startswith("round 1 fits held-out responses")
    assert runner.run(mode) == []
    runner.edit(shrink)
    assert runner.run(mode) == []
    assert runner.last.record.fingerprints() == fingerprints
    assert runner.run() == []
    runner.edit(grow)
    assert runner.run(mode) == []
    assert runner.run() == TRAINING


def test_the_default_trains_anew(runner, runner_in, tmp_path):
    """Under retrain an earlier scorer makes no difference: all bytes are those of a run in a new workspace."""
    runner.run(FREEZE, until="pseudolabel")
    runner.edit(grow)
    runner.run(until="pseudolabel")
    (tmp_path / "clean").mkdir()
    for name in ("responses.jsonl", "fractal.toml"):
        (tmp_path / "clean" / name).write_bytes((runner.folder / name).read_bytes())
    clean = runner_in(tmp_path / "clean")
    clean.run(until="pseudolabel")
    assert clean.bytes() == runner.bytes()
    assert clean.last.record.fingerprints() == runner.last.record.fingerprints()


def test_a_freeze_after_a_freeze_keeps_the_same_scorer(runner):
    """However often: scorer, heads and folds are those of the first run, and students too."""
    runner.run(FREEZE, until="pseudolabel")
    kept = {name: file(runner, name) for name in (SCORER, "heads.safetensors", "folds.parquet")}
    student = file(runner, "student.safetensors", "pseudolabel")
    continues = []
    for _ in range(2):
        runner.edit(grow if not continues else lambda rows: rows.pop(0))
        assert runner.run(FREEZE, until="pseudolabel")[-2:] == ["train", "pseudolabel"]
        assert {name: file(runner, name) for name in kept} == kept
        assert file(runner, "student.safetensors", "pseudolabel") == student
        continues.append(runner.last.artefacts["train"].manifest.recipe.continues)
    assert continues[0] == continues[1]
    assert "trained on 40 train responses; there are 45 with a label now, 39 of which" in notes(runner, "train")[0]
    # A warm start goes on from the heads that were kept, and deals the responses that the freeze had left without fold.
    assert runner.run(WARM, until="pseudolabel") == ["train", "pseudolabel"]
    assert "trained on 40 train responses; there are 45 with a label now, 39 of which" in notes(runner, "train")[0]
    assert file(runner, SCORER) != kept[SCORER]
    runner.edit(lambda rows: rows.pop())
    runner.run(WARM, until="train")
    assert "trained on 45 train responses; there are 44 with a label now, 44 of which" in notes(runner, "train")[0]


def test_force_trains_from_scratch(runner):
    """--force train goes on from nothing, and its result is taken from then on."""
    runner.run(FREEZE, until="train")
    runner.edit(grow)
    assert runner.run(FREEZE, until="train", force=("train",)) == ["read", "segment", "embed", "priors", "train"]
    assert runner.last.artefacts["train"].manifest.recipe.continues == {}
    assert "frozen" not in " ".join(notes(runner, "train"))
    forced = file(runner, SCORER)
    assert runner.run(FREEZE, until="train") == []
    assert runner.run(until="train") == []
    assert file(runner, SCORER) == forced


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("train.epochs=11", "train.epochs changed from 10 to 11"),
        ("encoder.max_tokens=24", "in stage embed max_tokens changed from 256 to 24"),
    ],
    ids=["of training", "of the evidence"],
)
def test_another_configuration_trains_anew_and_says_why(runner, setting, fault):
    """What was learned otherwise, or from evidence made otherwise, is not gone on from."""
    runner.run(FREEZE, until="train")
    first = runner.last.record.run_id
    runner.edit(grow)
    assert "train" in runner.run(FREEZE, setting, until="train")
    assert notes(runner, "train")[0] == (
        f'on_new_data = "freeze", but no earlier scorer is continued: that of run {first} cannot be, because {fault}'
    )
    assert runner.last.artefacts["train"].manifest.recipe.continues == {}


def test_the_plan_names_what_is_continued(runner):
    """`fractal plan` says which run's scorer is gone on from, or why none, and looks for nothing under retrain."""
    runner.run(FREEZE)
    first = runner.last.record.run_id
    runner.edit(grow)

    def reasons(*settings, force=()):
        plan = make_plan(runner.workspace, load_config(runner.folder / "fractal.toml", settings), force=force)
        return {step.stage: (step.decision, step.reasons) for step in plan}

    # Before the input is read it is not known whether anything has changed for these stages.
    unread = reasons(FREEZE)
    assert unread["train"] == (
        "wait",
        (
            "runs unless read, segment, embed and priors make the same output as before",
            f"continues the scorer of run {first}",
        ),
    )
    assert len(unread["pseudolabel"][1]) == len(reasons()["train"][1]) == 1
    assert reasons(FREEZE, "encoder.max_tokens=24")["train"][1][1].endswith(
        "because in stage embed max_tokens changed from 256 to 24"
    )
    runner.run(FREEZE, until="priors")
    decision, said = reasons(FREEZE)["train"]
    assert (decision, said[-1]) == ("run", f"continues the scorer of run {first}")
    assert said[0].startswith("input ")
    assert not any("continue" in reason for reason in reasons()["train"][1])
    assert reasons(FREEZE, force=("train",))["train"] == ("run", ("forced",))
    assert reasons(FREEZE, "train.folds=4")["train"][1][-1] == (
        f'on_new_data = "freeze", but no earlier scorer is continued: that of run {first} cannot be, because '
        "train.folds changed from 2 to 4"
    )
    runner.run(FREEZE)
    assert {decision for decision, _ in reasons(FREEZE).values()} == {"reuse"}
    record = next(stage for stage in runner.last.record.stages if stage.stage == "train")
    assert record.reason.endswith(f"; continues the scorer of run {first}")
    assert reasons()["train"][1] == ("on_new_data changed from 'freeze' to 'retrain'",)


def test_a_run_that_failed_is_gone_on_with(runner, monkeypatch):
    """A stage that was frozen before the run failed is found; the next new data go on from a run that completed."""
    from fractal_core.mil import pseudolabel_stage

    runner.run(FREEZE, until="pseudolabel")
    first = runner.last.record.run_id
    runner.edit(grow)
    with monkeypatch.context() as patch:
        patch.setattr(pseudolabel_stage, "answer", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.run(FREEZE, until="pseudolabel")
    assert runner.run(FREEZE, until="pseudolabel") == ["pseudolabel"]
    assert notes(runner, "pseudolabel") == [f"frozen: sentence labels are by the scorer of run {first}"]


def test_a_damaged_scorer_is_not_continued(runner):
    """A flipped bit in any file that is read: trained anew, and the note names the file."""
    runner.run(FREEZE, until="train")
    path = Path(runner.last.artefacts["train"].path("heads.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    runner.edit(grow)
    runner.run(FREEZE, until="train")
    assert runner.last.artefacts["train"].manifest.recipe.continues == {}
    assert notes(runner, "train")[0].endswith(f"because {path} has other content than its manifest says")


def test_nothing_is_missed_when_the_scorer_that_was_continued_is_collected(runner):
    """After `fractal gc` the frozen run is found as it is, and gone on from."""
    runner.run(FREEZE, until="pseudolabel")
    scorer = file(runner, SCORER)
    runner.edit(grow)
    runner.run(FREEZE, until="pseudolabel")
    assert {item.name.split("-")[0] for item in collect(runner.workspace, 1) if item.kind == "artefact"} >= {"train"}
    assert runner.run(FREEZE, until="pseudolabel") == []
    runner.edit(shrink)
    assert runner.run(FREEZE, until="pseudolabel") == ALL[: ALL.index("pseudolabel") + 1]
    assert file(runner, SCORER) == scorer
