"""How many responses and sentences each split has, and how their labels are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fractal_core.label_kinds import PROBABILITY_KINDS
from fractal_core.text.splits import SPLITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.label_kinds import SettledKind
    from fractal_core.results import Results

_MOST_VALUES = 21


class Balance(NamedTuple):
    """One split: its counts, and in words the labels of its responses and the pseudo-labels of its sentences."""

    split: str
    responses: int
    labelled: int
    sentences: int
    labels: str
    pseudolabels: str


def balances(results: Results) -> list[Balance]:
    """Return the balance of each split, train first."""
    responses = results.table("responses", ("response_id", "split", "label", "preferred"))
    of_sentences = results.table("pseudolabels", ("response_id", "pseudolabel"))
    owner = pc.index_in(of_sentences.column("response_id"), value_set=responses.column("response_id")).to_numpy()
    split = responses.column("split").to_numpy()
    known = "preferred" if results.kind == "preference" else "label"
    label, pseudolabel = _floats(responses, known), _floats(of_sentences, "pseudolabel")
    of_sentence: SettledKind = "binary" if results.kind in PROBABILITY_KINDS else results.kind
    found = []
    for name in SPLITS:
        rows = split == name
        if not rows.any():
            continue
        own = label[rows & ~np.isnan(label)]
        inside = pseudolabel[rows[owner]]
        words = _words(own, results.kind), _words(inside, of_sentence)
        found.append(Balance(name, int(rows.sum()), len(own), len(inside), *words))
    return found


def _words(values: NDArray[np.float64], kind: SettledKind) -> str:
    if len(values) == 0:
        return "none"
    if kind == "preference":
        ties = int((values == 0.5).sum()) // 2
        return f"{(len(values) // 2) - ties:,} pairs with a better response, {ties:,} ties"
    if kind == "binary":
        return f"{values.mean():.1%} are 1"
    levels, counts = np.unique(values, return_counts=True)
    if kind == "ordinal" and len(levels) <= _MOST_VALUES:
        return ", ".join(f"{count:,} x {level:g}" for level, count in zip(levels, counts, strict=True))
    return f"mean {values.mean():.3g}, from {values.min():.3g} to {values.max():.3g}"


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table.column(name).to_numpy()
    return values
