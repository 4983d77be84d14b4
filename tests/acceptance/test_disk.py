"""A disk that is full, read-only or forbidden, a workspace of the future: one sentence, and an unharmed store.

Every fault is a real one, made by the kernel. When it is gone, a run completes and its result is that of a clean run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
from plain_run import spawn
from real_runs import fractal
from small_data import make_rows, write_project

from fractal_core.catalog.connection import connect
from fractal_core.errors import StoreError
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")
NO_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def _mount(*words):
    if subprocess.run(["mount", *words], capture_output=True, check=False).returncode:
        pytest.skip("no mounting here")


@pytest.fixture(scope="module")
def clean(tiny_encoder, runner_in, tmp_path_factory):
    """The bytes that a run makes of the project where nothing is wrong."""
    folder = tmp_path_factory.mktemp("clean")
    write_project(folder, tiny_encoder, make_rows(60), epochs=10)
    runner = runner_in(folder)
    runner.run()
    return runner.bytes()


def _error(process):
    """Return the error a run ends with: one line, no traceback."""
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert lines == errors.splitlines()[-1:]
    return lines[0]


def _assert_unharmed(runner, clean, *, keeps):
    """Only whole artefacts are listed, what had ended is kept, and a new run makes the clean result."""
    runs = list_runs(runner.workspace)
    assert {run.state for run in runs} <= {"failed", "interrupted"}
    connect(runner.workspace, warn=pytest.fail)
    assert list(runner.workspace.tmp.iterdir()) == []
    assert runner.run() == list(STAGE_NAMES[len(keeps) :])
    assert runner.bytes() == clean


@needs_root
@pytest.mark.parametrize("room", [0, 12_000, 100_000, 200_000])
def test_full_disk(project, runner_in, clean, tmp_path, room):
    """With `room` bytes left on a real file system: where it fills up is said, and what ended before is kept."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk))
    try:
        shutil.copy(project / "responses.jsonl", disk)
        shutil.copy(project / "fractal.toml", disk)
        runner = runner_in(disk)
        _fill(disk / "ballast", room)
        error = _error(spawn(disk))
        assert f"the disk of {disk / 'ws'} is full (" in error
        assert error.endswith("free some space there, or name another workspace with --workspace, and run again.")
        (disk / "ballast").unlink()
        kept = [path.name.split("-")[0] for path in runner.workspace.manifests.iterdir()]
        assert (room >= 100_000) == (kept != [])
        _assert_unharmed(runner, clean, keeps=kept)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


_VECTORS = """
import sys, errno, hashlib
from pathlib import Path
import numpy as np, pyarrow as pa
from fractal_core.priors.vectors import text_vectors
texts = [str(number) for number in range(1000)]
keys = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(256_000, np.float32)), 256)
batch = pa.record_batch({"text_hash": keys, "vector": vectors})
try:
    text_vectors(pa.array(texts), [batch], Path(sys.argv[1]))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@needs_root
def test_full_disk_beneath_mapped_vectors(tmp_path):
    """Vectors that are mapped have room of their own from the start: else the kernel would end the process."""
    _mount("-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tmp_path))
    try:
        command = [sys.executable, "-c", _VECTORS, str(tmp_path / "vectors.npy")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (0, "ENOSPC\n"), ended.stderr
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def _fill(path, room):
    """Write a file that leaves only so many bytes."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - room))


def test_file_size_limit(project, runner, clean):
    """A file that may not grow (ulimit -f) is the same fault without root: a write fails in the middle of a file."""
    error = _error(spawn(project, largest_file=30_000))
    assert f"Stage embed committed nothing: a file in {project / 'ws'} may not grow so large here" in error
    _assert_unharmed(runner, clean, keeps=["read", "segment"])


