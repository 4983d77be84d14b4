"""What the label of a response can be. It needs nothing else, so that stages may import it when they run."""

from __future__ import annotations

from typing import Literal

LabelKind = Literal["auto", "binary", "share", "count", "ordinal", "real", "preference"]
SettledKind = Literal["binary", "share", "count", "ordinal", "real", "preference"]

# The aggregations that each kind goes with.
AGGREGATIONS: dict[LabelKind, tuple[str, ...]] = {
    "auto": ("min", "max", "avg", "auto"),
    "binary": ("min", "max", "avg", "auto"),
    "share": ("avg", "auto"),
    "count": ("avg",),
    "ordinal": ("min", "max", "avg"),
    "real": ("min", "max", "avg"),
    "preference": ("min", "max", "avg", "auto"),
}
# The simplest thing to do with the label of a response: to give it to every sentence. So it is called among figures.
INHERITED = "inherited_label"
# Kinds under which a sentence is right or wrong, so that its score is a probability and its gold label 0 or 1.
PROBABILITY_KINDS: tuple[SettledKind, ...] = ("binary", "share", "count", "preference")


def settled_kind(label_kind: LabelKind, aggregation: str) -> SettledKind:
    """Return the kind itself; for "auto" share where the aggregation is avg or auto, else binary."""
    if label_kind != "auto":
        return label_kind
    return "share" if aggregation in ("avg", "auto") else "binary"


def trained_kind(label_kind: LabelKind, aggregation: str) -> SettledKind:
    """Return the kind that a scorer is trained for.

    The mean of grades is no grade, so grades under avg are real values; and under avg the labels 0 and 1 are shares.
    """
    if aggregation == "avg" and label_kind == "ordinal":
        return "real"
    if aggregation == "avg" and label_kind == "binary":
        return "share"
    return settled_kind(label_kind, aggregation)


def misfit(label_kind: LabelKind, aggregation: str) -> str | None:
    """Say in a sentence why a kind and an aggregation make no sense together; None if they do."""
    choices = AGGREGATIONS[label_kind]
    if aggregation in choices:
        return None
    wanted = " or ".join(f'"{choice}"' for choice in choices)
    return f'input.label_kind = "{label_kind}" needs aggregation = {wanted}, not "{aggregation}"; change one of the two'
