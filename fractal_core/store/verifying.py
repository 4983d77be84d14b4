"""Comparing a file with the SHA-256 it should have: once in a process, unless the file is written again."""

from __future__ import annotations

from pathlib import Path

from fractal_core.store.canonical import file_digest

Identity = tuple[int, int, int]

# What was found to have the content it should: name, SHA-256, identity.
_seen: set[tuple[Path, str, Identity]] = set()


def identity(path: Path) -> Identity:
    """Return what changes when a file is written: its size, modification time and inode.

    A file replaced within the clock's resolution keeps its time, but not its inode.

    Raises:
        OSError: if it is not there.
    """
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def is_verified(path: Path, sha256: str) -> bool:
    """Tell whether this process has found the file, as it is now, to have this content."""
    try:
        return (path, sha256, identity(path)) in _seen
    except OSError:
        return False


def has_content(path: Path, sha256: str) -> bool:
    """Tell whether a file has this content, reading it unless `is_verified`; raises OSError if it cannot be read."""
    if is_verified(path, sha256):
        return True
    before = identity(path)
    if not is_content(path, sha256):
        return False
    _seen.add((path, sha256, before))
    return True


def is_content(path: Path, sha256: str) -> bool:
    """Tell whether a file has this content, reading it; raises OSError if it cannot be read."""
    return file_digest(path) == sha256


def remember_content(path: Path, sha256: str) -> None:
    """Take a file that was written and digested just now, or was verified by another process, as verified."""
    _seen.add((path, sha256, identity(path)))
