"""`fractal gc` removes what no kept run needs, and nothing else, whatever goes on beside it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace

import pytest
from killing import attempt, contents
from plain_run import spawn
from real_runs import fractal, wait_until
from small_data import make_rows, write_jsonl
from typer.testing import CliRunner

from fractal_core import labelling
from fractal_core.catalog.connection import connect
from fractal_core.cli import app
from fractal_core.errors import StoreError
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store import leftovers
from fractal_core.store.collecting import collect
from fractal_core.store.locks import lock
from fractal_core.store.runs import finished, list_runs, new_run, save_run
from fractal_core.store.stage import Stage
from fractal_core.store.using import alone

AFTER_PRIORS = list(STAGE_NAMES[4:])


@pytest.fixture(scope="module")
def four_runs(tmp_path_factory, tiny_encoder, runner_in):
    """A small project that was run with 3, 4, 5 and 6 epochs, and the content of each run's files."""
    folder = tmp_path_factory.mktemp("four") / "project"
    folder.mkdir()
    write_jsonl(folder / "responses.jsonl", make_rows(24))
    (folder / "fractal.toml").write_text(
        f'[input]\npath = "responses.jsonl"\n[encoder]\nmodel = {json.dumps(str(tiny_encoder))}\n', encoding="utf-8"
    )
    runner, files = runner_in(folder), {}
    for epochs in (3, 4, 5, 6):
        runner.run(f"train.epochs={epochs}")
        files[epochs] = runner.bytes()
    return folder, files


@pytest.fixture
def copy(four_runs, runner_in, tmp_path):
    """A runner over a copy of it, and the content that its files should have."""
    folder, files = four_runs
    shutil.copytree(folder, tmp_path / "project")
    return runner_in(tmp_path / "project"), files


def _everything(workspace):
    return {
        path: path.stat().st_size for path in workspace.root.rglob("*") if path.is_file() and path.name != "use.lock"
    }


def test_kept_runs_keep_all_and_the_others_go(copy):
    """Two runs of four stay: their records, tables and files; what only the others had is computed again if asked."""
    runner, files = copy
    ids = [run.run_id for run in list_runs(runner.workspace)]
    removed = collect(runner.workspace, 2)
    assert sorted(item.name.split("/")[-1] for item in removed if item.kind == "run") == [
        f"{name}.json" for name in sorted(ids[2:])
    ]
    assert sorted(item.name.split("-")[0] for item in removed if item.kind == "artefact") == sorted(2 * AFTER_PRIORS)
    assert {item.kind for item in removed} == {"run", "artefact"}
    warnings = []
    counts = connect(runner.workspace, warnings.append).execute(
        "SELECT run_id, count(*) FROM pseudolabels GROUP BY ALL ORDER BY ALL"
    )
    assert counts.fetchall() == [(name, 96) for name in sorted(ids[:2])]
    assert warnings == []
    for epochs, computed in ((5, []), (6, []), (4, AFTER_PRIORS)):
        assert runner.run(f"train.epochs={epochs}") == computed
        assert runner.bytes() == files[epochs]


def test_dry_run_says_the_same_and_removes_nothing(copy):
    """Names and bytes are those of what is removed then; the bytes are what the workspace shrinks by."""
    runner, _ = copy
    before = _everything(runner.workspace)
    said = collect(runner.workspace, 1, dry_run=True)
    assert _everything(runner.workspace) == before
    assert collect(runner.workspace, 1) == said
    after = _everything(runner.workspace)
    assert sum(before.values()) - sum(after.values()) == sum(item.bytes for item in said) > 0
    assert after.items() < before.items()
    assert collect(runner.workspace, 1) == []


def test_command_line(copy):
    """Words for people, JSON for programs, one sentence where there is no workspace."""
    runner, _ = copy
    options = ["--workspace", str(runner.workspace.root)]
    dry = CliRunner().invoke(app, ["gc", "--keep-runs", "1", "--dry-run", "--json", *options])
    said = json.loads(dry.stdout)
    assert said["dry_run"] is True
    assert {item["kind"] for item in said["removed"]} == {"run", "artefact"}
    assert said["bytes"] == sum(item["bytes"] for item in said["removed"])
    assert CliRunner().invoke(app, ["gc", *options]).stdout == "Nothing to remove.\n"
    words = CliRunner().invoke(app, ["gc", "--keep-runs", "1", *options]).stdout.splitlines()
    assert words[-1] == f"{len(said['removed'])} things removed, {said['bytes']:,} bytes"
    assert [line.split()[-1] for line in words[:-1]] == [item["name"] for item in said["removed"]]
    assert CliRunner().invoke(app, ["gc", "--keep-runs", "0", *options]).exit_code == 2
    with pytest.raises(StoreError, match="There is no workspace"):
        CliRunner().invoke(app, ["gc", "--workspace", "nowhere"], catch_exceptions=False)