@needs_root
def test_read_only_file_system(project, runner, clean):
    """Nothing can be written: a run says so; if nothing is stale a run, a plan and a query need to write nothing."""
    runner.run(until="priors")
    root = runner.workspace.root
    runner.workspace.runs.joinpath(f"{runner.last.record.run_id}.json").unlink()
    _mount("--bind", str(root), str(root))
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(root)], check=True)
        error = _error(spawn(project))
        assert "is on a file system mounted read-only; remount it for writing, or name another workspace" in error
        refused = fractal(project, "run", "fractal.toml", "--workspace", "ws")
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"error: The workspace {root} cannot be written: ")
        assert len(refused.stderr.splitlines()) == 1
        plan = fractal(project, "plan", "fractal.toml", "--workspace", "ws", "--json")
        assert [step["decision"] for step in json.loads(plan.stdout)][:5] == ["reuse"] * 4 + ["run"]
        query = fractal(project, "query", "SELECT count(*) FROM runs", "--workspace", "ws", "--format", "csv")
        assert query.stdout.splitlines()[1:] == ["0"]
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)
    _assert_unharmed(runner, clean, keeps=["read", "segment", "embed", "priors"])


def test_no_permission(project, runner, clean):
    """Another user's workspace: who lacks the permission, the path and a remedy are named, and nothing is changed."""
    runner.run(until="segment")
    runner.workspace.runs.joinpath(f"{runner.last.record.run_id}.json").unlink()
    root = runner.workspace.root
    before = sorted(root.rglob("*"))
    with _forbidden(root) as prefix:
        error = _error(spawn(project, prefix=prefix))
        assert f"the user with id {os.geteuid()} has no permission for {root}" in error
        assert error.endswith("change its owner or mode, or name another workspace with --workspace, and run again.")
        assert sorted(root.rglob("*")) == before
        error = _error(spawn(project, prefix=prefix, workspace=root / "new"))
        assert f"{root / 'new'} cannot be written (Permission denied); choose another with --workspace." in error
    _assert_unharmed(runner, clean, keeps=["read", "segment"])


@contextmanager
def _forbidden(root):
    """Take away the permission to write below a folder; yield the command that makes it bind for root, too."""
    if os.geteuid():
        prefix, take, give = [], ["chmod", "-R", "a-w"], ["chmod", "-R", "u+w"]
    else:
        prefix, take, give = [*NO_CAPABILITIES], ["chown", "-R", "65534"], ["chown", "-R", "0"]
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv here")
    subprocess.run([*take, str(root)], check=True)
    try:
        yield prefix
    finally:
        subprocess.run([*give, str(root)], check=True)


def test_workspace_of_a_newer_version(project, runner):
    """Every command says both versions and what to do, with exit code 1, and touches nothing."""
    runner.run(until="read")
    marker = runner.workspace.root / "workspace.json"
    old = marker.read_bytes()
    marker.write_text('{"version": 99}')
    before = {path: path.stat().st_mtime_ns for path in runner.workspace.root.rglob("*")}
    with pytest.raises(StoreError, match=r"has version 99, this fractal knows up to 1; update fractal or name another"):
        open_workspace(runner.workspace.root)
    for command in (["run", "fractal.toml"], ["plan", "fractal.toml"], ["query", "SELECT 1"], ["doctor"]):
        result = fractal(project, *command, "--workspace", "ws")
        assert result.returncode == 1
        assert result.stderr.startswith("error: The workspace ")
        assert "has version 99, this fractal knows up to 1; update fractal" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in runner.workspace.root.rglob("*")} == before
    marker.write_bytes(old)
    assert runner.run(until="segment") == ["segment"]


@needs_root
def test_run_on_a_full_disk_starts_nothing(project, tmp_path):
    """Too little room to begin with is found before Prefect and its server are started."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk))
    try:
        result = fractal(project, "run", "fractal.toml", "--workspace", str(disk / "ws"))
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: The disk of {disk / 'ws'} has 8.")
        assert len(result.stderr.splitlines()) == 1
        assert not (disk / "ws" / "prefect").exists()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
