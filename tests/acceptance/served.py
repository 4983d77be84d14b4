"""`fractal serve --json` in a process of its own: its events, and Prefect's API as its users see it."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
import urllib.error
import urllib.request

from real_runs import processes_in, start, wait_until


class Served:
    """A schedule that is being served."""

    def __init__(self, folder, *options):
        """Start it in a project's folder and wait until it says that it serves."""
        self.folder = folder
        self.process = start(folder, "serve", "fractal.toml", "--json", *options)
        self._events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.hello = self.next("serving")
        self.api = self.hello["url"] + "/api"

    def __enter__(self):
        """Return it."""
        return self

    def __exit__(self, *_):
        """End it, should the test not have."""
        self.process.kill()
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            self._events.put(json.loads(line))

    def next(self, kind, seconds=150):
        """Return the next event, which must be of this kind."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                event = self._events.get(timeout=1)
            except queue.Empty:
                assert self.process.poll() is None, self.process.stderr.read()
                assert time.monotonic() < deadline, "no event"
            else:
                assert event["event"] == kind, event
                return event

    def ask(self, path, body=None):
        """Ask Prefect's API, by POST if there is a body; again while its database is busy (503), as its clients do."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, data, {"Content-Type": "application/json"})
        for seconds in (1, 2, 4, 8):
            try:
                return _answer(request)
            except urllib.error.HTTPError as refused:
                if refused.code != 503:
                    raise
            time.sleep(seconds)
        return _answer(request)

    def deployment(self):
        """Return the one deployment there is."""
        (found,) = self.ask("/deployments/filter", {})
        return found

    def tick(self):
        """Run the deployment now; return what is said of it when it has ended."""
        self.ask(f"/deployments/{self.deployment()['id']}/create_flow_run", {})
        return self.next("tick")

    def end(self, send, number=signal.SIGTERM):
        """End it by a signal; return the seconds that took. Nothing of it is left a few seconds later."""
        started = time.monotonic()
        send(self.process.pid, number)
        self.process.wait(timeout=20)
        seconds = time.monotonic() - started
        wait_until(lambda: processes_in(self.folder) == {}, 8)
        return seconds


def _answer(request):
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
