"""A new database of Prefect's: copied from one that is kept, if that can be trusted, and never over another."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from flows import new_database
from flows.new_database import NAME, keep, place


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of what is kept, of a user who has not kept anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fractal" / "prefect"


def _home(tmp_path, name, *statements):
    """Make a home with a database as a server leaves it, its newest changes beside it, and leave it open."""
    home = tmp_path / name
    home.mkdir()
    database = sqlite3.connect(home / NAME, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE alembic_version (version_num)")
    database.execute("CREATE TABLE flow_run (id)")
    database.execute("INSERT INTO alembic_version VALUES ('head')")
    for statement in statements:
        database.execute(statement)
    return home, database


def _tables(home):
    with closing(sqlite3.connect(home / NAME)) as database:
        return database.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()


@pytest.fixture
def kept(cache, tmp_path):
    """The file that is kept of an empty database."""
    home, _database = _home(tmp_path, "first")
    keep(home)
    (path,) = cache.iterdir()
    return path


def test_new_homes_get_a_copy(kept, tmp_path):
    """It is whole, in a folder for its user alone; the server is told to make one only if there is none."""
    home = tmp_path / "second"
    assert not place(home)
    assert _tables(home) == [("alembic_version",), ("flow_run",)]
    assert [path.name for path in home.iterdir()] == [NAME]
    assert home.stat().st_mode & 0o777 == 0o700


def test_nothing_is_kept_yet(cache, tmp_path):
    """Then the server makes its own."""
    assert place(tmp_path / "home")
    assert not (tmp_path / "home" / NAME).exists()


def test_what_has_anything_in_it_is_not_kept(cache, tmp_path):
    """A database with a run in it is the user's."""
    home, _database = _home(tmp_path, "used", "INSERT INTO flow_run VALUES ('run')")
    keep(home)
    assert list(cache.iterdir()) == []


def test_damaged_file_is_removed_and_not_used(kept, tmp_path):
    """One flipped byte is enough; the next new database is kept in its place."""
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    assert place(tmp_path / "second")
    assert not kept.exists()
    assert not (tmp_path / "second" / NAME).exists()
    keep(tmp_path / "first")
    assert not place(tmp_path / "second")


def test_other_versions_have_their_own(kept, tmp_path, monkeypatch):
    """What one version of Prefect made is no other version's, newer or older."""
    monkeypatch.setattr(new_database, "version", lambda _: "3.8")
    assert place(tmp_path / "second")
    assert kept.exists()


@pytest.mark.parametrize("name", [NAME, f"{NAME}-wal", f"{NAME}-journal"])
def test_what_is_there_is_left_alone(kept, tmp_path, name):
    """A database, or what is left of one, which would be taken for changes of the copy."""
    home = tmp_path / "second"
    home.mkdir()
    (home / name).write_bytes(b"mine")
    assert not place(home)
    assert [(path.name, path.read_bytes()) for path in home.iterdir()] == [(name, b"mine")]


def test_database_elsewhere(kept, tmp_path, monkeypatch):
    """Nothing is put where Prefect would not look for it."""
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://host/prefect")
    assert not place(tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_another_process_was_first(kept, tmp_path, monkeypatch):
    """Who has looked and found no database does not write over one that has come since."""
    home = tmp_path / "second"
    home.mkdir()

    def arrive(path):
        (home / NAME).write_bytes(b"theirs")

    monkeypatch.setattr(new_database, "sync", arrive)
    assert not place(home)
    assert [(path.name, path.read_bytes()) for path in home.iterdir()] == [(NAME, b"theirs")]


def test_cache_that_cannot_be_written(cache, tmp_path):
    """Nothing is said of it, and servers make their own."""
    cache.parent.mkdir(parents=True)
    cache.write_text("no folder")
    home, _database = _home(tmp_path, "first")
    keep(home)
    assert place(tmp_path / "second")
