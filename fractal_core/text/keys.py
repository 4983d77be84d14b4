"""By what a row is known again: a digest of all that judging it can depend on, but for the configuration."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractal_core.text.records import Fault

KEY_BYTES = 16


class RowKeys:
    """The keys of the rows of one file."""

    def __init__(self, *context: object) -> None:
        """Take what the rows of the file have in common and need to be understood, as JSON values.

        Args:
            context: format and header, say; not the file's name, so that a row keeps its key in another file.
        """
        # JSON has no line ends, so where the context ends is no question.
        self._start = blake2b(f"{json.dumps(context)}\n".encode(), digest_size=KEY_BYTES)
        self._of_faults = blake2b(f"{json.dumps(['fault', *context])}\n".encode(), digest_size=KEY_BYTES)

    def of(self, content: bytes) -> bytes:
        """Return the key of a row that its bytes say all about: BLAKE2b-128."""
        state = self._start.copy()
        state.update(content)
        return state.digest()

    def of_fault(self, fault: Fault, raw: str) -> bytes:
        """Return the key of a row that cannot be parsed, for reasons that may lie in the rows after it."""
        state = self._of_faults.copy()
        state.update(json.dumps([fault.reason, fault.detail, raw]).encode())
        return state.digest()
