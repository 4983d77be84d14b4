"""Prefect's server of a command: which port, what it is told, and that its end is noticed."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from flows import server
from fractal_core.errors import FractalError


def test_port_that_is_taken_is_not_waited_for(monkeypatch):
    """The port asked for if it is free, another one if somebody listens there."""
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "0")
    with server._free_port() as port:
        assert port
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(port))
    with server._free_port() as again:
        assert again == port
    with socket.create_server((server.HOST, port)), server._free_port() as other:
        assert other not in (port, 0)


def test_port_of_a_server_that_is_being_started_is_taken(monkeypatch):
    """Nobody listens there yet, and still another command takes another one, until the first has left it."""
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "0")
    with server._free_port() as port:
        monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(port))
    with server._free_port() as first:
        assert first == port
        with server._free_port() as second:
            assert second not in (port, 0)
    with server._free_port() as third:
        assert third == port


def test_pages_ask_the_server_they_come_from(monkeypatch):
    """Whatever the user's own environment says, the server is on loopback, and its pages ask its own port."""
    for name, value in {"PREFECT_API_URL": "http://elsewhere/api", "PREFECT_SERVER_API_HOST": "0.0.0.0"}.items():  # noqa: S104
        monkeypatch.setenv(name, value)
    environment = server._environment("http://127.0.0.1:4321")
    assert environment["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4321/api"
    assert (environment["PREFECT_SERVER_API_HOST"], environment["PREFECT_SERVER_API_PORT"]) == ("127.0.0.1", "4321")
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert "PREFECT_API_URL" not in environment


def _server(tmp_path, code):
    process = subprocess.Popen([sys.executable, "-c", code])
    return server.Server("http://127.0.0.1:1", process, tmp_path / "server.log", ExitStack())


def test_a_server_that_ends_is_told(tmp_path, monkeypatch):
    """One sentence with its address, its exit code and its log."""
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "60")
    failing = _server(tmp_path, "raise SystemExit(3)")
    with pytest.raises(FractalError, match=r"http://127.0.0.1:1 has ended \(exit code 3\); .*server.log says why"):
        failing.wait_until_ready(lambda: False)


def test_a_server_that_does_not_come_up_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    """After the time that the environment gives it; and not at all if the user wants to leave."""
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "0")
    silent = _server(tmp_path, "import time; time.sleep(60)")
    assert not silent.wait_until_ready(lambda: True)
    with pytest.raises(FractalError, match="does not answer at http://127.0.0.1:1 after 0 s"):
        silent.wait_until_ready(lambda: False)
    silent.end()
    assert silent.process.returncode is not None
