"""Which earlier result a stage goes on from, and when nothing has to run."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pydantic import BaseModel

from fractal_core.store.collecting import collect
from fractal_core.store.continuing import resolve
from fractal_core.store.describing import make_recipe
from fractal_core.store.materialize import materialize
from fractal_core.store.recipe import MODE
from fractal_core.store.runs import StageRecord, finished, new_run, save_run
from fractal_core.store.stage import Continues, Runtime, Stage
from fractal_core.store.workspace import open_workspace


class Params(BaseModel):
    """Parameters of the fake stages."""

    factor: int


class Project:
    """Stage read makes numbers of a text, scale multiplies them, and sum adds them up, to an earlier sum if it may."""

    def __init__(self, root, monkeypatch):
        self.workspace = open_workspace(root / "ws")
        self.source = root / "input.txt"
        self.mode: str | None = None
        self.factors = {"scale": 1, "sum": 1}
        self.ran: list[str] = []
        self.notes: list[str] = []
        self.artefacts = {}
        read = Stage(
            "read", "fractal_core.errors:FractalError", "Reads.", ("sentences",), lambda config: Params(factor=1),
            sources=lambda config: {"input": [self.source]},
        )  # fmt: skip
        scale = Stage(
            "scale", "fractal_core.errors:FractalError", "Multiplies.", ("sentences",),
            lambda config: Params(factor=self.factors["scale"]), reads={"read.sentences": ("start",)},
        )  # fmt: skip
        self.sum = Stage(
            "sum", "fractal_core.errors:InputError", "Adds up.", (), lambda config: Params(factor=self.factors["sum"]),
            reads={"scale.sentences": ("start",)}, files=("total.txt", "aside.txt"),
            continues=Continues("total", ("total.txt",), lambda config: self.mode, alike=("scale",)),
        )  # fmt: skip
        self.stages = (read, scale, self.sum)
        bodies = {"read": self._read, "scale": self._scale, "sum": self._sum}
        monkeypatch.setattr(Stage, "load", lambda stage: bodies[stage.name])

    def _read(self, inputs, params, outputs, runtime):
        self._write([int(number) for number in inputs.sources("input")[0].read_text().split()], outputs)

    def _scale(self, inputs, params, outputs, runtime):
        self._write([number * params.factor for number in inputs.table("sentences")["start"].to_pylist()], outputs)

    def _write(self, numbers, outputs):
        count = len(numbers)
        columns = {
            "response_id": pa.array(["r"] * count),
            "sentence_index": pa.array(range(count), pa.int32()),
            "start": pa.array(numbers, pa.int32()),
            "end": pa.array(numbers, pa.int32()),
            "text": pa.array([""] * count),
            "gold": pa.nulls(count, pa.float64()),
        }
        outputs.write("sentences", pa.table(columns))

    def _sum(self, inputs, params, outputs, runtime):
        before = inputs.continued()
        self.ran.append("sum" if before is None else f"sum, {before.mode}")
        total = 0 if before is None else int(before.path("total.txt").read_text())
        if before is None or before.mode != "freeze":
            total += sum(inputs.table("sentences")["start"].to_pylist())
        outputs.file("total.txt").write_text(str(total))
        outputs.file("aside.txt").write_text("aside")

    def run(self, text, mode=None, *, force=(), state="completed"):
        """Run all stages and record it; return how stage sum ran, and the total."""
        time.sleep(0.002)  # Ids of runs sort by milliseconds.
        self.source.write_text(text)
        self.mode = mode
        self.ran.clear()
        self.notes.clear()
        runtime = Runtime("cpu", 1, lambda *args: None, self.notes.append)
        record = new_run("", {})
        self.reasons = {}
        for stage in self.stages:
            upstream = {name: self.artefacts[name] for name in stage.upstream}
            config = SimpleNamespace()
            outcome = materialize(self.workspace, stage, config, upstream, runtime, force=stage.name in force)
            self.artefacts[stage.name] = outcome.artefact
            self.reasons[stage.name] = outcome.reason
            done = StageRecord(stage.name, outcome.artefact.fingerprint, outcome.reused, "", 0.0, 0, {}, [])
            record = replace(record, stages=(*record.stages, done))
        save_run(self.workspace, finished(record, state))
        self.run_id = record.run_id
        return list(self.ran), int(self.artefacts["sum"].path("total.txt").read_text())

    def resolved(self):
        """What stage sum would make now, from what the last run has read."""
        recipe = make_recipe(self.workspace, self.sum, SimpleNamespace(), self.artefacts)
        return resolve(self.workspace, self.sum, recipe, SimpleNamespace(), self.artefacts)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A fresh workspace."""
    return Project(tmp_path, monkeypatch)


