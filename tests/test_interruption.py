"""Signals as exceptions: one that is lost is raised again, one that is answered is not."""

from __future__ import annotations

import os
import signal

import pytest

from fractal_core.catalog import prompt
from fractal_core.catalog.prompt import converse
from fractal_core.interruption import interruptible
from fractal_core.publish.folder import new_folder


class Deaf:
    """Where a signal comes that nobody hears of."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lost_signal_keeps_a_folder_from_its_place(tmp_path):
    """As it keeps a file (`test_start.py`): an earlier export stays."""

    def export(text, kind):
        with interruptible(), new_folder(tmp_path / "export", {}, force=False, spare=[]) as folder:
            (folder / "labels").write_text(text)
            kind()

    export("earlier", object)
    with pytest.raises(SystemExit, match="143"):
        export("later", Deaf)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert (tmp_path / "export" / "labels").read_text() == "earlier"


@pytest.fixture
def terminal(monkeypatch):
    """Type lines at a prompt; None is Ctrl-C."""
    typed = []

    def read(shown):
        line = typed.pop(0)
        if line is None:
            signal.raise_signal(signal.SIGINT)
        return line

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", read)
    return typed


def test_a_prompt_answers_ctrl_c_and_goes_on(bench, terminal, monkeypatch, capsys):
    """In the middle of a line and of a query: neither ends the prompt, nor what comes after it."""
    execute = prompt.execute

    def interrupted_once(connection, statement):
        if "held" in statement:
            signal.raise_signal(signal.SIGINT)
        return execute(connection, statement)

    monkeypatch.setattr(prompt, "execute", interrupted_once)
    terminal += ["SELECT 1", None, "SELECT 'held';", "SELECT 42 AS a;", ".quit"]
    with interruptible():
        assert converse(bench.workspace.root, "json")
    out, err = capsys.readouterr()
    assert out.replace(" ", "").count('"a":42') == 1
    assert "held" not in out
    assert err == ""
