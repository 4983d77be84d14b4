"""Where pieces of a stage are computed: in this process, or by others that share nothing with it but files.

A stage cuts its work into shards and hands them to `runtime.engine` with a function of its own module. What comes back
comes in the order of the shards and depends on them alone, so a result is the same whoever computed its pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from fractal_core.store.stage import Runtime

Label = TypeVar("Label")

# By name: JSON values, NumPy arrays without objects, Arrow tables. Nothing else can be written without pickling it.
Parcel = Mapping[str, Any]
Advance = Callable[[int], None]
Do = Callable[[Parcel, Advance], Parcel]


class Work(Protocol):
    """From what all shards have in common to what computes one of them; called once in each process."""

    __name__: str
    __module__: str

    def __call__(self, common: Parcel, runtime: Runtime, /) -> Do:
        """Return what computes a shard."""


def unheard(amount: int) -> None:
    """Hear of no progress."""


class Engine(Protocol):
    """Computes shards."""

    @property
    def apart(self) -> bool:
        """Whether other processes do: then what they hold in memory cannot be shared, and files are."""

    def deal(
        self,
        runtime: Runtime,
        work: Work,
        common: Parcel,
        shards: Iterable[tuple[Label, Parcel]],
        folder: Path,
        advance: Advance = unheard,
    ) -> Iterator[tuple[Label, Parcel]]:
        """Yield what becomes of each shard, in their order; what is at fault with one is raised in its turn.

        Args:
            runtime: how to compute.
            work: a function of a module; what it returns must depend on its arguments alone.
            common: what all shards have in common.
            shards: with anything that the caller wants back beside the result; they are asked for as they are needed.
            folder: where other processes find their shards and leave results; it must not be there yet.
            advance: told of progress, now and then.
        """

    def together(
        self, runtime: Runtime, work: Work, common: Parcel, folder: Path, most: int, advance: Advance = unheard
    ) -> Parcel:
        """Compute one thing in several processes at once, which talk to each other; return what the first of them made.

        Each is asked to do the parcel of its `rank` and the number of ranks, `world`, as torch.distributed has them:
        its default group is there, unless there is one process.

        The arguments are those of `deal`; there are at most `most` processes.
        """


class Here:
    """Computes shards in this process, one after the other; nothing is written."""

    apart = False

    def deal(
        self,
        runtime: Runtime,
        work: Work,
        common: Parcel,
        shards: Iterable[tuple[Label, Parcel]],
        folder: Path,
        advance: Advance = unheard,
    ) -> Iterator[tuple[Label, Parcel]]:
        """Compute shards, see `Engine.deal`."""
        del folder
        do = work(common, runtime)
        for label, shard in shards:
            yield label, do(shard, advance)

    def together(
        self, runtime: Runtime, work: Work, common: Parcel, folder: Path, most: int, advance: Advance = unheard
    ) -> Parcel:
        """Compute one thing, see `Engine.together`."""
        del folder, most
        return work(common, runtime)({"rank": 0, "world": 1}, advance)