def test_a_first_run_has_one_fingerprint_under_every_mode(project):
    """Made anew, a result is the same whatever the mode; the run says that nothing was there to go on from."""
    assert project.run("1 2", "further") == (["sum"], 3)
    note = f'{MODE} = "further", but no earlier total is continued: no run that has one has completed'
    assert project.notes == [note]
    assert project.artefacts["sum"].manifest.notes == [note]
    fingerprint = project.artefacts["sum"].fingerprint
    for mode in (None, "freeze", "further"):
        assert project.run("1 2", mode) == ([], 3)
        assert project.artefacts["sum"].fingerprint == fingerprint


def test_new_input_goes_on_and_unchanged_or_reverted_input_runs_nothing(project):
    """The newest completed run is gone on from, once; what it went on from before is no reason to do so again."""
    project.run("1 2", "further")
    first = project.run_id
    assert project.run("1 2 10", "further") == (["sum, further"], 3 + 13)
    assert project.notes == []
    assert project.reasons["sum"] == f"not computed before; continues the total of run {first}"
    assert project.artefacts["sum"].manifest.recipe.continues.keys() == {MODE, "total.txt"}
    assert project.run("1 2 10", "further") == ([], 16)
    assert project.run("1 2", "further") == ([], 3)
    assert project.run("1 2 10", "further") == ([], 16)
    assert project.run("5", "further") == (["sum, further"], 16 + 5)
    assert project.run("1 2 10", "further") == ([], 16)


def test_a_mode_takes_what_was_made_anew_or_by_itself(project):
    """What another mode made is not taken; it may be gone on from."""
    project.run("1", None)
    assert project.run("1 2", "further") == (["sum, further"], 1 + 3)
    assert project.run("1 2", None) == (["sum"], 3)
    assert project.run("1 2", "further") == ([], 3)  # Made anew, and used last.
    assert project.run("1 2 3", "freeze") == (["sum, freeze"], 3)
    assert project.run("1 2 3", "further") == (["sum, further"], 3 + 6)
    assert project.run("1 2 3", "freeze") == ([], 3)
    assert project.run("1 2 3", None) == (["sum"], 6)
    assert project.run("1 2 3", "further") == ([], 6)


def test_of_two_results_the_one_used_last_is_taken(project):
    """Going back to the mode that was used last changes nothing, whichever result is newer."""
    project.run("1", None)
    project.run("1 2", "freeze")
    project.run("1 2", None)
    assert project.run("1 2", "freeze") == ([], 3)
    project.run("9", None)
    assert project.run("1 2", "freeze") == ([], 3)


def test_frozen_twice_is_frozen_once(project):
    """What is kept as it is, is the same file after any number of runs, and so is the recipe."""
    project.run("1", None)
    project.run("1 2", "freeze")
    once = project.artefacts["sum"].manifest
    project.run("1 2 3", "freeze")
    twice = project.artefacts["sum"].manifest
    assert once.recipe.continues == twice.recipe.continues
    assert once.files == twice.files


def test_force_makes_it_anew(project):
    """Nothing is gone on from; a later run takes that result."""
    project.run("1", None)
    project.run("1 2", "further")
    assert project.run("1 2", "further", force=("sum",)) == (["sum"], 3)
    assert project.artefacts["sum"].manifest.recipe.continues == {}
    assert project.run("1 2", "further") == ([], 3)


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_only_completed_runs_are_gone_on_from(project, state):
    """What a failed run left is taken if it is just this, and else not gone on from."""
    project.run("1", None)
    project.run("1 2", "further", state=state)
    assert project.run("1 2 3", "further") == (["sum, further"], 1 + 6)
    assert project.run("1 2", "further") == ([], 4)


