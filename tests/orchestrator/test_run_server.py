"""Prefect's server for a run: its database, and whom Prefect talks to."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, closing

import pytest

from flows.environment import prepare_prefect
from flows.run_server import start_run_server, talking_to
from flows.server import Server
from fractal_core.store.workspace import open_workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with a prepared environment, in which no server is named."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    # Set here, so that what is prepared is taken back after the test.
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "ws" / "prefect"))
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "150")
    prepare_prefect(tmp_path / "ws" / "prefect")
    return open_workspace(tmp_path / "ws")


def _start_and_end(workspace):
    server = start_run_server(workspace, pytest.fail)
    try:
        assert server.wait_until_ready(lambda: False), server.log.read_text()
    finally:
        server.end()
    assert server.process.returncode == -15, server.log.read_text()


def _head(workspace):
    with closing(sqlite3.connect(workspace.prefect / "prefect.db")) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchall()


def _downgrade(workspace, steps):
    """Take a database back by migrations, as far as an older version of Prefect had got."""
    code = (
        "import asyncio\n"
        "from prefect.server.database import provide_database_interface\n"
        f"asyncio.run(provide_database_interface().run_migrations_downgrade('-{steps}'))"
    )
    environment = os.environ | {"PREFECT_HOME": str(workspace.prefect)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)


@pytest.mark.slow
def test_two_first_runs_of_a_workspace(workspace):
    """The second server starts once the first answers; its run is told for whom it waits, and both answer."""
    first = start_run_server(workspace, pytest.fail)
    told, second = [], []
    other = threading.Thread(target=lambda: second.append(start_run_server(workspace, told.append)))
    other.start()
    try:
        assert first.wait_until_ready(lambda: False), first.log.read_text()
        other.join()
        assert second[0].wait_until_ready(lambda: False), second[0].log.read_text()
        assert first.process.poll() is None
        assert [f"waiting for process {os.getpid()} on " in words for words in told] == [True]
    finally:
        first.end()
        other.join()
        second[0].end()


@pytest.mark.slow
def test_databases_are_those_that_prefect_wants(workspace, tmp_path, monkeypatch):
    """The first is made and kept, without what is no run's; a copy of it and an old one are brought up to date."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _start_and_end(workspace)
    newest = _head(workspace)
    (kept,) = (tmp_path / "cache" / "fractal" / "prefect").iterdir()
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT count(*) FROM block_type").fetchall() == [(0,)]
    # Or the pages would believe that their blocks are there.
    assert not (workspace.prefect / "memo_store.toml").exists()

    with closing(sqlite3.connect(workspace.prefect / "prefect.db")) as database, database:
        database.execute("INSERT INTO flow (id, name) VALUES ('1f7b7a54-0000-4000-8000-000000000000', 'mine')")
    _downgrade(workspace, 2)
    assert _head(workspace) != newest
    _start_and_end(workspace)
    assert _head(workspace) == newest
    with closing(sqlite3.connect(workspace.prefect / "prefect.db")) as database:
        assert database.execute("SELECT name FROM flow").fetchall() == [("mine",)]

    other = open_workspace(tmp_path / "other")
    monkeypatch.setenv("PREFECT_HOME", str(other.prefect))
    monkeypatch.setattr("flows.server.keep", pytest.fail)
    _start_and_end(other)
    assert _head(other) == newest


def test_server_that_cannot_start(workspace):
    """Its exit code and its log are named, and nobody waits for the lock that it had."""
    workspace.prefect.mkdir()
    (workspace.prefect / "prefect.db").write_bytes(b"no database, whatever its name says" * 100)
    server = start_run_server(workspace, pytest.fail)
    with pytest.raises(Exception, match=r"has ended \(exit code 3\); .*server-run.log says why"):
        server.wait_until_ready(lambda: False)
    server.end()
    assert "not a database" in server.log.read_text()
    assert not (workspace.locks / "prefect.lock").exists()


@pytest.fixture
def standing_in(tmp_path, workspace):
    """A server that answers every question with 200, in place of Prefect's."""
    code = (
        "import http.server as h\n"
        "class Yes(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "server = h.HTTPServer(('127.0.0.1', 0), Yes)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    port = int(process.stdout.readline())
    server = Server(f"http://127.0.0.1:{port}", process, tmp_path / "log", ExitStack())
    yield server
    server.end()
    process.stdout.close()


@pytest.fixture
def settings(monkeypatch):
    """Prefect's settings, which are taken back after the test."""
    import prefect.context

    monkeypatch.setattr(prefect.context, "GLOBAL_SETTINGS_CONTEXT", prefect.context.root_settings_context())
    # Set and removed, so that it is removed after the test whatever the test does.
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.delenv("PREFECT_API_URL")
    from prefect.settings import get_current_settings

    return get_current_settings


def test_all_threads_talk_to_our_server(standing_in, settings):
    """Prefect's own threads as well; and no heartbeat is sent to a server to which nobody listens."""
    found = []
    with talking_to(standing_in):
        other = threading.Thread(target=lambda: found.append(settings().api.url))
        other.start()
        other.join()
        assert settings().flows.heartbeat_frequency is None
        assert [*found, settings().api.url] == [standing_in.api] * 2
        assert start_run_server(None, pytest.fail) is None


def test_server_that_a_settings_file_names(standing_in, settings, tmp_path, monkeypatch):
    """Prefect talks to that, and ours is ended."""
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://prefect.example/api"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    import prefect.context

    prefect.context.refresh_global_settings_context()
    with talking_to(standing_in):
        assert settings().api.url == "http://prefect.example/api"
        assert settings().flows.heartbeat_frequency is not None
    assert standing_in.process.returncode is not None
