"""What a run finds damaged on its way it computes again, and goes on: to the bytes of an undamaged run."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from damaging import delete, file_of, flip, truncate
from killing import contents
from real_runs import fractal
from rich.console import Console

from flows import launch
from flows.launch import Request, run_and_summarise
from fractal_core.errors import StoreError
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import STAGE_NAMES, STAGES
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store import verifying
from fractal_core.store.materialize import make_recipe
from fractal_core.store.runs import list_runs
from fractal_core.store.stage import Stage

READERS = [
    ("read", "responses.parquet", "segment"),
    ("embed", "embeddings.parquet", "train"),
    ("train", "scorer.safetensors", "pseudolabel"),
    ("pseudolabel", "student.safetensors", "evaluate"),
]


def _reasons(runner):
    """Return stage -> reason of those that were computed; every stage is recorded once, in order."""
    stages = list_runs(runner.workspace)[0].stages
    assert [stage.stage for stage in stages] == list(STAGE_NAMES)
    return {stage.stage: stage.reason for stage in stages if not stage.reused}


def _before(monkeypatch, name, act, times=1):
    """Have something done each time a stage's body is about to run, so many times at most."""
    load, left = Stage.load, [act] * times

    def loaded(stage):
        def body(*arguments):
            if stage.name == name and left:
                left.pop()()
            load(stage)(*arguments)

        return body

    monkeypatch.setattr(Stage, "load", loaded)


@pytest.mark.parametrize(("damaged", "name", "reader"), READERS)
def test_flipped_bit_is_found_before_it_is_used(finished, damaged, name, reader):
    """A stage does not start on what is not as it was written: that is computed again first, by the same run."""
    runner, files = finished
    path = file_of(runner, damaged, name)
    flip(path)
    assert runner.run(force=(reader,)) == [damaged, reader]
    assert _reasons(runner) == {damaged: f"{path} has other content than its manifest says", reader: "forced"}
    assert runner.bytes() == files
    assert runner.run() == []


def test_several_that_are_damaged_are_computed_in_order(finished):
    """The one that is found first was made from others that are damaged too: all are computed again, each once."""
    runner, files = finished
    for stage, name in (("read", "responses"), ("segment", "sentences"), ("embed", "evidence")):
        flip(file_of(runner, stage, f"{name}.parquet"))
    assert runner.run(force=("train",)) == ["read", "segment", "embed", "train"]
    assert {reason.endswith("other content than its manifest says") for reason in _reasons(runner).values()} == {
        True,
        False,
    }
    assert runner.bytes() == files
    assert runner.run() == []


@pytest.mark.parametrize("damage", [flip, truncate, delete])
@pytest.mark.parametrize(
    ("damaged", "name", "reader"),
    [("read", "responses.parquet", "segment"), ("embed", "evidence.parquet", "train"), READERS[2]],
)
def test_damaged_while_a_stage_is_at_work(finished, monkeypatch, damaged, name, reader, damage):
    """What was whole when the stage began is damaged before it is read: whatever is said of that, the run goes on."""
    runner, files = finished
    path = file_of(runner, damaged, name)
    _before(monkeypatch, reader, lambda: damage(path))
    assert runner.run(force=(reader,)) == [damaged, reader]
    assert str(path) in _reasons(runner)[damaged]
    assert runner.bytes() == files


def test_sector_that_cannot_be_read_is_damage(finished, monkeypatch):
    """What the disk refuses to give back is computed again; what the user may not read is not."""
    runner, files = finished
    path, digest = file_of(runner, "segment", "sentences.parquet"), verifying.file_digest

    def read(number):
        def fail(each):
            if each == path:
                raise OSError(number, os.strerror(number), str(path))
            return digest(each)

        monkeypatch.setattr(verifying, "file_digest", fail)

    read(errno.EACCES)
    with pytest.raises(StoreError, match=f"has no permission for {path}"):
        runner.run(force=("train",))
    read(errno.EIO)
    assert runner.run(force=("train",)) == ["segment", "train"]
    assert _reasons(runner)["segment"] == f"{path} cannot be read (Input/output error)"
    assert runner.bytes() == files


def test_summary_finds_damage_of_what_nothing_else_reads(finished):
    """`fractal run` has nothing to compute, but cannot tell the figures: it computes them again and tells them."""
    runner, files = finished
    path = file_of(runner, "evaluate", "metrics.parquet")
    flip(path)
    notes, done = [], []
    reporter = SimpleNamespace(style="quiet", note=notes.append, line=notes.append)

    def start_flow(request, workspace, config, reporter):
        done.append(runner.run())
        return runner.last.record.run_id

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_start_flow", start_flow)
        summary = run_and_summarise(Request(runner.folder / "fractal.toml", runner.workspace.root), reporter)
    assert done == [["evaluate"]]
    assert notes == [f"{path} has other content than its manifest says: withdrawn, and computed again"]
    assert summary["sentence_auc"]
    assert contents(runner.workspace) == files


