"""Numbers in running text, brought to one form: 1,000 = 1000 = one thousand; 3.5 million = 3500000."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

_UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
NUMBER_WORDS = frozenset((*_UNITS, *_TENS, "hundred", *_SCALES))
_NUMBER_WORD = "|".join([*_UNITS, *_TENS, "hundred", *_SCALES])
_NUMBER = re.compile(
    r"(?<![\w.])(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!,?\d)|\d+(?:\.\d+)?|\.\d+)"
    rf"(?:[\s-]*(?P<scale>hundred|{'|'.join(_SCALES)})\b)?"
    rf"|\b(?P<words>(?:{_NUMBER_WORD})(?:(?:[\s-]+|\s+and\s+)(?:{_NUMBER_WORD}))*)\b",
    re.IGNORECASE,
)
_LARGE = 10_000
_ROUNDING = 0.05


def numbers_in(text: str) -> list[float]:
    """Return the numbers of a text in order, signs and units ignored.

    Digits with thousands commas and decimals, digits with a scale word (3.5 million), ordinals and decades (21st,
    1990s) and English number words (two hundred and five) are read. A lone "one" is taken for a pronoun and left out.
    """
    found: list[float] = []
    for match in _NUMBER.finditer(text):
        digits = match["digits"]
        if digits is None:
            words = re.split(r"[\s-]+", match["words"].lower())
            if words != ["one"]:
                found.extend(_word_values(words))
            continue
        value = float(digits.replace(",", ""))
        scale = (match["scale"] or "").lower()
        found.append(value * (100 if scale == "hundred" else _SCALES.get(scale, 1)))
    return found


def _word_values(words: Iterable[str]) -> list[float]:
    """Read a run of number words as one number, or as several where no single number is spelt so (five, six)."""
    values: list[float] = []
    total, group, last_scale = 0, -1, 10**15
    for word in words:
        if word == "and":
            continue
        if word == "hundred":
            group = 100 if group < 0 else group * 100
            continue
        if word in _SCALES:
            scale = _SCALES[word]
            if scale >= last_scale:
                values.append(total)
                total = 0
            total += (1 if group < 0 else group) * scale
            group, last_scale = -1, scale
            continue
        value = _UNITS[word] if word in _UNITS else _TENS[word]
        if group < 0:
            group = value
        elif group > 0 and (group % 100 == 0 or (group % 100 >= 20 and group % 10 == 0 and 0 < value < 10)):
            group += value
        else:
            values.append(total + group)
            total, group, last_scale = 0, value, 10**15
    if total or group >= 0:
        values.append(total + max(group, 0))
    return [float(value) for value in values]


def is_given(number: float, available: Set[float]) -> bool:
    """Say whether a number occurs among `available`, exactly or, if large, as a rounding of one of them.

    A number of at least 10,000 that ends in zeros also matches a number it could be rounded from (181 million for
    181,674,817): closer than its last non-zero digit and within 5 per cent.
    """
    if number in available:
        return True
    if number < _LARGE or number != int(number) or number > 1e15:
        return False
    unit = 1
    while int(number) % (unit * 10) == 0:
        unit *= 10
    reach = min(float(unit), _ROUNDING * number)
    return any(abs(other - number) < reach for other in available)
