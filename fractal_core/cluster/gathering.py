"""Starting several processes that work together, and finding out what became of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fractal_core.cluster.gang import compute_rank
from fractal_core.cluster.parcels import write_parcel
from fractal_core.cluster.shard import Answer, Order, shard_folder

if TYPE_CHECKING:
    from ray.exceptions import RayError

# Whoever loses another process in the middle of an exchange notices at once.
_SECONDS_TO_NOTICE = 10.0
_WELL = Answer(0, [], 1)


def gather(order: Order, world: int) -> list[Answer] | None:
    """Compute the ranks of an order, one process each; None if a process died.

    Returns:
        The answers of all ranks; or that of one that came to an error, which the others notice and end.

    Raises:
        Exception: a defect that a rank came to, as it was raised there.
    """
    import ray
    from ray.exceptions import RayTaskError

    for rank in range(world):
        write_parcel({"rank": rank, "world": world}, shard_folder(Path(order.folder), rank))
    # A process that is started again finds no one who waits for it. None is used twice: PyTorch counts the groups that
    # a process has tried to join, and one that lost the others while joining would look for the next under its number.
    task = ray.remote(num_gpus=int(order.device == "cuda"), max_retries=0, max_calls=1)(compute_rank)
    task = task.options(name="together")
    references = [task.remote(order, rank, world) for rank in range(world)]
    said, faults = _ended(references)
    wrong = [answer for answer in said.values() if answer.error is not None]
    if wrong or not faults:
        return wrong or [said[reference] for reference in references]
    # Of those who lost a process each has an error of its own to tell.
    defects = [fault for fault in faults if isinstance(fault, RayTaskError)]
    if len(defects) < len(faults):
        return None
    raise defects[0].cause from defects[0]


def _ended(references: Sequence[Any]) -> tuple[dict[Any, Answer], list[RayError]]:
    """Wait until all have ended, or one has gone wrong, and then for a moment; return what was said, and faults."""
    import ray
    from ray.exceptions import RayError

    said: dict[Any, Answer] = {}
    faults: list[RayError] = []
    waiting, patience = list(references), None
    while waiting:
        ended, waiting = ray.wait(waiting, num_returns=1, timeout=patience)
        if not ended:
            # Who waits for the dead to join would do so for long, and hold a core that the next ones need.
            for reference in waiting:
                ray.cancel(reference, force=True)
            ray.wait(waiting, num_returns=len(waiting), timeout=_SECONDS_TO_NOTICE)  # let go of, they would live on
            break
        try:
            said[ended[0]] = Answer(*ray.get(ended[0]))
        except RayError as error:
            faults.append(error)
        if faults or said.get(ended[0], _WELL).error is not None:
            patience = _SECONDS_TO_NOTICE
    return said, faults
