"""Ways to damage a file, and where the files of a run lie."""

from __future__ import annotations

import os

from fractal_core.store.artefact import find_artefact

FILES = {
    "sentences": ("segment", "sentences.parquet"),
    "embeddings": ("embed", "embeddings.parquet"),
    "weights": ("train", "scorer.safetensors"),
    "export": ("export", "labels.parquet"),
}


def truncate(path):
    """Cut off the last bytes."""
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    """Cut off everything."""
    path.write_bytes(b"")


def delete(path):
    """Remove it."""
    path.unlink()


def flip(path, place=None, bit=2):
    """Flip a bit, of the byte in the middle if no place is given."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1 << bit
    path.write_bytes(bytes(content))


def flip_secretly(path):
    """Flip a bit as a failing disk does: time and inode of the file stay as they are."""
    stat = path.stat()
    with path.open("rb+") as file:
        file.seek(stat.st_size // 2)
        byte = file.read(1)
        file.seek(stat.st_size // 2)
        file.write(bytes([byte[0] ^ 4]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def footer_of(path):
    """Return the place of the first byte of a Parquet file's footer."""
    content = path.read_bytes()
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def file_of(runner, stage, name):
    """Return a file of the last run, where the manifest says it is now."""
    return find_artefact(runner.workspace, stage, runner.fingerprints[stage]).folder / name