def test_only_completed_runs_count(copy):
    """Failed runs push no completed one out; newer ones stay, to go on from, and older ones go."""
    runner, files = copy
    old = replace(new_run("", {}), run_id="20000101T000000.000-0000")
    save_run(runner.workspace, finished(old, "failed", "no"))
    for _ in range(6):
        save_run(runner.workspace, finished(new_run("", {}), "failed", "no"))
    runs = [item.name for item in collect(runner.workspace, 4) if item.kind == "run"]
    assert runs == ["runs/20000101T000000.000-0000.json"]
    assert [run.state for run in list_runs(runner.workspace)] == ["failed"] * 6 + ["completed"] * 4
    assert runner.run("train.epochs=3") == []
    assert runner.bytes() == files[3]


def _change_a_digit(content):
    start = content.index(b'"fingerprint":"') + len(b'"fingerprint":"')
    return content[:start] + (b"1" if content[start : start + 1] == b"0" else b"0") + content[start + 1 :]


@pytest.mark.parametrize("damage", [lambda content: b"", _change_a_digit])
def test_what_an_unreadable_record_needs_is_not_guessed(copy, damage):
    """Nothing is removed, and one sentence says which record it is: one that is cut off, or names another artefact."""
    runner, _ = copy
    path = sorted(runner.workspace.runs.iterdir())[-1]
    path.write_bytes(damage(path.read_bytes()))
    before = _everything(runner.workspace)
    with pytest.raises(StoreError, match="nothing is removed") as caught:
        collect(runner.workspace, 1)
    assert str(path) in str(caught.value)
    assert _everything(runner.workspace) == before


def test_held_locks_stay_and_stale_ones_go(copy, monkeypatch):
    """A lock that a process holds is none to be removed, not even if it was taken after we looked."""
    runner, _ = copy
    held, stale = runner.workspace.locks / "held.lock", runner.workspace.locks / "stale.lock"
    stale.write_bytes(b"")
    with lock(held, lambda text: None):
        assert [item.name for item in collect(runner.workspace, 4)] == ["locks/stale.lock"]
        assert held.exists()
        assert not stale.exists()
        monkeypatch.setattr(leftovers, "is_locked", lambda path: False)
        assert [item.name for item in collect(runner.workspace, 4)] == ["locks/held.lock"]
        assert held.exists()


@pytest.mark.parametrize("moment", ["between reuse and record", "before a stage computes", "after it wrote"])
def test_collected_in_the_middle_of_a_run(copy, monkeypatch, moment):
    """A run that reuses what no kept run needs, or computes, loses nothing to a collection at any of its stages."""
    runner, files = copy
    collected = []

    def gc():
        collected.append(collect(runner.workspace, 1))

    materialize, load = labelling.materialize, Stage.load

    def materialized(*args, **options):
        outcome = materialize(*args, **options)
        gc()
        return outcome

    def loaded(stage):
        def body(*args):
            if moment == "before a stage computes":
                gc()
            load(stage)(*args)
            if moment == "after it wrote":
                gc()

        return body

    if moment == "between reuse and record":
        monkeypatch.setattr(labelling, "materialize", materialized)
        assert runner.run("train.epochs=3") == []
        assert len(collected) == len(STAGE_NAMES)
    else:
        monkeypatch.setattr(Stage, "load", loaded)
        assert runner.run("train.epochs=3", force=("train", "export")) == ["train", "export"]
        assert len(collected) == 2
    assert runner.bytes() == files[3]
    newest = list_runs(runner.workspace)[0]
    assert newest.state == "completed"
    assert contents(runner.workspace) == files[3]
    monkeypatch.undo()
    assert runner.run("train.epochs=3") == []
    # The stages that it had left behind were free to go: of those of the other runs something has been removed.
    assert any(item.kind == "artefact" for items in collected for item in items)


def test_superseded_folder_stays_for_a_run_that_found_it(copy, runner_in):
    """While a run goes on another computes the same by force: the folder that the first one reads from stays."""
    runner, files = copy
    execute, done = labelling.LabellingRun.execute, []

    def executed(run, name):
        if run is runner.last and name == "priors" and not done:
            done.append(name)
            other = runner_in(runner.folder)
            assert other.run("train.epochs=3", until="embed", force=("embed",)) == ["embed"]
            collect(runner.workspace, 1)
            assert run.artefacts["embed"].damage() is None
        return execute(run, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelling.LabellingRun, "execute", executed)
        assert runner.run("train.epochs=3", force=("priors",)) == ["priors"]
    assert done == ["priors"]
    assert runner.bytes() == files[3]
    assert "folder" in {item.kind for item in collect(runner.workspace, 1)}


