"""Processes that are forked from one that has imported everything, so that each starts in milliseconds.

That one is a program of its own, which runs nothing: nothing of the tests (threads, open files, what they have put in
place of something) is in its children.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import traceback
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["imported"])


def _start_server():
    """Start the process that forks, where it finds what it is to import."""
    folders = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(folders)):
        forkserver.ensure_running()


class Forked:
    """A process that calls a function and ends; it has what tests use of `subprocess.Popen`."""

    def __init__(self, function, *arguments, folder):
        """Start it in a folder, with the environment of now."""
        _start_server()
        self._said = tempfile.TemporaryDirectory()
        self._files = [Path(self._said.name) / name for name in ("printed", "messages")]
        for path in self._files:
            path.touch()
        self._process = _CONTEXT.Process(
            target=_call, args=(function, arguments, self._files, str(folder), dict(os.environ)), daemon=True
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """As of a process that has ended; None before."""
        return self._process.exitcode

    def poll(self):
        """The same."""
        return self.returncode

    def said(self):
        """Return what it has printed until now, and its messages."""
        return tuple(path.read_text(encoding="utf-8") for path in self._files)

    def send_signal(self, number):
        """Send it a signal, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout=None):
        """Wait for its end; return what it printed, and its messages."""
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("forked", timeout, *self.said())
        return self.said()


def _call(function, arguments, files, folder, environment):
    for descriptor, path in enumerate(files, 1):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    code = 0
    try:
        # What the server of forks fails to import it does not say.
        assert "imported" in sys.modules
        function(*arguments)
    except SystemExit as left:
        if isinstance(left.code, str):
            sys.stderr.write(f"{left.code}\n")
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
