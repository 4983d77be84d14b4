"""However a run ends, no process of it is left a few seconds later, and it says so where it can."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from real_runs import processes_in, start_training, wait_until

from flows.orphans import PARENT as MARK
from flows.orphans import lasting_orphans, marked_processes
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace

ENDS = {
    "Ctrl-C": (signal.SIGINT, os.killpg, 130, "error: Interrupted; finished stages are kept"),
    "SIGTERM": (signal.SIGTERM, os.kill, 143, "error: Stopped by SIGTERM; finished stages are kept"),
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_stopped_run_ends_at_once(project, end):
    """Ctrl-C (to the process group, as a terminal sends it) and SIGTERM: a sentence within 5 s, recorded, none left."""
    number, send, code, words = ENDS[end]
    process = start_training(project)
    processes = processes_in(project)
    assert any("answering.py" in command for command in processes.values())
    assert any("orphans.py" in command for command in processes.values())
    started = time.monotonic()
    send(process.pid, number)
    process.wait(timeout=5)
    assert time.monotonic() - started < 5
    wait_until(lambda: processes_in(project) == {}, 5)
    _, errors = process.communicate()
    assert process.returncode == code
    assert errors.strip().splitlines()[-1].startswith(words)
    assert "Traceback" not in errors
    (run,) = list_runs(open_workspace(project / ".fractal"))
    assert (run.state, run.error) == ("interrupted", f"stopped by {number.name}")
    assert [stage.stage for stage in run.stages] == ["read", "segment", "embed", "priors"]


CHILD = """
import hashlib, signal, sys
from pathlib import Path
from flows.stopping import stopping_at_once
from fractal_core.store.workspace import open_workspace
signal.signal(signal.SIGHUP, signal.{hangup})  # whatever the tests were started with
with stopping_at_once(open_workspace(Path(sys.argv[1]))):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**{length})
"""


@contextmanager
def _busy(folder, hangup, length):
    """Yield a process that is in C code, for some 10**(length - 6) seconds; none is left afterwards."""
    command = [sys.executable, "-c", CHILD.format(hangup=hangup, length=length), str(folder / "ws")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "busy\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_long_computation_in_c_does_not_hold_a_signal_up(tmp_path, number):
    """Python's own handlers wait until the main thread is back from C code, for minutes if need be; ours do not."""
    with _busy(tmp_path, "SIG_DFL", 9) as process:
        time.sleep(0.2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=5)
        assert process.returncode == 128 + number
        assert "finished stages are kept, run again to go on." in errors


def test_signals_that_were_ignored_stay_so(tmp_path):
    """Under nohup the closing of the terminal ends nothing."""
    with _busy(tmp_path, "SIG_IGN", 6) as process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=20) == 0


IGNORING = """
import os, signal, sys, time
from pathlib import Path
from flows.stopping import stopping_at_once
from fractal_core.store.workspace import open_workspace
workspace = open_workspace(Path(sys.argv[1]))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with stopping_at_once(workspace):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with stopping_at_once(workspace):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
print("went on", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
with stopping_at_once(workspace):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
"""


def test_a_signal_that_was_ignored_stays_so_in_a_flow(tmp_path):
    """Prefect sets a handler for SIGTERM whatever was there; later, where it is not ignored, it ends a run."""
    process = subprocess.run([sys.executable, "-c", IGNORING, tmp_path / "ws"], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (143, "went on\n")
    assert process.stderr.strip().startswith("error: Stopped by SIGTERM")


PARENT = """
import os, subprocess, sys, time
from flows.orphans import start_guard
start_guard()
time.sleep(0.5)
subprocess.Popen(["sleep", "60"], env={})
stubborn = '''
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "60"], env={})
print("up", flush=True)
time.sleep(60)
'''
subprocess.Popen([sys.executable, "-c", stubborn])
time.sleep(60)
"""


def test_guard_ends_what_does_not_heed_sigterm(tmp_path):
    """After SIGKILL of a run even a child that ignores SIGTERM is gone within seconds, and so is the guard.

    And so is what has no mark of the run: what the run started a second before, and that child just before.
    """
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout.readline() == "up\n"
    assert len(processes_in(tmp_path)) == 5
    time.sleep(1)
    process.kill()
    process.wait()
    assert len(processes_in(tmp_path)) >= 1
    wait_until(lambda: processes_in(tmp_path) == {}, 8)
    process.stdout.close()


def test_what_ends_soon_is_no_orphan(monkeypatch):
    """What a run that has just ended leaves for a moment is not called left over; what lasts is."""
    found = [[7], [7], []]
    monkeypatch.setattr("flows.orphans.orphan_servers", lambda: found.pop(0))
    assert lasting_orphans() == []
    assert found == []
    monkeypatch.setattr("flows.orphans._PATIENCE_SECONDS", -0.5)
    monkeypatch.setattr("flows.orphans.orphan_servers", lambda: [7, 8])
    assert lasting_orphans() == [7, 8]


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no program that makes namespaces")
def test_processes_of_containers_are_left_alone(tmp_path):
    """The pid of a run in there says nothing out here, where it may be nobody's."""
    mine = {**os.environ, MARK: str(os.getpid())}
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", "print(flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=mine, cwd=tmp_path, text=True, **pipes) as outside:
        if outside.stdout.readline() != "\n":
            pytest.skip("no namespaces can be made here")
        (inside,) = processes_in(tmp_path).keys() - {outside.pid}
        found = [pid for pid, _ in marked_processes()]
        assert outside.pid in found
        assert inside not in found
