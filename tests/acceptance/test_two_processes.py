"""Two runs at the same time: they share what is the same, and do not hold each other up where it is not."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from plain_run import ran, spawn
from real_runs import fractal, start, wait_until

from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store.collecting import collect
from fractal_core.store.locks import LockHeldError, holder_elsewhere, is_locked, lock
from fractal_core.store.runs import list_runs, new_run, save_run
from fractal_core.store.workspace import open_workspace

HERE = socket.gethostname()


def _end(process):
    """Wait for a process, which must succeed; return what it printed and its messages."""
    printed, messages = process.communicate(timeout=100)
    assert process.returncode == 0, messages
    return printed, messages


def test_one_computes_and_the_other_waits_and_reuses(project):
    """Every stage is computed once in all; who waited is told for whom, and says afterwards that it waited."""
    first = spawn(project, "first", hold_in="embed")
    wait_until((project / "first.inside").exists, 60, first)
    second = spawn(project, "second", until="embed")
    message = f"waiting for process {first.pid} on {HERE} (since "
    wait_until(lambda: "waiting" in second.said()[1], 60, second)
    (project / "first.go").touch()
    printed, messages = _end(second)
    assert message in messages
    assert messages.count("waiting") == 1
    assert "This run waited for another and reuses its work: embed computed meanwhile" in printed
    assert "Nothing is stale" not in printed
    assert "embed        ran" in _end(first)[0]
    assert ran(project) == [("first", stage) for stage in STAGE_NAMES]


def test_two_that_start_together_compute_everything_once(project):
    """Whoever gets to a stage first computes it, also if both want all of them at the same moment."""
    for process in [spawn(project, name) for name in ("first", "second")]:
        _end(process)
    assert sorted(stage for _, stage in ran(project)) == sorted(STAGE_NAMES)


def test_different_configurations_go_on_beside_each_other(project):
    """Each of two trainings goes on only when the other is under way as well: neither can have waited for it."""
    _end(spawn(project, "before", until="priors"))
    first = spawn(project, "first", hold_in="train", until="train", set="train.epochs=11")
    second = spawn(project, "second", hold_in="train", until="train", set="train.epochs=12")
    for name, process in (("first", first), ("second", second)):
        wait_until((project / f"{name}.inside").exists, 60, process)
    for name, process in (("first", first), ("second", second)):
        (project / f"{name}.go").touch()
        assert "waiting for" not in _end(process)[1]
    assert sorted(ran(project)[4:6]) == [("first", "train"), ("second", "train")]


def test_lock_of_a_killed_run_is_taken_over_at_once(project, runner):
    """SIGKILL inside a stage leaves a lock file and a record that says running; neither holds the next run up."""
    killed = spawn(project, "killed", hold_in="segment")
    wait_until((project / "killed.inside").exists, 60, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    locks = open_workspace(project / "ws").locks
    assert len(list(locks.glob("segment-*.lock"))) == 1
    started = time.monotonic()
    assert runner.run(until="segment") == ["segment"]
    assert time.monotonic() - started < 20
    assert list(locks.glob("segment-*.lock")) == []
    assert [run.state for run in list_runs(runner.workspace)] == ["completed", "interrupted"]


@pytest.mark.parametrize("boot", ["another-boot", ""])
def test_lock_of_another_machine_is_waited_for_and_the_user_told_what_to_do(tmp_path, boot):
    """Whether its process lives cannot be seen from here: the message names it, and what to delete if it is dead."""
    path = tmp_path / "x.lock"
    holder = {"pid": 4711, "host": "elsewhere", "since": "2026-01-02T03:04:05+00:00", "boot": boot}
    path.write_text(json.dumps(holder))
    with pytest.raises(LockHeldError, match="process 4711 on elsewhere"), lock(path, print, wait=False):
        pass
    heard, held = [], threading.Event()

    def work():
        with lock(path, heard.append):
            held.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not held.wait(0.5)
    assert heard == [
        "waiting for process 4711 on elsewhere (since 2026-01-02T03:04:05+00:00), which is computing this now; "
        f"whether it still lives cannot be seen from this machine: if it does not, delete {path}"
    ]
    path.unlink()
    assert held.wait(5)
    thread.join()


def test_run_of_another_machine_that_died_is_left_to_the_user(project, runner):
    """`fractal doctor` says whose it is, since when, and what to delete if it is dead; it settles nothing by itself."""
    runner.run(until="read")
    workspace = runner.workspace
    since = datetime.now(UTC) - timedelta(days=3, hours=2)
    run = replace(new_run("", {}), host="elsewhere", pid=4711)
    save_run(workspace, run)
    holder = {"pid": 4711, "host": "elsewhere", "since": since.isoformat(timespec="seconds"), "boot": "another"}
    names = [f"config-{'a' * 64}.lock", f"embed-{'b' * 64}.lock", f"run-{run.run_id}.lock"]
    for name in names:
        (workspace.locks / name).write_text(json.dumps(holder))
    taken = f"process 4711 on elsewhere (since {holder['since']}), 3 days ago"
    for _ in range(2):
        doctor = fractal(project, "doctor", "--workspace", "ws")
        assert doctor.returncode == 0
        (line,) = [line for line in doctor.stdout.splitlines() if "4711" in line]
        assert line == (
            f"note     {taken}, keeps run {run.run_id} as running, "
            f"and whether it lives cannot be seen from this machine; if it does not, delete in {workspace.locks}: "
            + ", ".join(names)
        )
        assert [each.state for each in list_runs(workspace)] == ["running", "completed"]
    collect(workspace, 1)
    assert sorted(path.name for path in workspace.locks.iterdir()) == names
    for name in names:
        (workspace.locks / name).unlink()
    settled = fractal(project, "doctor", "--workspace", "ws").stdout
    assert f"run {run.run_id} had died and is now recorded as interrupted" in settled
    assert "4711" not in settled


def test_lock_of_another_machine_that_the_kernel_holds_is_in_no_doubt(tmp_path):
    """Across a file system that locks for all machines its process lives, and nothing is to be deleted."""
    path = tmp_path / "x.lock"
    with lock(path, print):
        path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "", "boot": "another"}))
        assert is_locked(path)
        assert holder_elsewhere(path) is None


def test_lock_left_by_another_container_of_this_machine_is_taken_over(tmp_path):
    """A container has a name of its own but the machine's kernel, which knows that nobody holds the lock."""
    path = tmp_path / "x.lock"
    with lock(path, print):
        mine = json.loads(path.read_bytes())
    assert (mine["pid"], mine["host"]) == (os.getpid(), HERE)
    path.write_text(json.dumps({**mine, "pid": 4711, "host": "container"}))
    heard = []
    with lock(path, heard.append) as waited_for:
        assert (heard, waited_for) == ([], None)


