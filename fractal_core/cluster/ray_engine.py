"""Shards as Ray tasks. What they are made of and what they make are files: Ray carries paths and numbers."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fractal_core import errors
from fractal_core.cluster.gathering import gather
from fractal_core.cluster.parcels import read_parcel, write_parcel
from fractal_core.cluster.shard import (
    COMMON,
    Answer,
    Order,
    code_of,
    compute_shard,
    result_folder,
    shard_folder,
    stop_shards,
)
from fractal_core.cluster.starting import connect
from fractal_core.engine import unheard
from fractal_core.errors import FractalError, StoreError

if TYPE_CHECKING:
    from fractal_core.engine import Advance, Label, Parcel, Work
    from fractal_core.store.stage import Runtime

# A shard whose process died is given to another so often before it is taken to be the shard's fault.
RETRIES = 3
# Shards that are under way or waiting to be taken in their turn, for each processor of the cluster.
_AHEAD = 3
# For shards that have not begun to find out that nobody wants them.
_SECONDS_TO_STOP = 5.0


class RayEngine:
    """Computes shards on a Ray cluster: one that is there, or one of this machine alone, started when it is needed."""

    apart = True

    def __init__(self, address: str, workers: int) -> None:
        """Remember the cluster.

        Args:
            address: host:port of its head; nothing for one of this machine alone.
            workers: processes of that; 0 for one a core.
        """
        self._address, self._workers = address, workers

    def deal(
        self,
        runtime: Runtime,
        work: Work,
        common: Parcel,
        shards: Iterable[tuple[Label, Parcel]],
        folder: Path,
        advance: Advance = unheard,
    ) -> Iterator[tuple[Label, Parcel]]:
        """Compute shards, see `Engine.deal`; each is a task of one processor, and of one GPU if that is the device.

        Raises:
            FractalError: what a shard comes to; StoreError if a shard ends its process again and again.
        """
        processors = connect(self._address, self._workers, gpus=runtime.device == "cuda")
        import ray

        folder.mkdir(parents=True)
        # Other processes may have another working directory.
        folder = folder.resolve()
        order, name = _order(runtime, work, common, folder), work.__name__
        task = ray.remote(compute_shard).options(
            name=f"{folder.name}", num_cpus=1, num_gpus=int(runtime.device == "cuda"), max_retries=RETRIES
        )
        waiting: deque[tuple[Any, Any, int]] = deque()
        again = 0
        try:
            for number, (label, shard) in enumerate(shards):
                write_parcel(shard, shard_folder(folder, number))
                waiting.append((label, task.remote(order, number), number))
                if len(waiting) >= _AHEAD * processors:
                    again += self._take(waiting[0], runtime, advance, name)
                    label, _, first = waiting.popleft()
                    yield label, _result(folder, first)
            while waiting:
                again += self._take(waiting[0], runtime, advance, name)
                label, _, first = waiting.popleft()
                yield label, _result(folder, first)
        finally:
            if waiting:
                # Not by Ray's own cancel: version 2.60 aborts this process if a task ends at that moment.
                stop_shards(folder)
                ray.wait([reference for _, reference, _ in waiting], num_returns=len(waiting), timeout=_SECONDS_TO_STOP)
        if again:
            runtime.note(f"shards computed again, because the process that had them died: {again:,}")

    def together(
        self, runtime: Runtime, work: Work, common: Parcel, folder: Path, most: int, advance: Advance = unheard
    ) -> Parcel:
        """Compute one thing in several processes, see `Engine.together`; if one dies, all begin anew.

        Raises:
            FractalError: what they come to; StoreError if they die again and again.
        """
        world = min(most, connect(self._address, self._workers, gpus=runtime.device == "cuda"))
        for attempt in range(RETRIES + 1):
            part = folder.with_name(f"{folder.name}-{attempt}")
            part.mkdir(parents=True)
            answers = gather(_order(runtime, work, common, part.resolve()), world)
            if answers is None:
                runtime.note(f"{work.__name__} began anew in {world} processes, because one of them died")
                continue
            for answer in answers:
                _raise(answer)
            advance(answers[0].advanced)
            return read_parcel(result_folder(part, 0))
        raise StoreError(
            f"{work.__name__} was begun in {world} processes of the Ray cluster {RETRIES + 1} times, and each time one "
            "of them died; look for machines out of memory, or lower the number of workers."
        )

    def _take(self, waiting: tuple[Any, Any, int], runtime: Runtime, advance: Advance, name: str) -> bool:
        """Wait for a shard; return whether it was begun more than once."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        _, reference, number = waiting
        try:
            answer = Answer(*ray.get(reference))
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            what = " ".join(str(error).split()).split(". ")[0].rstrip(".")
            raise StoreError(
                f"Shard {number} of {name} could not be computed on the Ray cluster, {RETRIES + 1} times over "
                f"({what}); look for machines out of memory, or lower the number of workers."
            ) from error
        advance(answer.advanced)
        for note in answer.notes:
            runtime.note(note)
        _raise(answer)
        return answer.began > 1


def _order(runtime: Runtime, work: Work, common: Parcel, folder: Path) -> Order:
    """Write what all shards have in common, and return what processes are asked to do with each."""
    write_parcel(common, folder / COMMON)
    module = work.__module__
    return Order(f"{module}:{work.__name__}", code_of(module), str(folder), runtime.device, runtime.batch_tokens)


def _result(folder: Path, number: int) -> dict[str, Any]:
    """Read what was made of a shard, and remove both."""
    result = read_parcel(result_folder(folder, number))
    for done in (shard_folder(folder, number), result_folder(folder, number)):
        shutil.rmtree(done, ignore_errors=True)
    return result


def _raise(answer: Answer) -> None:
    """Raise the error that another process came to, if any."""
    if answer.error is not None:
        name, sentence = answer.error
        kind: Callable[[str], FractalError] = getattr(errors, name, FractalError)
        raise kind(sentence)
