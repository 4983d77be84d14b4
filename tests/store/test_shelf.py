"""Pieces that are remembered: given back as they were put, or not at all, whatever becomes of the file."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from fractal_core.store import shelf as shelf_module
from fractal_core.store.recipe import Recipe
from fractal_core.store.shelf import NAME, Shelf
from fractal_core.store.workspace import open_workspace

RECIPE = Recipe("embed", {"model": "a"}, {"m": "1"}, {"t.c": "2"}, {"encoder": ["3"]}, {"torch": "4"}, {})
PIECES = {bytes([number]): bytes([number]) * 100 for number in range(10)}


@pytest.fixture
def workspace(tmp_path):
    """An empty workspace."""
    return open_workspace(tmp_path / "ws")


def test_what_was_put_is_given_back(workspace):
    """By this process and the next, whatever other inputs the stage has; for another recipe there is nothing."""
    Shelf(workspace, RECIPE, 10_000).put(PIECES)
    assert Shelf(workspace, replace(RECIPE, inputs={}), 10_000).take([*PIECES, b"other"]) == PIECES
    for change in ({"params": {"model": "b"}}, {"code": {"m": "2"}}, {"sources": {}}, {"libraries": {}}):
        assert Shelf(workspace, replace(RECIPE, **change), 10_000).take(PIECES) == {}


def test_what_was_used_longest_ago_makes_room(workspace, monkeypatch):
    """Pieces of earlier processes go first, the least lately used before; what this one has used stays."""
    clock = iter(range(1, 100))
    monkeypatch.setattr(shelf_module.time, "time", lambda: float(next(clock)))
    monkeypatch.setattr(shelf_module, "_AT_ONCE", 1)
    Shelf(workspace, RECIPE, 1_000).put(PIECES)
    Shelf(workspace, RECIPE, 1_000).take([b"\x00", b"\x01"])
    now = Shelf(workspace, RECIPE, 1_000)
    assert now.take([b"\x02"]) == {b"\x02": PIECES[b"\x02"]}
    more = {b"x%d" % number: bytes(100) for number in range(7)}
    now.put(more)
    assert now.take([*PIECES, *more]) == {**{key: PIECES[key] for key in (b"\x00", b"\x01", b"\x02")}, **more}
    now.put({b"y": bytes(400)})
    assert now.take([b"y"]) == {}
    assert set(now.take(more)) == set(more)


def test_no_room_no_shelf(workspace, monkeypatch):
    """With 0 bytes nothing is written; on a disk that is nearly full nothing is kept."""
    none = Shelf(workspace, RECIPE, 0)
    none.put(PIECES)
    assert none.take(PIECES) == {}
    assert not (workspace.root / NAME).exists()
    monkeypatch.setattr(shelf_module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 400})())
    full = Shelf(workspace, RECIPE, 10_000)
    full.put(PIECES)
    assert full.take(PIECES) == {}


def test_damage_is_never_given_back(workspace):
    """Whichever byte of the file is flipped, every piece is as it was or gone, and the shelf can be used on."""
    shelf = Shelf(workspace, RECIPE, 10_000)
    shelf.put(PIECES)
    shelf.close()
    path = workspace.root / NAME
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    content = path.read_bytes()
    lost = 0
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        damaged = Shelf(workspace, RECIPE, 10_000)
        found = damaged.take(PIECES)
        assert found.items() <= PIECES.items()
        lost += len(PIECES) - len(found)
        damaged.close()
        again = Shelf(workspace, RECIPE, 10_000)
        again.put({b"new": b"piece"})
        again.close()
    assert lost > 0
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    fresh = Shelf(workspace, RECIPE, 10_000)
    assert fresh.take(PIECES) == {}
    fresh.close()
    last = Shelf(workspace, RECIPE, 10_000)
    last.put(PIECES)
    assert last.take(PIECES) == PIECES


def test_a_locked_file_is_done_without(workspace, monkeypatch):
    """Another process that writes for long costs the memory, not the run."""
    monkeypatch.setattr(shelf_module, "_SECONDS_TO_WAIT", 0.05)
    Shelf(workspace, RECIPE, 10_000).put(PIECES)
    with sqlite3.connect(workspace.root / NAME) as other:
        other.execute("BEGIN IMMEDIATE")
        shelf = Shelf(workspace, RECIPE, 10_000)
        shelf.put({b"new": b"piece"})
        assert shelf.take(PIECES) == {}
        other.rollback()
    assert Shelf(workspace, RECIPE, 10_000).take(PIECES) == PIECES
