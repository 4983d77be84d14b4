"""The label of a response, or the preference between two, judged by what labels may be."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from fractal_core.label_kinds import settled_kind
from fractal_core.text.records import Fault, mistyped, shown

if TYPE_CHECKING:
    from fractal_core.label_kinds import LabelKind, SettledKind

Number = int | float | Decimal

# A tuple, since `isinstance` with a union that is written out makes the union at each call.
_NUMBERS = (int, float, Decimal)
OUTSIDE = "label outside its range"
_TRUTH = {"true": 1.0, "false": 0.0}
# Preference in the input -> whether the first text of the pair is preferred.
_FIRST_PREFERRED = {1.0: 1.0, 2.0: 0.0, 0.0: 0.5}


class LabelRule(NamedTuple):
    """What labels may be: their kind, how the aggregation and the kind were asked for, and the highest grade."""

    kind: SettledKind
    asked: str
    aggregation: str
    grades: int


def label_rule(label_kind: LabelKind, aggregation: str, grades: int) -> LabelRule:
    """Return the rule of a configuration; messages name the key that the user has set."""
    asked = aggregation if label_kind == "auto" else label_kind
    return LabelRule(settled_kind(label_kind, aggregation), asked, aggregation, grades)


def response_label(
    value: object, typed: bool, column: str, rule: LabelRule, response: str, sentences: int | None
) -> float | None:
    """Return the label of a response, None if it has none.

    Args:
        value: as it is in the file.
        typed: false for CSV, where a number is text.
        column: the column's name in messages.
        rule: what labels may be.
        response: the text, which has at most as many sentences as characters.
        sentences: how many sentences were given with it; None if it is still to be cut.

    Raises:
        Fault: if it is no number, or outside its range: 0 or 1 (binary), 0..1 (share), whole numbers up to the number
            of sentences (count), whole grades up to the highest, or any number up to it under avg (ordinal), any finite
            number (real).
    """
    number = _cell_number(value, typed, column, "label")
    if number is None:
        return None
    if rule.kind == "binary":
        fits, allowed = number in (0, 1), "0 or 1"
    elif rule.kind == "share":
        fits, allowed = 0 <= number <= 1, "0 to 1"
    elif rule.kind == "count":
        most = len(response) if sentences is None else sentences
        unit = "characters" if sentences is None else "sentences"
        fits, allowed = _whole(number, most), f"whole numbers from 0 to {most}, the {unit} of the response"
    elif rule.kind == "ordinal" and rule.aggregation != "avg":
        fits, allowed = _whole(number, rule.grades), f"whole numbers from 0 to {rule.grades}"
    elif rule.kind == "ordinal":
        fits, allowed = 0 <= number <= rule.grades, f"0 to {rule.grades}"
    else:
        fits, allowed = True, "finite numbers"
    label = finite(number) if fits else None
    if label is None:
        raise Fault(OUTSIDE, f"{column} = {shown(value)}, {rule.asked} takes {allowed}")
    return label


def first_preferred(value: object, typed: bool, column: str) -> float | None:
    """Return 1 if the first text of a pair is preferred, 0 if the second is, 0.5 for a tie, None if nobody said.

    Raises:
        Fault: if the value is neither 0, 1, 2 nor missing; true and false do not say which text they mean.
    """
    said = isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in _TRUTH)
    number = None if said else _cell_number(value, typed, column, "preference")
    if said or (number is not None and number not in _FIRST_PREFERRED):
        detail = f"{column} = {shown(value)}, not 1 (the first), 2 (the second), 0 (a tie) or null"
        raise Fault("preference outside its range", detail)
    return None if number is None else _FIRST_PREFERRED[float(number)]


def number_of(value: object) -> Number | None:
    """Return a value that is a number, booleans included; None for anything else, NaN included."""
    # Not math.isnan: it fails on whole numbers too big for a float.
    return value if isinstance(value, _NUMBERS) and value == value else None


def number_in(text: str) -> float | None:
    """Return the number or truth value that a text spells, None if it spells none."""
    word = text.strip().lower()
    if word in _TRUTH:
        return _TRUTH[word]
    try:
        return float(word)
    except ValueError:
        return None


def finite(number: Number) -> float | None:
    """Return a number as a float; None if it is infinite or too big for one."""
    try:
        value = float(number)
    except OverflowError:
        return None
    return None if math.isinf(value) else value


def _cell_number(value: object, typed: bool, column: str, what: str) -> Number | None:
    if value is None or (not typed and isinstance(value, str) and not value.strip()):
        return None
    number = number_of(number_in(value) if not typed and isinstance(value, str) else value)
    if number is None:
        raise Fault(f"{what} is not a number", f"{column} = {mistyped(value)}")
    return number


def _whole(number: Number, most: int) -> bool:
    return 0 <= number <= most and number == int(number)
