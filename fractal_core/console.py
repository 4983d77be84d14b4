"""What a command prints: words for people on a terminal, one JSON value for programs; errors go to standard error."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from rich.console import Console

from fractal_core.progress import Reporter


class Output:
    """Standard output of one command."""

    def __init__(self, as_json: bool) -> None:
        """Print JSON only, or words."""
        self.as_json = as_json
        self.console = Console()

    def reporter(self) -> Reporter:
        """Return where progress goes, on standard error: bars on a terminal, lines elsewhere, nothing beside JSON."""
        errors = Console(stderr=True)
        if self.as_json:
            return Reporter("quiet", errors)
        return Reporter("bars" if errors.is_terminal else "lines", errors)

    def json(self, value: Any) -> None:
        """Print a value as JSON."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")

    def say(self, value: Any, words: str) -> None:
        """Print the value as JSON, or the words."""
        if self.as_json:
            self.json(value)
        else:
            self.console.print(words, markup=False, highlight=False, soft_wrap=True)


def say_error(message: str, *, as_json: bool) -> None:
    """Print an error, and go on."""
    sys.stderr.write((json.dumps({"error": message}, ensure_ascii=False) if as_json else f"error: {message}") + "\n")


def fail(message: str, *, as_json: bool, code: int) -> NoReturn:
    """Print an error and leave with an exit code."""
    say_error(message, as_json=as_json)
    sys.exit(code)
