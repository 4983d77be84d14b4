"""Digests of input and encoder files are remembered, which must never make a run read one file and name another."""

from __future__ import annotations

import json
import os

import pytest

from fractal_core.errors import InputError
from fractal_core.store import remembering
from fractal_core.store.canonical import digest, sealed_json
from fractal_core.store.sources import MEMORY, source_digests
from fractal_core.store.workspace import open_workspace


@pytest.fixture
def workspace(tmp_path):
    """An empty workspace."""
    return open_workspace(tmp_path / "ws")


@pytest.fixture
def files(tmp_path):
    """Two files and their digests."""
    paths = [tmp_path / "b.jsonl", tmp_path / "a.jsonl"]
    for path in paths:
        path.write_text(path.name)
    return paths, sorted(digest(path.name.encode()) for path in paths)


@pytest.fixture
def read(monkeypatch):
    """The names of the files that were read to be digested."""
    names = []
    take = remembering.file_digest
    monkeypatch.setattr(remembering, "file_digest", lambda path: names.append(path.name) or take(path))
    return names


def test_files_are_read_once_until_they_change(workspace, files, read):
    """Again only if size, time or inode is another; order and names do not matter."""
    paths, digests = files
    assert source_digests(workspace, paths) == digests
    assert source_digests(workspace, paths[::-1]) == digests
    assert read == ["b.jsonl", "a.jsonl"]
    paths[0].write_text("c.jsonl")
    os.utime(paths[0], ns=(1, 1))
    assert source_digests(workspace, paths) != digests
    assert read[2:] == ["b.jsonl"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"files": 3}', b'{"files": {"a": 3}}'])
def test_damaged_memory_is_forgotten(workspace, files, read, content):
    """Whatever is in it: the files are digested again, and remembered again."""
    paths, digests = files
    (workspace.root / MEMORY).write_bytes(content)
    assert source_digests(workspace, paths) == digests
    assert source_digests(workspace, paths) == digests
    assert len(read) == 2


def test_any_flipped_bit_of_the_memory_is_found(workspace, files):
    """A digit of a digest, above all: nothing is ever filed under a file that was never there."""
    paths, digests = files
    source_digests(workspace, paths)
    memory = workspace.root / MEMORY
    content = memory.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        memory.write_bytes(bytes(flipped))
        assert source_digests(workspace, paths) == digests


def test_memory_of_the_first_versions_is_forgotten(workspace, files, read):
    """It had no seal, so nobody can tell whether it is what was written."""
    paths, digests = files
    stat = paths[0].stat()
    known = {str(paths[0]): ["0" * 64, stat.st_size, stat.st_mtime_ns, stat.st_ino]}
    (workspace.root / MEMORY).write_text(json.dumps(known))
    assert source_digests(workspace, paths) == digests
    assert len(read) == 2


def test_files_that_are_gone_are_forgotten(workspace, files):
    """The memory does not grow with every data set that ever was; another process's entries stay."""
    paths, _ = files
    source_digests(workspace, paths)
    paths[0].unlink()
    other = paths[0].with_name("other.jsonl")
    other.write_text("other")
    source_digests(workspace, [other])
    known = json.loads((workspace.root / MEMORY).read_bytes())["files"]
    assert sorted(known) == sorted(map(str, [paths[1], other]))


def test_clock_that_was_set_back(workspace, files, read):
    """What was digested in the future is digested again."""
    paths, digests = files
    source_digests(workspace, paths)
    memory = workspace.root / MEMORY
    known = {name: [*entry[:4], entry[4] + 10_000] for name, entry in json.loads(memory.read_bytes())["files"].items()}
    memory.write_bytes(sealed_json({"files": known}))
    assert source_digests(workspace, paths) == digests
    assert len(read) == 4


def test_file_that_is_not_there(workspace, tmp_path):
    """One sentence names it."""
    with pytest.raises(InputError, match="gone.jsonl cannot be read"):
        source_digests(workspace, [tmp_path / "gone.jsonl"])