@pytest.mark.parametrize("stage", ["sum", "scale"])
def test_what_was_made_otherwise_is_passed_over(project, stage):
    """Another parameter, of the stage or of what makes its input: the newest run made alike, or none and why."""
    project.run("1", None)
    alike = project.run_id
    project.factors[stage] = 2
    project.run("1 2", "further")
    other = project.run_id
    words = "factor changed from 1 to 2" if stage == "sum" else "in stage scale factor changed from 1 to 2"
    assert project.notes == [
        f'{MODE} = "further", but no earlier total is continued: that of run {alike} cannot be, because {words}'
    ]
    assert project.artefacts["sum"].manifest.recipe.continues == {}
    project.factors[stage] = 1
    assert project.run("1 2 3", "further") == (["sum, further"], 1 + 6)
    assert project.reasons["sum"].endswith(f"continues the total of run {alike}")
    assert other != alike


def test_what_has_to_be_the_same_input_is(project):
    """A result made from another content of an input that is named so is not gone on from."""
    how = replace(project.sum.continues, same=("sentences.start",))
    project.sum = replace(project.sum, continues=how)
    project.stages = (*project.stages[:2], project.sum)
    project.run("1", "further")
    assert project.run("1 2", "further")[0] == ["sum"]
    assert project.notes[0].endswith("because it was made from another sentences.start")


@pytest.mark.parametrize("damage", ["bit", "gone"])
def test_damaged_results_are_not_gone_on_from(project, damage):
    """Files are compared with their digests: an older whole one is taken; without one the note names the file."""
    project.run("1", None)
    project.run("1 2", "further")
    path = project.artefacts["sum"].path("total.txt")
    if damage == "bit":
        path.write_text("5")
    else:
        path.unlink()
    assert project.run("1 2 3", "further") == (["sum, further"], 1 + 6)
    for total in project.workspace.artefacts.glob("sum-*/total.txt"):
        total.write_text("?")
    assert project.run("4", "further") == (["sum"], 4)
    assert str(project.workspace.artefacts) in project.notes[0]


def test_damage_in_a_file_that_is_not_read_does_no_harm(project):
    """Only the files that are gone on from have to be whole in content."""
    project.run("1", None)
    project.artefacts["sum"].path("aside.txt").write_text("ASIDE")
    assert project.artefacts["sum"].damage(deep=True)
    assert project.run("1 2", "further") == (["sum, further"], 1 + 3)


def test_a_damaged_result_is_made_again_from_the_same(project):
    """Repaired by the run before it: the same recipe, the same bytes."""
    project.run("1", None)
    project.run("1 2", "further")
    artefact = project.artefacts["sum"]
    artefact.path("total.txt").unlink()
    assert project.run("1 2", "further") == (["sum, further"], 4)
    assert project.artefacts["sum"].fingerprint == artefact.fingerprint
    assert "is missing" in project.reasons["sum"]


def test_collected_results_are_not_missed(project):
    """A kept run needs nothing that it went on from: its own result is found, and gone on from."""
    project.run("1", None)
    project.run("1 2", "further")
    removed = [item.name.split("-")[0] for item in collect(project.workspace, 1) if item.kind == "artefact"]
    assert sorted(removed) == ["read", "scale", "sum"]
    assert project.run("1 2", "further") == ([], 4)
    assert project.run("1 2 3", "further") == (["sum, further"], 4 + 6)


def test_nothing_is_looked_for_without_a_mode(project, monkeypatch):
    """Under the default no run record and no manifest is read to find what there is."""
    project.run("1", None)
    monkeypatch.setattr("fractal_core.store.continuing.list_runs", lambda *args: pytest.fail("looked"))
    project.mode = None
    assert project.resolved().predecessor is None
