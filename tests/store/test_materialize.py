"""The one place that decides hit or miss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from fractal_core.errors import InputError, StoreError
from fractal_core.store import describing
from fractal_core.store import materialize as materialize_module
from fractal_core.store.artefact import manifest_path
from fractal_core.store.locks import lock
from fractal_core.store.stage import Stage


def _snapshot(workspace):
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in workspace.root.rglob("*") if p.is_file()}


def test_second_run_runs_nothing(bench):
    """An unchanged run calls no stage and touches no file."""
    assert bench.what_ran() == ["first", "second"]
    before = _snapshot(bench.workspace)
    assert bench.what_ran() == []
    assert _snapshot(bench.workspace) == before


def test_parameter_change_runs_its_stage_and_revert_runs_nothing(bench):
    """A changed parameter re-runs the stage that has it; changing it back finds the old artefact."""
    bench.what_ran()
    bench.factor = 2
    assert bench.what_ran() == ["second"]
    bench.factor = 1
    assert bench.what_ran() == []


def test_column_that_is_not_read_cannot_make_stale(bench):
    """The first stage's text differs each time it runs, but the second does not read it: early cutoff."""
    bench.what_ran()
    assert bench.what_ran(force=("first",)) == ["first"]


def test_input_content_counts_and_path_does_not(bench):
    """New content re-runs both; the same content under another name runs nothing."""
    bench.what_ran()
    bench.source = bench.source.rename(bench.source.with_name("other.txt"))
    assert bench.what_ran() == []
    bench.source.write_text("1 2 4")
    assert bench.what_ran() == ["first", "second"]


def test_same_size_and_time_but_new_inode_is_seen(bench):
    """A file replaced by one of the same size and modification time is still read again."""
    bench.what_ran()
    stat = bench.source.stat()
    other = bench.source.with_name("new.txt")
    other.write_text("9 2 3")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(bench.source)
    assert bench.what_ran() == ["first", "second"]


def test_failed_stage_commits_nothing(bench):
    """After a crash there is no artefact, and nothing is left in the temporary folder."""
    bench.crash = True
    with pytest.raises(RuntimeError, match="crash"):
        bench.run()
    assert list(bench.workspace.manifests.iterdir()) == []
    assert list(bench.workspace.tmp.iterdir()) == []
    bench.crash = False
    assert bench.what_ran() == ["first", "second"]


def test_input_edited_while_it_is_read_commits_nothing(bench, monkeypatch):
    """A result is never filed under a file that it may not have been made from; the next run reads the edited file."""
    body = bench.first.load()

    def edited(inputs, params, outputs, runtime):
        body(inputs, params, outputs, runtime)
        bench.source.write_text("4 5 6 7")

    monkeypatch.setattr(Stage, "load", lambda stage: edited)
    with pytest.raises(InputError, match="input files changed while stage first read them, so nothing was committed"):
        bench.run()
    assert not list(bench.workspace.manifests.glob("first-*"))
    assert not list(bench.workspace.tmp.iterdir())
    monkeypatch.setattr(Stage, "load", lambda stage: body)
    config = SimpleNamespace()
    again = materialize_module.materialize(bench.workspace, bench.first, config, {}, bench.runtime)
    assert again.artefact.rows_out == {"sentences": 4}


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest", "empty manifest"])
def test_damage_is_found_and_rebuilt(bench, damage):
    """A file that is shorter than its manifest says, or gone, or an unreadable manifest: computed again."""
    _, second = bench.run()
    path = second.artefact.path("scores")
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "delete":
        path.unlink()
    else:
        content = b"" if damage == "empty manifest" else b"{"
        manifest_path(bench.workspace, "second", second.artefact.fingerprint).write_bytes(content)
    assert bench.what_ran() == ["second"]
    assert bench.what_ran() == []


def test_bit_flip_is_found_by_content(bench):
    """A flipped bit keeps the size; the deep check names the file."""
    _, second = bench.run()
    path = second.artefact.path("scores")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert second.artefact.damage() is None
    assert str(path) in (second.artefact.damage(deep=True) or "")


def test_same_result_is_byte_identical(bench):
    """Computing again gives the same bytes."""
    _, before = bench.run()
    content = before.artefact.path("scores").read_bytes()
    _, after = bench.run(force=("second",))
    assert not after.reused
    assert after.artefact.path("scores").read_bytes() == content


def test_empty_output_of_a_stage_with_input_is_an_error(bench, monkeypatch):
    """No rows out of rows in is a defect, not a success."""
    bench._second = None
    bench.run()
    bench.factor = 5
    from fractal_core.store.stage import Stage

    monkeypatch.setattr(Stage, "load", lambda stage: lambda inputs, params, outputs, runtime: None)
    with pytest.raises(StoreError, match="made no row of table scores"):
        bench.run()


def test_second_process_waits_and_reuses(bench):
    """While another holder has the lock, a run waits; then it finds the artefact and computes nothing."""
    first, second = bench.run()
    manifest = manifest_path(bench.workspace, "second", second.artefact.fingerprint)
    hidden = manifest.rename(manifest.with_suffix(".hidden"))
    held, outcomes = threading.Event(), []
    release = threading.Event()

    def holder():
        with lock(bench.workspace.locks / f"second-{second.artefact.fingerprint}.lock", lambda text: None):
            held.set()
            release.wait(10)
            hidden.rename(manifest)

    other = threading.Thread(target=holder)
    other.start()
    held.wait(10)
    waiting = threading.Thread(target=lambda: outcomes.append(bench.run()[1]))
    bench.ran.clear()
    waiting.start()
    while not any("waiting for process" in note for note in bench.notes):
        assert waiting.is_alive()
    release.set()
    waiting.join(10)
    other.join(10)
    assert bench.ran == []
    assert outcomes[0].reason.startswith(f"computed meanwhile by process {os.getpid()} ")


def test_lock_of_a_killed_process_is_taken_over(bench, tmp_path):
    """A lock file left by SIGKILL does not hold anyone up."""
    path = bench.workspace.locks / "x.lock"
    code = (
        "import sys, time; from pathlib import Path; from fractal_core.store.locks import lock\n"
        "with lock(Path(sys.argv[1]), print):\n print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.exists()
    messages: list[str] = []
    with lock(path, messages.append):
        assert messages == []
    assert not path.exists()


def test_leftover_folder_of_a_killed_process_is_replaced(bench, monkeypatch):
    """Killed between renaming the folder and committing the manifest: the next run replaces the folder."""
    bench.run()
    bench.factor = 3

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(bench.workspace), "write_file", die)
        patch.setattr(describing, "source_digests", lambda *args: [])
        with pytest.raises(KeyboardInterrupt):
            bench.run()
    assert bench.what_ran() == ["second"]
