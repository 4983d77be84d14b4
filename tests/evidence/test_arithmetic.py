"""Checking equations in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.evidence.arithmetic import EquationCheck, check_equations, evaluate

NUMBERS = st.integers(0, 999)
EXPRESSIONS = st.recursive(
    NUMBERS.map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"(-{text})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_the_parser_agrees_with_python(expression):
    """Precedence, signs and parentheses are those of ordinary arithmetic; what is undefined is None."""
    try:
        expected = eval(expression)
    except ZeroDivisionError:
        expected = None
    if expected is None or abs(expected) > 1e15:
        assert evaluate(expression) is None
    else:
        assert evaluate(expression) == pytest.approx(expected)


@given(st.text("0123456789+-*/^(). ", max_size=40))
def test_the_parser_never_fails(expression):
    """Any string of arithmetic signs gives a number or None, and quickly."""
    value = evaluate(expression)
    assert value is None or abs(value) <= 1e15


@given(st.text(max_size=80).map(lambda text: f"{text}={text}"))
def test_any_text_can_be_checked(text):
    """No text raises."""
    check = check_equations(text)
    assert check.right >= 0 <= check.wrong


@given(NUMBERS, NUMBERS, st.integers(-3, 3))
def test_sums_and_products(a, b, error):
    """A sum is right exactly if it is; so is a LaTeX product."""
    right = EquationCheck(1, 0) if error == 0 else EquationCheck(0, 1)
    assert check_equations(f"We get {a} + {b} = {a + b + error} in all.") == (
        right if a + b + error >= 0 else check_equations(f"{a} + {b} = {a + b + error}")
    )
    assert check_equations(rf"so \({a} \times {b} = {a * b + abs(error)}\).") == right


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("5 * 5 = 25 classes", 1, 0),
        (r"\(\frac{1}{2} + \frac{3}{4} = \frac{5}{4}\)", 1, 0),
        (r"\[ \frac{1 + \frac{1}{2}}{3} = 0.5 \]", 1, 0),
        ("10 / 3 = 3.33", 1, 0),
        ("10 / 3 = 3.34", 0, 1),
        ("$15.00 + $5 = $20.00.", 1, 0),
        ("1,000 + 1 = 1,001", 1, 0),
        ("2^{10} = 1024", 1, 0),
        ("2 + 3 = 5 = 6 - 1", 2, 0),
        ("(2)(3) = 6", 1, 0),
        ("x = 3 + 4 = 8", 0, 1),
        ("2x + 3 = 7", 0, 0),
        ("f(2) = 4 + 1", 0, 0),
        ("17 mod 5 = 2", 0, 0),
        ("12 - 2 = 10x", 0, 0),
        ("12 - 2 = 9 + y", 0, 0),
        ("30% of 500 = 0.3 * 500", 0, 0),
        (r"3\frac{4}{5} = \frac{19}{5} + 1 - 1", 0, 0),
        ("17 / 5 = 3 remainder 2", 0, 0),
        ("3! = 6 * 1", 0, 0),
        ("5 + 5 >= 3", 0, 0),
        ("9^99^99 = 1 + 1", 0, 0),
        ("no equation", 0, 0),
    ],
)
def test_examples(text, right, wrong):
    """Cases decided by hand: only plain arithmetic is judged."""
    assert check_equations(text) == EquationCheck(right, wrong)
