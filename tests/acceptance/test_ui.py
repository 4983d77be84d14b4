"""`fractal ui`: Prefect's pages over the workspace's own database, for as long as the command runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from urllib.parse import urlsplit

import pytest
from real_runs import fractal, processes_in, start, wait_until

from fractal_core.store.workspace import open_workspace


def _get(url):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"}), timeout=30) as answer:
        return answer.read().decode()


@pytest.mark.slow
def test_pages_are_served_on_loopback_until_ctrl_c(tmp_path, monkeypatch):
    """On a free port if the usual one is taken; a second call says where; Ctrl-C ends all within 5 seconds."""
    open_workspace(tmp_path / ".fractal")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(port))
        process = start(tmp_path, "ui", "--no-browser")
        line = process.stdout.readline()
    assert line.startswith("Prefect UI: http://127.0.0.1:")
    assert line.endswith("(Ctrl-C ends it)\n")
    url = line.split()[2]
    assert urlsplit(url).port != port
    assert "<title>Prefect" in _get(url)
    assert json.loads(_get(url + "/ui-settings"))["api_url"] == url + "/api"
    assert (tmp_path / ".fractal" / "prefect" / "prefect.db").is_file()
    assert _listening(processes_in(tmp_path)) <= {"127.0.0.1"}

    again = fractal(tmp_path, "ui", "--no-browser", "--json")
    assert json.loads(again.stdout) == {"url": url}
    said = fractal(tmp_path, "status")
    assert f"ui: Prefect UI {url} (process {process.pid} on " in said.stdout

    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=5)
    assert process.returncode == 0, process.stderr.read()
    wait_until(lambda: processes_in(tmp_path) == {}, 8)
    assert "Traceback" not in process.stderr.read()


def _listening(processes):
    """Return the addresses on which processes accept connections."""
    inodes = set()
    for pid in processes:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            target = os.readlink(entry.path)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                packed = bytes.fromhex(fields[1].split(":")[0])[::-1]
                found.add(socket.inet_ntoa(packed))
    assert found
    return found


def test_address_of_a_server_elsewhere(tmp_path, monkeypatch):
    """Nothing is started if PREFECT_API_URL names a server."""
    open_workspace(tmp_path / ".fractal")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)
    result = fractal(tmp_path, "ui", "--no-browser", "--json")
    assert json.loads(result.stdout) == {"url": "http://prefect.example:4200"}
    assert not (tmp_path / ".fractal" / "prefect").exists()
