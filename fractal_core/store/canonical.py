"""Canonical JSON and digests: the same value always has the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEAL = "sha256"


def canonical_json(value: Any) -> bytes:
    """Return JSON with sorted keys and no white space, in UTF-8.

    Raises:
        ValueError: for NaN or infinity, which JSON cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sealed_json(values: Mapping[str, Any]) -> bytes:
    """Return values as canonical JSON with one key more, the SHA-256 of all else: damage is found by `read_sealed`."""
    return canonical_json({**values, _SEAL: digest(canonical_json(values))})


def read_sealed(content: bytes, *, needed: bool = False) -> dict[str, Any]:
    """Return the values that `sealed_json` was given.

    Args:
        content: what was written.
        needed: refuse what has no seal. The first versions wrote none, so it is read as it is otherwise; what has a
            seal whose own name is damaged passes for such, but has no other damage then.

    Raises:
        ValueError: if it is no JSON object, or not what was written.
    """
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError(f"it is no JSON object but a {type(values).__name__}")
    seal = values.pop(_SEAL, None)
    if (needed or seal is not None) and digest(canonical_json(values)) != seal:
        raise ValueError("its content is not what was written")
    return values
