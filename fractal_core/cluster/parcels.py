"""Parcels as folders of files: JSON, NumPy arrays and Arrow tables, there as a whole or not at all. No pickles."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from fractal_core.engine import Parcel

_VALUES = "values.json"
# A network file system may show a folder that another machine has made a moment later.
_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.2


class ParcelMissingError(Exception):
    """A parcel that was written elsewhere cannot be seen from here."""


def write_parcel(parcel: Parcel, folder: Path) -> None:
    """Write a parcel to a folder that appears when all of it is written; one that is there already stays.

    Whoever makes a parcel again makes the same one, so it does not matter whose is kept.
    """
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:12]}")
    temporary.mkdir()
    values: dict[str, Any] = {}
    for name, value in parcel.items():
        if isinstance(value, np.ndarray):
            np.save(temporary / f"{name}.npy", value, allow_pickle=False)
        elif isinstance(value, pa.Table):
            with pa.OSFile(str(temporary / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, value.schema) as file:
                file.write_table(value)
        else:
            values[name] = value
    (temporary / _VALUES).write_text(json.dumps(values, allow_nan=False), encoding="utf-8")
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(temporary, ignore_errors=True)


def read_parcel(folder: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a parcel.

    Args:
        folder: where it was written.
        mapped: whether arrays are to be read as they are used, while the folder stays.

    Raises:
        ParcelMissingError: if it does not appear within ten seconds.
    """
    await_path(folder)
    parcel: dict[str, Any] = json.loads((folder / _VALUES).read_text(encoding="utf-8"))
    for path in folder.iterdir():
        if path.suffix == ".npy":
            parcel[path.stem] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        elif path.suffix == ".arrow":
            with pa.OSFile(str(path), "rb") as source:
                parcel[path.stem] = pa.ipc.open_file(source).read_all()
    return parcel


def await_path(path: Path, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until a path is there; raises ParcelMissingError if it is not within so many seconds."""
    started = time.monotonic()
    while not path.exists():
        if time.monotonic() - started > seconds:
            raise ParcelMissingError(str(path))
        time.sleep(_POLL_SECONDS)
