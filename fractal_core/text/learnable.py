"""Labels that teach nothing, which must stop a run, and groups too few to be dealt to the splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fractal_core.errors import InputError

if TYPE_CHECKING:
    from fractal_core.label_kinds import SettledKind

_OTHER_LABELS = {"binary": "labels, 0 and 1,", "share": "shares", "count": "counts", "ordinal": "grades"}

_TO_TRAIN = "put some there with a split column, or lower [input] dev_fraction and test_fraction"
_FEW_GROUPS = 10


class Labels(NamedTuple):
    """What the response labels are: rows, those with a label, those of them in train, and the labels in train."""

    responses: int
    labelled: int
    train: int
    distinct: int
    lowest: float | None


class Preferences(NamedTuple):
    """What the preferences are: pairs, those with a preference or tie, those of them in train, and without the ties."""

    pairs: int
    labelled: int
    train: int
    decided: int


class Dealt(NamedTuple):
    """Responses, or pairs, that neither a column nor a file's name puts into a split, and their groups."""

    rows: int
    groups: int

    def too_few(self, ids: str) -> str:
        """Say, if so, that the groups are too few for every split, and what to do; `ids` is the column of ids."""
        if self.groups > _FEW_GROUPS or self.groups == self.rows:
            return ""
        count = "one group" if self.groups == 1 else f"{self.groups} groups"
        return (
            f"{self.rows:,} rows without a split are {count} (a group has the same group, else query, else context), "
            f'and a group is never divided: set [input.columns] group = "{ids}" to deal them one by one, or give '
            "them a split column"
        )


def check_labels(labels: Labels, kind: SettledKind, too_few: str) -> None:
    """Raise an InputError if there is nothing to learn: no label, none in train, or one value only.

    The same count in responses of different lengths does say something, unless it is 0. What `Dealt.too_few` says is
    why there may be none in train.
    """
    if labels.labelled == 0:
        raise InputError(
            f"No response has a label (of {labels.responses}), so nothing can be learned: fill in the label column of "
            "some, or name the right one with [input.columns] response_label."
        )
    if labels.train == 0:
        raise InputError(
            f"No labelled response (of {labels.labelled}) is in train, so nothing can be learned: "
            f"{too_few or _TO_TRAIN}."
        )
    if labels.distinct == 1 and not (kind == "count" and labels.lowest):
        other = _OTHER_LABELS.get(kind, "labels")
        raise InputError(
            f"Every labelled response in train ({labels.train}) has the same label, {labels.lowest:g}, so nothing can "
            f"be learned: add responses with other {other} or, if the splits are given, move some into train."
        )


def check_preferences(preferences: Preferences, too_few: str) -> None:
    """Raise an InputError if there is nothing to learn: no preference, none in train, or nothing but ties there."""
    if preferences.labelled == 0:
        raise InputError(
            f"No pair has a preference (of {preferences.pairs}), so nothing can be learned: fill in the preference "
            "column of some, or name the right one with [input.columns] preference."
        )
    if preferences.train == 0:
        raise InputError(
            f"No pair with a preference (of {preferences.labelled}) is in train, so nothing can be learned: "
            f"{too_few or _TO_TRAIN}."
        )
    if preferences.decided == 0:
        raise InputError(
            f"Every pair with a preference in train ({preferences.train}) is a tie, so nothing can be learned: add "
            "pairs of which one is preferred or, if the splits are given, move some into train."
        )
