"""Gold sentence labels that were collected apart from the input: files that name a run's responses by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fractal_core.errors import InputError
from fractal_core.text.given import cell_list, given_gold
from fractal_core.text.labels import number_in, number_of
from fractal_core.text.records import Fault
from fractal_core.text.rows import raw_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from fractal_core.text.labels import LabelRule

# A row a sentence, as table sentences has them.
_RESPONSE, _PLACE, _GOLD = "response_id", "sentence_index", "gold"


def read_gold(
    files: Sequence[Path], sentences: pa.Table, names: tuple[str, str], rule: LabelRule
) -> NDArray[np.float64]:
    """Return the gold label of every sentence, NaN where the files have none.

    A row is a response (its id and a list with a label for each of its sentences, null for none) or a sentence
    (response_id, sentence_index and gold).

    Args:
        files: in any format that the input may have.
        sentences: response_id and sentence_index of N sentences, those of a response one after the other.
        names: of the columns of ids and of lists of sentence labels.
        rule: what labels may be.

    Returns:
        float64 [N].

    Raises:
        InputError: if a file cannot be read, or a row has no such columns, names no response or sentence of the run, or
            has other labels than sentences, or one that is out of range or contradicts an earlier one; the message has
            file and line.
    """
    ids = [str(name) for name in sentences.column(_RESPONSE).to_pylist()]
    first: dict[str, int] = {}
    for number, name in enumerate(ids):
        first.setdefault(name, number)
    starts = np.array([*first.values(), len(ids)])
    sizes = dict(zip(first, np.diff(starts).tolist(), strict=True))
    gold = np.full(len(ids), np.nan)
    for file in files:
        for row in raw_rows(file, file.name, (*names, _RESPONSE, _PLACE, _GOLD), lambda _: None):
            try:
                if isinstance(row.values, Fault):
                    raise row.values
                for name, place, label in _labels(row.values or {}, names, sizes, rule):
                    _put(gold, first[name] + place, label, f"sentence {place} of {name}")
            except Fault as fault:
                raise InputError(f"{file}:{row.line}: {fault.reason} ({fault.detail}); mend the gold labels.") from None
    if files and np.isnan(gold).all():
        raise InputError(f"There is no gold label in {', '.join(map(str, files))}.")
    return gold


def _labels(
    values: dict[str, object], names: tuple[str, str], sizes: dict[str, int], rule: LabelRule
) -> Iterator[tuple[str, int, float | None]]:
    """Yield (response, place, label) of a row; raise a Fault if it has none."""
    name_column, list_column = names
    own = values.get(name_column)
    name = values.get(_RESPONSE) if own is None else own
    if name is None:
        raise Fault("missing id", f"neither {name_column} nor {_RESPONSE}")
    if str(name) not in sizes:
        raise Fault("no such response in the run", f"id = {name}")
    count = sizes[str(name)]
    if values.get(list_column) is not None:
        labels = given_gold(cell_list(values[list_column]), [[0, 0]] * count, rule)
        yield from ((str(name), place, label) for place, label in enumerate(labels or ()))
    elif _PLACE in values and _GOLD in values:
        number = number_of(_number(values[_PLACE]))
        if number is None or not 0 <= number < count or number != int(number):
            raise Fault("no such sentence in the run", f"{_PLACE} = {values[_PLACE]}, {name} has {count} sentences")
        (label,) = given_gold([_number(values[_GOLD])], [[0, 0]], rule) or [None]
        yield str(name), int(number), label
    elif list_column not in values:
        raise Fault("no gold labels", f"neither {list_column} nor {_PLACE} and {_GOLD}")


def _number(value: object) -> object:
    """Return the number that a cell of CSV spells, or the value as it is."""
    number = number_in(value) if isinstance(value, str) else None
    return value if number is None else number


def _put(gold: NDArray[np.float64], row: int, label: float | None, which: str) -> None:
    """Note a label, if there is one; raise a Fault if another one is there."""
    if label is None:
        return
    if not np.isnan(gold[row]) and gold[row] != label:
        raise Fault("two gold labels for one sentence", f"{label:g} for {which}, and {gold[row]:g} before")
    gold[row] = label