@pytest.mark.slow
def test_runs_that_overlap_wait_or_skip(project):
    """`fractal run` beside one of the same configuration waits and reuses, or skips; one of another goes on."""
    slow = ("--set", "train.epochs=150")
    first = start(project, "run", "fractal.toml", *slow)
    locks = project / ".fractal" / "locks"
    wait_until(lambda: list(locks.glob("config-*.lock")), 60, first)
    skipped = fractal(project, "run", "fractal.toml", *slow, "--if-running", "skip", "--json")
    assert skipped.returncode == 0
    said = json.loads(skipped.stdout)
    assert said["state"] == "skipped"
    assert said["reason"].startswith(f"process {first.pid} on {HERE} (since ")
    waiting = start(project, "run", "fractal.toml", *slow)
    other = start(project, "run", "fractal.toml", "--set", "train.epochs=9")
    outcomes = [process.communicate(timeout=200) for process in (first, waiting, other)]
    assert [process.returncode for process in (first, waiting, other)] == [0, 0, 0], outcomes
    printed, messages = outcomes[1]
    assert messages.splitlines() == [
        line for line in messages.splitlines() if line.startswith(f"waiting for process {first.pid} on {HERE} (since ")
    ]
    assert "This run waited for another and reuses its work: read, segment" in printed
    assert "Nothing is stale" not in printed
    runs = list_runs(open_workspace(project / ".fractal"))
    assert {run.state for run in runs} == {"completed"}
    computed = [(s.stage, s.fingerprint) for run in runs for s in run.stages if not s.reused]
    assert len(computed) == len(set(computed))
    assert sum(stage == "train" for stage, _ in computed) == 2
    again = fractal(project, "run", "fractal.toml", *slow)
    assert "Nothing is stale" in again.stdout
