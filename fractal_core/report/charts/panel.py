"""An empty chart: a frame with two axes, into which bars, lines and dots are put."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from markupsafe import Markup

WIDTH, HEIGHT = 320, 184
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 10, 36
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS = 4


class Panel:
    """A chart over a range of x and a range of y; what lies outside is drawn at the edge."""

    def __init__(
        self,
        description: str,
        x: tuple[float, float],
        y: tuple[float, float],
        x_title: str,
        y_title: str = "",
        y_unit: str = "",
    ) -> None:
        """Draw the axes.

        Args:
            description: what a reader who cannot see it should know.
            x: lower and upper end, apart.
            y: likewise.
            x_title: what x is.
            y_title: what y is; nothing if the heading says it.
            y_unit: what follows the numbers of the y axis.
        """
        self._x, self._y = x, y
        self._root = ElementTree.Element(
            "svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": description, "class": "chart"}
        )
        bottom = HEIGHT - _BOTTOM
        for value in ticks(*y):
            self._line("grid", [(x[0], value), (x[1], value)])
            self._text(_LEFT - 6, self._down(value) + 3.5, _number(value) + y_unit, "end")
        for value in ticks(*x):
            self._text(self._right(value), bottom + 15, _number(value), "middle")
        self._line("axis", [(x[0], y[0]), (x[1], y[0])])
        self._text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 5, x_title, "middle", "title")
        if y_title:
            middle = (_TOP + bottom) / 2
            title = self._text(11, middle, y_title, "middle", "title")
            title.set("transform", f"rotate(-90 11 {_short(middle)})")

    def bar(self, kind: str, x: tuple[float, float], height: float) -> None:
        """Draw a bar from the x axis up, over a range of x."""
        left, right, top = self._right(x[0]), self._right(x[1]), self._down(height)
        box = {"x": left + 0.5, "y": top, "width": right - left - 1, "height": HEIGHT - _BOTTOM - top}
        attributes = {name: _short(value) for name, value in box.items()}
        ElementTree.SubElement(self._root, "rect", {"class": kind, **attributes})

    def line(self, kind: str, points: Sequence[tuple[float, float]]) -> None:
        """Draw a line through points."""
        self._line(kind, points)

    def dot(self, kind: str, x: float, y: float) -> None:
        """Draw a dot."""
        place = {"cx": _short(self._right(x)), "cy": _short(self._down(y)), "r": "4"}
        ElementTree.SubElement(self._root, "circle", {"class": kind, **place})

    def markup(self) -> Markup:
        """Return the chart as SVG; every text in it is escaped."""
        return Markup(ElementTree.tostring(self._root, encoding="unicode"))

    def _line(self, kind: str, points: Iterable[tuple[float, float]]) -> None:
        places = " ".join(f"{_short(self._right(x))},{_short(self._down(y))}" for x, y in points)
        ElementTree.SubElement(self._root, "polyline", {"class": kind, "points": places})

    def _text(self, x: float, y: float, text: str, anchor: str, kind: str = "tick") -> ElementTree.Element:
        attributes = {"x": _short(x), "y": _short(y), "text-anchor": anchor, "class": kind}
        element = ElementTree.SubElement(self._root, "text", attributes)
        element.text = text
        return element

    def _right(self, x: float) -> float:
        low, high = self._x
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(max((x - low) / (high - low), 0.0), 1.0)

    def _down(self, y: float) -> float:
        low, high = self._y
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(max((y - low) / (high - low), 0.0), 1.0)


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from `low` to `high`, at most five, evenly apart."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if value else "0"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
