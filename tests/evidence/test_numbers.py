"""Numbers in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.evidence.numbers import is_given, numbers_in

SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def spelt(number: int) -> str:
    """Spell a number below a thousand million in English words."""
    for scale, word in ((10**6, "million"), (10**3, "thousand")):
        if number >= scale:
            rest = number % scale
            return f"{spelt(number // scale)} {word}" + (f" {spelt(rest)}" if rest else "")
    if number >= 100:
        return f"{SMALL[number // 100]} hundred" + (f" and {spelt(number % 100)}" if number % 100 else "")
    if number >= 20:
        return TENS[number // 10] + (f"-{SMALL[number % 10]}" if number % 10 else "")
    return SMALL[number]


@given(st.integers(0, 10**9 - 1).filter(lambda n: n != 1))
def test_number_words_are_read(number):
    """Every spelt number is read as one number with its value."""
    assert numbers_in(f"There were {spelt(number)} of them.") == [number]


@given(st.integers(0, 10**12), st.integers(0, 99))
def test_digits_are_read_with_and_without_commas(whole, hundredths):
    """Thousands commas make no difference, decimals count."""
    value = float(f"{whole}.{hundredths:02}")
    assert numbers_in(f"It cost ${whole}.{hundredths:02}, then.") == [value]
    assert numbers_in(f"It cost ${whole:,}.{hundredths:02}, then.") == [value]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,000 = 1000 = one thousand", [1000, 1000, 1000]),
        ("3.5 million and 17.3-billion", [3_500_000, 17_300_000_000]),
        ("the 21st, in the 1990s, 45°C, 5%", [21, 1990, 45, 5]),
        ("five six", [5, 6]),
        ("one of them, but one hundred", [100]),
        ("nothing here; one-way", []),
        ("B2 and a4 are no numbers", []),
    ],
)
def test_examples(text, expected):
    """Cases decided by hand."""
    assert numbers_in(text) == expected


@pytest.mark.parametrize(
    ("number", "available", "given_"),
    [
        (5.0, {5.0}, True),
        (1998.0, {1999.0}, False),
        (2000.0, {1999.0}, False),
        (181e6, {181_674_817.0}, True),
        (180e6, {181_674_817.0}, True),
        (182e6, {181_674_817.0}, True),
        (184e6, {181_674_817.0}, False),
        (100e6, {130e6}, False),
        (12_345.0, {12_346.0}, False),
    ],
)
def test_is_given(number, available, given_):
    """Small numbers must be there exactly; large round ones may be roundings."""
    assert is_given(number, frozenset(available)) is given_
