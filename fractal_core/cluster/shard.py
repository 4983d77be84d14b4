"""One shard, in a process of the cluster: files in, files out, and a few words for the process that runs the stage."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fractal_core.cluster.parcels import ParcelMissingError, await_path, read_parcel, write_parcel
from fractal_core.errors import FractalError, StoreError
from fractal_core.store.canonical import canonical_json, digest
from fractal_core.store.code import PACKAGE, code_digests
from fractal_core.store.stage import Progress, Runtime

if TYPE_CHECKING:
    from fractal_core.engine import Do

COMMON = "common"
_STOPPED = "stopped"


class Order(NamedTuple):
    """What a process of the cluster is asked to do.

    Attributes:
        work: "module:function", of type `fractal_core.engine.Work`.
        code: `code_of` the module where the stage runs.
        folder: of the parcels, on a file system that all machines see at this path.
        device: "cpu" or "cuda".
        batch_tokens: as configured.
    """

    work: str
    code: str
    folder: str
    device: str
    batch_tokens: int


class Answer(NamedTuple):
    """What a process of the cluster says.

    Attributes:
        advanced: units of progress.
        notes: for the user.
        began: how often the shard was begun: more than once if a process died over it.
        error: class and sentence of a FractalError that the shard came to.
    """

    advanced: int
    notes: list[str]
    began: int
    error: tuple[str, str] | None = None


# What was prepared for the shards that came last: an open encoder, most often.
_prepared: dict[Order, tuple[Do, list[str]]] = {}


def code_of(module: str) -> str:
    """Return a digest of the code of a module of this package and of all that it imports of it; "" for any other."""
    return digest(canonical_json(code_digests(module))) if module.split(".")[0] == PACKAGE else ""


def shard_folder(folder: Path, number: int) -> Path:
    """Return where the parcel of a shard is."""
    return folder / f"shard-{number:08}"


def result_folder(folder: Path, number: int) -> Path:
    """Return where the parcel that was made of a shard is."""
    return folder / f"result-{number:08}"


def stop_shards(folder: Path) -> None:
    """Let shards that have not begun come to nothing."""
    (folder / _STOPPED).touch()


def compute_shard(order: Order, number: int) -> Answer:
    """Compute a shard and write its result; a shard whose process died is computed again as if it never was."""
    folder = Path(order.folder)
    advanced = began = 0

    def advance(amount: int) -> None:
        nonlocal advanced
        advanced += amount

    notes: list[str] = []
    try:
        await_path(shard_folder(folder, number))
        if (folder / _STOPPED).exists():
            return Answer(0, [], began)
        began = _begin(folder, number)
        if order not in _prepared:
            _prepared.clear()
            _prepared[order] = _prepare(order)
        do, notes = _prepared[order]
        notes.clear()
        shard = read_parcel(shard_folder(folder, number))
        write_parcel(do(shard, advance), result_folder(folder, number))
    except ParcelMissingError as error:
        return Answer(0, [], began, ("StoreError", _unseen(error)))
    except FractalError as error:
        return Answer(advanced, [], began, (type(error).__name__, str(error)))
    return Answer(advanced, list(notes), began)


def _begin(folder: Path, number: int) -> int:
    """Write down that this process has begun the shard; return how often it was begun."""
    begun = folder / f"begun-{number:08}"
    with begun.open("a", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()} {platform.node()}\n")
    return len(begun.read_text(encoding="utf-8").splitlines())


def _prepare(order: Order) -> tuple[Do, list[str]]:
    module, name = order.work.split(":")
    common = read_parcel(Path(order.folder) / COMMON, mapped=True)
    if code_of(module) != order.code:
        raise StoreError(
            f"The code of {module} on {platform.node()} is not that of the machine that runs the stage; install the "
            "same version of fractal on every machine of the cluster."
        )
    notes: list[str] = []
    runtime = Runtime(order.device, order.batch_tokens, _silent, notes.append)
    work: Callable[[Any, Runtime], Do] = getattr(importlib.import_module(module), name)
    return work(common, runtime), notes


def _unseen(error: ParcelMissingError) -> str:
    return (
        f"{error} cannot be seen on {platform.node()}; put the workspace in a folder that every machine of the cluster "
        "has at the same path."
    )


class _Nothing:
    def advance(self, amount: int = 1) -> None:
        """Do nothing."""


@contextmanager
def _silent(description: str, total: int) -> Iterator[Progress]:
    yield _Nothing()
