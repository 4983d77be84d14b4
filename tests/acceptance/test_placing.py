"""`[export] directory`: what is put there is what the stage wrote, as a whole, or what was there before."""

from __future__ import annotations

import os
import time

import pytest
from damaging import delete, file_of, flip, flip_secretly, truncate
from killing import attempt

from flows.launch import Request, _plan_or_reuse
from fractal_core.errors import StoreError
from fractal_core.pipeline import STAGE_NAMES


@pytest.fixture
def out(tmp_path):
    """The folder, with an older file in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "labels.parquet").write_bytes(b"old")
    return folder


@pytest.mark.parametrize("damage", [flip, flip_secretly, truncate, delete])
def test_damaged_file_is_computed_again_and_then_copied(finished, out, damage):
    """A run reuses all but what it finds damaged by copying it; the copy is right, and nothing else lies beside it."""
    runner, files = finished
    damage(file_of(runner, "export", "labels.parquet"))
    assert runner.run(f"export.directory={out}") == ["export"]
    assert [path.name for path in out.iterdir()] == ["labels.parquet"]
    assert (out / "labels.parquet").read_bytes() == files["export/labels.parquet"]
    assert runner.bytes() == files


def test_damaged_file_is_found_when_nothing_is_stale(finished, out):
    """Without an orchestrator the same: it is not copied, and there is something to run; once that is done, it is."""
    runner, files = finished
    flip(file_of(runner, "export", "labels.parquet"))
    request = Request(runner.folder / "fractal.toml", runner.workspace.root)
    config = runner.config(f"export.directory={out}")
    _, record = _plan_or_reuse(request, runner.workspace, config)
    assert record is None
    assert (out / "labels.parquet").read_bytes() == b"old"
    assert runner.run() == ["export"]
    _, record = _plan_or_reuse(request, runner.workspace, config)
    assert record.state == "completed"
    assert (out / "labels.parquet").read_bytes() == files["export/labels.parquet"]


def test_damaged_copy_is_replaced(finished, out):
    """A copy that is as it should be is not written again; one with a flipped bit is."""
    runner, files = finished
    copy = out / "labels.parquet"
    runner.run(f"export.directory={out}")
    inode = copy.stat().st_ino
    assert runner.run(f"export.directory={out}") == []
    assert copy.stat().st_ino == inode
    flip(copy)
    assert runner.run(f"export.directory={out}") == []
    assert copy.read_bytes() == files["export/labels.parquet"]


def test_killed_while_copying(finished, out):
    """The old file stays until the new one is whole; what the killed run left is removed a day later."""
    runner, files = finished
    assert attempt(runner.folder, f"export.directory={out}", fault="labels.parquet:temporary") is None
    assert (out / "labels.parquet").read_bytes() == b"old"
    assert attempt(runner.folder, f"export.directory={out}") == []
    assert (out / "labels.parquet").read_bytes() == files["export/labels.parquet"]
    (left,) = [path for path in out.iterdir() if path.name != "labels.parquet"]
    os.utime(left, (time.time() - 100_000,) * 2)
    flip(out / "labels.parquet")
    assert runner.run(f"export.directory={out}") == []
    assert [path.name for path in out.iterdir()] == ["labels.parquet"]


def test_folder_that_cannot_be_written_is_no_damage(finished, tmp_path):
    """One sentence names the file and the key; nothing is computed again."""
    runner, _ = finished
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match=r"out/labels.parquet cannot be written .* change \[export\] directory"):
        runner.run(f"export.directory={tmp_path / 'out'}")
    assert list(runner.last.artefacts) == list(STAGE_NAMES)
    assert runner.run() == []
