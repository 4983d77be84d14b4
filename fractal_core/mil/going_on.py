"""What an earlier training left for a later one: to go on from (`train.on_new_data = "warm-start"`), or to be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fractal_core.mil.finetune.saving import ENCODERS, load_finetuned
from fractal_core.mil.folds import FOLDS, Folds, read_folds
from fractal_core.mil.saving import HEADS, SCORER, SavedEnsemble, load_ensemble, load_heads
from fractal_core.mil.starting import NO_PRIOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fractal_core.mil.assembling import Assembled, Plan
    from fractal_core.mil.ensemble import Component
    from fractal_core.mil.finetune.member import Member
    from fractal_core.mil.task import Task
    from fractal_core.store.stage import Predecessor

FREEZE = "freeze"
# Number of train responses that a scorer was trained on, in its metadata.
TRAINED_ON = "train_responses"


@dataclass(frozen=True, eq=False)
class Earlier:
    """An earlier scorer.

    Attributes:
        run_id: the run it is taken from.
        saved: the scorer.
        folds: of the responses it learned from.
        heads: its heads as they came out of training, by what they learned.
        members: its fine-tuned encoders.
    """

    run_id: str
    saved: SavedEnsemble
    folds: Folds
    heads: dict[Task, Component]
    members: list[Member]

    @classmethod
    def read(cls, before: Predecessor) -> Earlier:
        """Read it from the files of stage `train`."""
        return cls(
            run_id=before.run_id,
            saved=load_ensemble(before.path(SCORER)),
            folds=read_folds(before.path(FOLDS)),
            heads=load_heads(before.path(HEADS)),
            members=load_finetuned(before.path(ENCODERS))[0],
        )

    def compared(self, assembled: Assembled) -> str:
        """Say how many train responses it learned from, how many there are now, and how many are the same."""
        ids = assembled.responses.column("response_id").filter(pa.array(assembled.taught))
        known = int(pc.is_in(ids.combine_chunks(), value_set=self.folds.ids).to_numpy(zero_copy_only=False).sum())
        return (
            f"trained on {self.saved.metadata[TRAINED_ON]:,} train responses; there are {len(ids):,} with a label now, "
            f"{known:,} of which it has seen"
        )


def to_train_further(before: Predecessor | None, plan: Plan, note: Callable[[str], None]) -> Earlier | None:
    """Return the earlier scorer that training goes on from; None, with a note, if it has to start anew."""
    if before is None:
        return None
    earlier = Earlier.read(before)
    if earlier.folds.count < plan.folds:
        note(
            f"the scorer of run {before.run_id} has {earlier.folds.count} folds instead of {plan.folds}, for want of "
            "groups with a label: training starts anew"
        )
        return None
    return earlier


def note_anew(earlier: Earlier | None, heads: Iterable[tuple[Task, Component]], note: Callable[[str], None]) -> None:
    """Say which heads could not go on from an earlier one, because none has learned the same."""
    anew = [
        f"{task.pooling} (read as {task.aggregation})" for task, _ in heads if earlier and task not in earlier.heads
    ]
    if anew:
        note(f"no earlier head has learned the same, so training starts anew for: {', '.join(anew)}")


def note_silent(components: Iterable[Component], assembled: Assembled, note: Callable[[str], None]) -> None:
    """Warn of priors that an earlier scorer starts from and no sentence has any more."""
    priors = assembled.examples.priors
    families = {c.family for c in components if c.family != NO_PRIOR}
    for family in sorted(families):
        if family not in priors or not bool(priors[family].any()):
            note(
                f"WARNING: the earlier scorer starts from the {family} prior, which says nothing of any sentence now; "
                'give it as it was given then, or set train.on_new_data = "retrain"'
            )
