"""Offsets are exact: of joined pieces, of marked ranges, of UTF-16 units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.convert.offsets import code_points, joined, touched
from fractal_core.text.records import Fault


@given(st.lists(st.text().filter(str.strip), min_size=1), st.sampled_from([" ", "\n", "\n\n"]))
def test_joined(pieces, between):
    """A piece is where its span says, without white space around it, and the text is all of them."""
    text, spans = joined(pieces, between)
    assert text == between.join(pieces)
    assert [text[start:end] for start, end in spans] == [piece.strip() for piece in pieces]
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize("pieces", [[], ["a", " \n"], [""]])
def test_pieces_without_text(pieces):
    """A piece without text is a fault, and so is none at all."""
    with pytest.raises(Fault):
        joined(pieces, " ")


def test_touched():
    """A range touches a sentence if it shares a letter or digit with it: not by a blank, a full stop or its edge."""
    text = "One two. Three 4."
    spans = [(0, 8), (9, 17)]
    cases = {
        (0, 3): [True, False], (7, 10): [False, True], (7, 9): [False, False], (8, 9): [False, False],
        (6, 16): [True, True], (15, 16): [False, True], (16, 17): [False, False],
    }  # fmt: skip
    assert {span: touched(text, spans, [span]) for span in cases} == cases
    assert touched(text, spans, []) == [False, False]
    assert touched(text, spans, [(0, 3), (9, 14)]) == [True, True]


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), st.data())
def test_code_points(text, data):
    """A range of UTF-16 units covers the characters that have a unit in it."""
    units = [index for index, character in enumerate(text) for _ in range(len(character.encode("utf-16-le")) // 2)]
    first = data.draw(st.integers(0, len(units) - 1))
    last = data.draw(st.integers(first + 1, len(units)))
    ((start, end),) = code_points(text, [(first, last)])
    assert list(range(start, end)) == sorted(set(units[first:last]))


@pytest.mark.parametrize("span", [(0, 5), (2, 2), (3, 2), (-1, 2)])
def test_ranges_outside(span):
    """A range that is empty or leaves the text is a fault."""
    with pytest.raises(Fault, match="outside"):
        code_points("abc\U0001f600"[:4], [span] if span != (0, 5) else [(0, 6)])