def test_nobody_finds_an_artefact_while_it_is_decided_what_goes(copy):
    """A run that starts meanwhile waits, for a moment, before it looks."""
    runner, _ = copy
    ended = threading.Event()

    def run():
        runner.run("train.epochs=3")
        ended.set()

    with alone(runner.workspace.root):
        thread = threading.Thread(target=run)
        thread.start()
        assert not ended.wait(0.5)
        assert not runner.last or not runner.last.artefacts
    thread.join(30)
    assert ended.is_set()


def _collect(folder, *options):
    """Collect garbage by the command line, in a process of its own; return what it says."""
    result = fractal(folder, "gc", "--keep-runs", "1", "--workspace", "ws", "--json", *options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("stage", ["segment", "embed", "train"])
def test_command_beside_a_run_of_another_process(copy, stage):
    """Held in a stage, a run loses nothing to `fractal gc`: not what it found, nor what it takes rows from.

    The newest run, which alone is kept, is of other data; what the run that goes on needs is of runs to be forgotten.
    """
    runner, _ = copy
    rows = runner.rows()
    runner.give(make_rows(8, seed=1))
    runner.run("train.epochs=3")
    kept = contents(runner.workspace)
    runner.give([*rows, {**make_rows(1, seed=2)[0], "id": "new"}])
    held = spawn(runner.folder, "held", hold_in=stage, set="train.epochs=3")
    wait_until((runner.folder / "held.inside").exists, 60, held)
    before = _everything(runner.workspace)
    said = _collect(runner.folder, "--dry-run")
    assert _everything(runner.workspace) == before
    assert {**_collect(runner.folder), "dry_run": True} == said
    after = _everything(runner.workspace)
    assert sum(before.values()) - sum(after.values()) == said["bytes"] > 0
    assert contents(runner.workspace) == kept
    (runner.folder / "held.go").touch()
    _, messages = held.communicate(timeout=100)
    assert held.returncode == 0, messages
    run = list_runs(runner.workspace)[0]
    assert [step.stage for step in run.stages if not step.reused] == list(STAGE_NAMES)
    computed = {step.stage: (step.rows_computed, sum(step.rows_out.values())) for step in run.stages}
    assert computed["segment"] == (4, 100)
    made, all_rows = computed["embed"]
    assert 0 < made < all_rows / 10
    files = contents(runner.workspace)
    assert runner.run("train.epochs=3") == []
    assert runner.run("train.epochs=3", force=STAGE_NAMES) == list(STAGE_NAMES)
    assert runner.bytes() == files


@pytest.mark.parametrize("fault", ["20*.json", "train-*.json", "train-*[!n]"])
def test_killed_while_it_takes_things_out_of_sight(copy, fault):
    """Before the first run record, manifest or folder of a stage: the kept run has all, the rest goes the next time."""
    runner, files = copy
    assert attempt(runner.folder, gc=1, fault=f"gc:{fault}") is None
    assert contents(runner.workspace) == files[6]
    assert runner.run("train.epochs=6") == []
    collect(runner.workspace, 1)
    assert collect(runner.workspace, 1) == []
    assert len(list(runner.workspace.artefacts.iterdir())) == len(STAGE_NAMES)
    assert contents(runner.workspace) == files[6]
    assert runner.run("train.epochs=3") == AFTER_PRIORS
    assert runner.bytes() == files[3]


@pytest.mark.slow
def test_runs_and_collections_beside_each_other(copy):
    """Runs with changing settings while garbage is collected all the time: every run ends with what it needs."""
    runner, files = copy
    ended, collections, errors = threading.Event(), [], []

    def gc():
        while not ended.is_set():
            try:
                collections.append(len(collect(runner.workspace, 1)))
            except StoreError as error:
                errors.append(error)
            time.sleep(0.005)

    thread = threading.Thread(target=gc)
    thread.start()
    try:
        for turn in range(16):
            epochs = 3 + turn * 7 % 4
            assert attempt(runner.folder, f"train.epochs={epochs}") is not None
            assert contents(runner.workspace) == files[epochs]
    finally:
        ended.set()
        thread.join()
    assert errors == []
    assert sum(map(bool, collections)) > 10