def test_stage_computed_by_this_run_and_damaged_is_recorded_once_with_both_reasons(finished, monkeypatch):
    """It was forced, then damaged: computed a second time, not a third because it was forced."""
    runner, files = finished
    _before(monkeypatch, "train", lambda: flip(file_of(runner, "embed", "evidence.parquet")))
    assert runner.run(force=("embed", "train")) == ["embed", "train"]
    assert _reasons(runner)["embed"].startswith("forced; /")
    assert runner.bytes() == files


def test_damaged_again_and_again_ends_the_run(finished, monkeypatch):
    """A disk that damages all that is written: after three more tries one sentence, and the next run may go on."""
    runner, files = finished
    with monkeypatch.context() as patch:
        _before(patch, "train", lambda: flip(file_of(runner, "embed", "evidence.parquet")), times=9)
        with pytest.raises(StoreError, match="Stage embed was computed again 3 times in this run, and still") as caught:
            runner.run(force=("train",))
    assert len(str(caught.value).splitlines()) == 1
    run = list_runs(runner.workspace)[0]
    assert (run.state, run.error) == ("failed", str(caught.value))
    assert [stage.stage for stage in run.stages] == ["read", "segment", "embed", "priors"]
    assert runner.run(force=("train",)) == ["embed", "train"]
    assert runner.bytes() == files


def test_repair_that_fails_is_taken_up_again(finished, monkeypatch):
    """Prefect tries a stage again after a passing fault of the disk: the record has every stage once, in order."""
    runner, files = finished
    config = runner.config()
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(runner.workspace, config, runtime, force=("train",)) as run:
        for name in STAGE_NAMES[:4]:
            run.execute(name)
        flip(file_of(runner, "embed", "evidence.parquet"))
        with monkeypatch.context() as patch:
            _before(patch, "embed", lambda: (_ for _ in ()).throw(OSError(errno.ESTALE, "gone for a moment")))
            with pytest.raises(StoreError, match="gone for a moment"):
                run.execute("train")
        for name in STAGE_NAMES[4:]:
            run.execute(name)
    assert list(_reasons(runner)) == ["embed", "train"]
    assert contents(runner.workspace) == files


def test_what_comes_out_otherwise_is_passed_on(finished, monkeypatch):
    """On a GPU a stage computed again may round otherwise: stages of this run that had read the old rows follow."""
    runner, _ = finished
    flip(file_of(runner, "embed", "embeddings.parquet"))
    load = Stage.load

    def loaded(stage):
        def body(inputs, params, outputs, runtime):
            write = outputs.write
            if stage.name == "embed":
                outputs.write = lambda name, rows: write(name, _nudged(rows) if name == "evidence" else rows)
            load(stage)(inputs, params, outputs, runtime)

        return body

    monkeypatch.setattr(Stage, "load", loaded)
    assert runner.run(force=("train",))[:3] == ["embed", "priors", "train"]
    assert "evidence" in _reasons(runner)["priors"]
    artefacts = runner.last.artefacts
    for stage in STAGES:
        recipe = make_recipe(
            runner.workspace, stage, runner.config(), {name: artefacts[name] for name in stage.upstream}
        )
        assert recipe.fingerprint == artefacts[stage.name].fingerprint


def _nudged(rows):
    place = rows.schema.get_field_index("word_cover")
    return rows.set_column(place, "word_cover", pc.add(rows.column(place), pa.scalar(0.001, pa.float32())))


@pytest.mark.slow
def test_flow_tells_what_its_record_tells(finished):
    """`fractal run` computes what it finds damaged as well, says so, and Prefect's artifacts have it too."""
    runner, files = finished
    path = file_of(runner, "embed", "embeddings.parquet")
    flip(path)
    result = fractal(runner.folder, "run", "fractal.toml", "--workspace", "ws", "--force", "train")
    assert result.returncode == 0, result.stderr
    damage = f"{path} has other content than its manifest says"
    assert f"  note: {damage}: withdrawn, and computed again where this run needs it\n" in result.stderr
    lines = [line.split()[:2] for line in result.stderr.splitlines()]
    assert [name for name, how in lines if how == "reused"] == [*STAGE_NAMES[:4], *STAGE_NAMES[5:]]
    assert _reasons(runner) == {"embed": damage, "train": "forced"}
    assert contents(runner.workspace) == files
    with sqlite3.connect(runner.workspace.prefect / "prefect.db") as database:
        rows = database.execute("SELECT key, data FROM artifact WHERE key LIKE 'stage-%' ORDER BY created").fetchall()
    last = {key: json.loads(json.loads(data))[0]["reason"] for key, data in rows}
    assert last == {f"stage-{stage.stage}": stage.reason for stage in list_runs(runner.workspace)[0].stages}
    assert [key for key, _ in rows].count("stage-embed") == 2
