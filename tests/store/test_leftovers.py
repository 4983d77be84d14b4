"""What counts as left by a dead process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from fractal_core.store.collecting import collect
from fractal_core.store.faults import FAULT, reach
from fractal_core.store.leftovers import leftovers, may_use, split_name
from fractal_core.store.locks import lock
from fractal_core.store.runs import StageRecord, finished, list_runs, new_run

PRINT = "0f" * 32


def _run(state, **stages):
    records = [StageRecord(name, print_, True, "", 0.0, 0, {}, []) for name, print_ in stages.items()]
    run = new_run("", {})
    run = type(run)(**{**run.__dict__, "stages": tuple(records)})
    return run if state == "running" else finished(run, state)


def _names(bench, runs=()):
    return sorted(item.name for item in leftovers(bench.workspace, runs))


@pytest.mark.parametrize("name", [f"train-{PRINT}", f"train-{PRINT}-3"])
def test_names_say_stage_and_fingerprint(name):
    """Whatever the generation."""
    assert split_name(name) == ("train", PRINT)


@pytest.mark.parametrize("suffix", ["", "-scratch"])
def test_temporary_folder_lives_as_long_as_its_lock(bench, suffix):
    """Of a stage at work nothing is left over; once its lock is free, all of it is."""
    folder = bench.workspace.temporary(f"train-{PRINT}")
    folder = folder.with_name(folder.name + suffix)
    folder.mkdir()
    with lock(bench.workspace.locks / f"train-{PRINT}.lock", lambda text: None):
        assert _names(bench) == []
    assert _names(bench) == [f"tmp/{folder.name}"]


def test_what_we_do_not_know_is_left_for_a_day(bench):
    """A temporary file of another kind may be somebody's."""
    path = bench.workspace.tmp / "something-1-2"
    path.touch()
    assert _names(bench) == []
    os.utime(path, (time.time() - 100_000,) * 2)
    assert _names(bench) == ["tmp/something-1-2"]


PROBING = (
    "import sys; from pathlib import Path; from fractal_core.store.workspace import open_workspace\n"
    "from fractal_core.store.failures import check_writable; check_writable(open_workspace(Path(sys.argv[1])))"
)


@pytest.mark.parametrize("folder", ["artefacts", "manifests", "runs", "locks", "tmp"])
def test_probe_of_a_killed_process_is_left_over(bench, folder):
    """Killed while it finds out whether a folder can be written: no reader minds the file, and it is collected."""
    environment = {**os.environ, FAULT: f"{folder}:probe"}
    command = [sys.executable, "-c", PROBING, str(bench.workspace.root)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    (probe,) = bench.workspace.root.glob("*/probe-*")
    assert probe.parent.name == folder
    assert list_runs(bench.workspace) == []
    assert bench.what_ran() == ["first", "second"]
    assert _names(bench) == [f"{folder}/{probe.name}"]
    collect(bench.workspace, 1)
    assert not probe.exists()


def test_superseded_folder_is_left_over_unless_a_run_may_have_found_it(bench):
    """Computed again by force: the older folder stays for a run that has that fingerprint, or may come to it."""
    bench.run()
    first, _ = bench.run(force=("first",))
    (old,) = [path for path in bench.workspace.artefacts.glob("first-*") if path != first.artefact.folder]
    assert _names(bench) == [f"artefacts/{old.name}"]
    assert _names(bench, [_run("completed", first=first.artefact.fingerprint)]) == [f"artefacts/{old.name}"]
    assert _names(bench, [_run("running")]) == []
    assert _names(bench, [_run("running", first=first.artefact.fingerprint)]) == []
    assert _names(bench, [_run("running", first=PRINT)]) == [f"artefacts/{old.name}"]


def test_a_running_run_may_use_what_it_has_not_come_to():
    """Recorded stages count by their fingerprint, the others may be any; runs that ended use nothing."""
    assert may_use([_run("running", read=PRINT)], "read", PRINT)
    assert not may_use([_run("running", read=PRINT)], "read", "0" * 64)
    assert may_use([_run("running", read=PRINT)], "train", "0" * 64)
    assert not may_use([_run("failed"), _run("completed", read=PRINT)], "read", PRINT)


def test_fault_points_do_nothing_unless_named(monkeypatch):
    """Without the variable, or with another place in it, the process lives on."""
    reach("train", "start")
    monkeypatch.setenv(FAULT, "train:written")
    reach("train", "start")
    reach("read", "written")
