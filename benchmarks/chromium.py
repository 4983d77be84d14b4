"""A page in headless Chromium, driven over a pipe by its DevTools protocol: real keys and pointer."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 60.0
# Key -> (code, virtual key, text) of the keys that are pressed.
_KEYS = {
    "Tab": ("Tab", 9, ""), "Escape": ("Escape", 27, ""), "Enter": ("Enter", 13, "\r"), "Home": ("Home", 36, ""),
    "End": ("End", 35, ""), "ArrowLeft": ("ArrowLeft", 37, ""), "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""), "ArrowDown": ("ArrowDown", 40, ""),
}  # fmt: skip


def find_chromium() -> str | None:
    """Return the path of Chromium, or None if it is not installed (Debian: apt-get install chromium)."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One page of one browser process; leave it as a context manager."""

    def __init__(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Say how large the window is, in CSS pixels, and which colours are preferred."""
        self.events: list[dict] = []
        self._size, self._dark, self._number = (width, height), dark, 0
        self._received = b""

    def __enter__(self) -> Chromium:
        """Start the browser with an empty page."""
        program = find_chromium()
        if program is None:
            raise FileNotFoundError("Chromium is not installed (Debian: apt-get install chromium).")
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()

        def wire() -> None:
            # The protocol reads from descriptor 3 and writes to 4; neither end may be lost to the other's number.
            first, second = os.dup(theirs_in), os.dup(theirs_out)
            spare = [os.dup(first), os.dup(second)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
            f"--user-data-dir={self._profile.name}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=wire, close_fds=False, start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = ""
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        width, height = self._size
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        scheme = "dark" if self._dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        return self

    def __exit__(self, *error: object) -> None:
        """End the browser and remove its profile, which its other processes write to until they have ended."""
        try:
            self._session = ""
            self.call("Browser.close")
            self._process.wait(_PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            os.close(self._in)
            os.close(self._out)
            self._profile.cleanup()

    def open(self, path: Path, ready: str = "document.readyState === 'complete'") -> float:
        """Open a file and wait until an expression is true; return the seconds that took."""
        started = time.perf_counter()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait_for(f"location.protocol === 'file:' && ({ready})")
        return time.perf_counter() - started

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true; raises TimeoutError."""
        ends = time.monotonic() + _PATIENCE
        while time.monotonic() < ends:
            if self.value(expression):
                return
            time.sleep(0.01)
        raise TimeoutError(f"{expression} is not true after {_PATIENCE:g} seconds")

    def value(self, expression: str) -> object:
        """Evaluate JavaScript in the page, as its console would; return the result, fit for JSON."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", str(answer)))
        return answer["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        code, number, text = _KEYS[key]
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        """Type text into what has the focus."""
        self.call("Input.insertText", text=text)

    def point(self, x: float, y: float) -> None:
        """Move the pointer."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def tap(self, x: float, y: float) -> None:
        """Tap with a finger."""
        self.call("Input.synthesizeTapGesture", x=x, y=y, gestureSourceType="touch")

    def shoot(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(answer["data"]))

    def _clip(self, whole: bool) -> dict:
        if not whole:
            return {}
        box = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": box["width"], "height": box["height"], "scale": 1}}

    def call(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol; raises RuntimeError with what the browser says if it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(method)
            if answer.get("id") != self._number:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def _receive(self, method: str) -> dict:
        while b"\0" not in self._received:
            if not select.select([self._in], [], [], _PATIENCE)[0]:
                raise TimeoutError(f"{method} is not answered after {_PATIENCE:g} seconds")
            chunk = os.read(self._in, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser has ended")
            self._received += chunk
        message, self._received = self._received.split(b"\0", 1)
        return json.loads(message)
