"""Simple equations in running text and LaTeX, checked by a small parser that only knows numbers and + - * / ^ ( )."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)")
_BRACED_POWER = re.compile(r"\^\s*\{([^{}]*)\}")
_MIXED_NUMBER = re.compile(r"(?<=\d)\s*(?=\\[dt]?frac)")
_REWRITES = (
    (re.compile(r"\\(?:left|right)(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:displaystyle|,|!|;|:|quad|qquad| )|\\[()\[\]]|\$|\\\$|&|\*\*(?=\s|$|[A-Za-z])"), " "),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])|[×·]"), "*"),
    (re.compile(r"\\div(?![a-zA-Z])|÷"), "/"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
)
_RUN_BEFORE = re.compile(r"[\d\s.+\-*/^()]*$")
_RUN_AFTER = re.compile(r"[\d\s.+\-*/^()]*")
_OPERATION = re.compile(r"[\d)]\s*[-+*/^(]")
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|[-+*/^()])")
_LARGEST_EXPONENT = 12
_LARGEST_VALUE = 1e15
_MOST_DEPTH = 20


@dataclass(frozen=True)
class EquationCheck:
    """How many equations of a text could be checked: those that hold, and those that do not."""

    right: int
    wrong: int


def check_equations(text: str) -> EquationCheck:
    """Check every `a op b = c` in a text whose two sides are plain arithmetic.

    Each "=" is looked at alone, with the longest run of arithmetic on either side, so chains (a = b = c) count once a
    sign. A side that touches a variable, a unit or an unknown command is not judged. At least one side must hold an
    operator. A decimal result may be rounded to the digits it shows.
    """
    right = wrong = 0
    if "=" not in text:
        return EquationCheck(0, 0)
    plain = _plain(text)
    position = plain.find("=")
    while position >= 0:
        verdict = _judge(plain, position)
        if verdict is not None:
            right, wrong = right + verdict, wrong + (not verdict)
        position = plain.find("=", position + 1)
    return EquationCheck(right, wrong)


def _plain(text: str) -> str:
    """Rewrite LaTeX arithmetic as plain arithmetic; fractions become ((a)/(b)), mixed numbers unreadable."""
    text = _MIXED_NUMBER.sub("~", text)
    text = _SHORT_FRACTION.sub(r"((\1)/(\2))", text)
    for _ in range(3):
        text = _BRACED_POWER.sub(r"^(\1)", _FRACTION.sub(r"((\1)/(\2))", text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def _judge(text: str, position: int) -> bool | None:
    """Return whether the equation at one "=" holds; None if it cannot be judged."""
    before, after = text[:position], text[position + 1 :]
    if (before and before[-1] in "<>!=:\\≤≥≠") or after[:1] in ("=", ">"):
        return None
    left = _RUN_BEFORE.search(before)
    right = _RUN_AFTER.match(after)
    if left is None or right is None or "remainder" in after[:60]:
        return None
    preceding, following = before[: left.start()], after[right.end() :]
    left_text, right_text = left.group().strip(), right.group().rstrip()
    if right_text.endswith("."):
        right_text, following = right_text[:-1], "." + following
    right_text = right_text.strip()
    if not left_text or not right_text:
        return None
    if _joined_before(preceding, left.group()) or _joined_after(following, right.group()):
        return None
    alone = not _OPERATION.search(left_text)
    if alone and preceding.rstrip()[-1:] not in ("", "="):
        return None  # "30% of 500 = 0.3 * 500": the number belongs to the words before it
    left_value, right_value = evaluate(left_text), evaluate(right_text)
    if left_value is None or right_value is None or (alone and not _OPERATION.search(right_text)):
        return None
    decimals = len(right_text.partition(".")[2]) if re.fullmatch(r"-?\d*\.?\d+", right_text) else 0
    slack = 0.51 * 10.0**-decimals if decimals else 1e-6 * max(1.0, abs(right_value))
    return abs(left_value - right_value) <= slack


def _joined_before(preceding: str, run: str) -> bool:
    """Say whether the left run is the tail of something longer: `x + 3`, `f(2)`, `}{3}`."""
    last = preceding.rstrip()[-1:]
    if not last:
        return False
    touching = not run[:1].isspace() and preceding[-1:] == last
    if touching and (last.isalnum() or last in "_^\\}%!'|"):
        return True
    return last in "~_^\\}|%!<>≤≥≈" or (run.lstrip()[:1] in "+-*/^" and last not in "=:,;.")


def _joined_after(following: str, run: str) -> bool:
    """Say whether the right run goes on in something that is not plain arithmetic: `15x`, `15 + x`, `15^n`."""
    first = following.lstrip()[:1]
    if run.rstrip()[-1:] in "+-*/^(" and first:
        return True
    touching = bool(following) and not following[0].isspace() and not run[-1:].isspace()
    return first in tuple("\\_^{%!|≤≥<>") or (touching and first.isalnum())


def evaluate(expression: str) -> float | None:
    """Return the value of plain arithmetic, or None if it is anything else, undefined, too large or too deep."""
    tokens, end = [], 0
    while end < len(expression.rstrip()):
        match = _TOKEN.match(expression, end)
        if match is None:
            return None
        tokens.append(match.group(1))
        end = match.end()
    parser = _Parser(tokens)
    try:
        value = parser.sum(0)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if not parser.tokens and abs(value) <= _LARGEST_VALUE else None


class _Parser:
    """Recursive descent over + - * / ^ and parentheses; ValueError on anything it does not know."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]

    def _next(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def sum(self, depth: int) -> float:
        if depth > _MOST_DEPTH:
            raise ValueError("too deep")
        value = self._product(depth)
        while self._next() in ("+", "-"):
            value = value + self._product(depth) if self.tokens.pop() == "+" else value - self._product(depth)
        return value

    def _product(self, depth: int) -> float:
        value = self._power(depth)
        while self._next() in ("*", "/", "("):
            if self._next() == "(":
                value *= self._power(depth)
            else:
                value = value * self._power(depth) if self.tokens.pop() == "*" else value / self._power(depth)
        return value

    def _power(self, depth: int) -> float:
        if depth > _MOST_DEPTH:
            raise ValueError("too deep")
        if self._next() == "-":
            self.tokens.pop()
            return -self._power(depth + 1)
        base = self._atom(depth)
        if self._next() != "^":
            return base
        self.tokens.pop()
        exponent = self._power(depth + 1)
        if abs(exponent) > _LARGEST_EXPONENT or abs(base) > _LARGEST_VALUE or (base < 0 and exponent != int(exponent)):
            raise ValueError("power out of range")
        return float(base**exponent)

    def _atom(self, depth: int) -> float:
        if not self.tokens:
            raise ValueError("ends early")
        token = self.tokens.pop()
        if token == "(":
            value = self.sum(depth + 1)
            if not self.tokens or self.tokens.pop() != ")":
                raise ValueError("unbalanced")
            return value
        return float(token)
