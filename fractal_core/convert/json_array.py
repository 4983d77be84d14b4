"""The elements of a JSON array, one after the other: a file of any size is read without holding it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

from fractal_core.errors import InputError

# What may follow a value, but for the end of the file.
_ENDS = frozenset(" \t\n\r,:]}")
_SPACE = re.compile(r"[ \t\n\r]*")
_LEAST_CHARACTERS = 1 << 18
# The longest token that may be cut short by the end of what was read, but for strings: -Infinity.
_TOKEN = 16


class Element(NamedTuple):
    """An element: the line on which it begins, its value, and its text."""

    line: int
    value: Any
    raw: str


def elements(stream: TextIO, name: str, key: str) -> Iterator[Element]:
    """Stream the elements of the array that a file is, or of the array under a key of the object that it is.

    Args:
        stream: the text of the file.
        name: the file's name in messages.
        key: of an object, the key of the array.

    Raises:
        InputError: if the file is no JSON (with the line), or has no such array.
    """
    text = _Text(stream, name)
    first = text.peek()
    if first == "{":
        text.take("{")
        while True:
            found = text.value().value
            text.take(":")
            if found == key and text.peek() == "[":
                break
            text.value()
            if text.peek() != ",":
                raise InputError(f'{name} is an object without an array "{key}": it is not of this format.')
            text.take(",")
    elif first != "[":
        raise InputError(f"{name}, line {text.line}: neither a JSON array nor an object begins here.")
    text.take("[")
    while text.peek() != "]":
        yield text.value()
        if text.peek() != "]":
            text.take(",")


class _Text:
    """The text of a file from where we are."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self.line = 1

    def peek(self) -> str:
        """Return the next character that is no white space; nothing at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._move(space.end())
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, character: str) -> None:
        """Step over a character that must come next."""
        if self.peek() != character:
            raise self._error(self._at, f"{character} is expected")
        self._move(self._at + 1)

    def value(self) -> Element:
        """Take the next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _TOKEN
                if cut and self._more():
                    continue
                raise self._error(error.pos, error.msg) from None
            except (RecursionError, ValueError) as error:
                raise self._error(self._at, str(error)) from None
            # A number may go on: of 1.5e3 it takes 1 if what was read ends with the full stop.
            if end < len(self._text) - _TOKEN or self._text[end : end + 1] in _ENDS or not self._more():
                break
        found = Element(self.line, value, self._text[self._at : end])
        self._move(end)
        return found

    def _move(self, place: int) -> None:
        self.line += self._text.count("\n", self._at, place)
        self._at = place

    def _more(self) -> bool:
        """Read on, at least as much as there is, and forget what was taken; without more, change nothing and say so."""
        more = self._stream.read(max(_LEAST_CHARACTERS, len(self._text) - self._at))
        if more:
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _error(self, place: int, what: str) -> InputError:
        line = self.line + self._text.count("\n", self._at, place)
        return InputError(f"{self._name}, line {line}: not valid JSON ({what}); mend the file, or download it again.")
