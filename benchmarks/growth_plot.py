"""A plot of growth in SVG: both axes are logarithmic, so that linear growth is a straight line of slope 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 20, 50
# Apart in hue and in lightness (Okabe and Ito's colours), on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000", "#e69f00")
_LABEL = 14


def draw_growth(lines: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str) -> str:
    """Return the plot as SVG.

    Args:
        lines: name -> points (x, y), all above 0.
        x_title: what x is.
        y_title: what y is.
    """
    points = [point for line in lines.values() for point in line]
    x, y = (_decades([point[axis] for point in points]) for axis in (0, 1))
    root = ElementTree.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "font-family": "sans-serif",
         "font-size": "12", "role": "img", "aria-label": f"{y_title} by {x_title}: {', '.join(lines)}"},
    )  # fmt: skip
    ElementTree.SubElement(root, "rect", {"width": str(WIDTH), "height": str(HEIGHT), "fill": "#fff"})

    def place(point: tuple[float, float]) -> tuple[float, float]:
        right = (math.log10(point[0]) - x[0]) / (x[1] - x[0]) * (WIDTH - _LEFT - _RIGHT)
        up = (math.log10(point[1]) - y[0]) / (y[1] - y[0]) * (HEIGHT - _TOP - _BOTTOM)
        return _LEFT + right, HEIGHT - _BOTTOM - up

    for power in range(x[0], x[1] + 1):
        ends = place((10.0**power, 10.0 ** y[0])), place((10.0**power, 10.0 ** y[1]))
        _line(root, ends, "#ddd", 1)
        _text(root, (ends[0][0], ends[0][1] + 18), f"{10**power:,}", "middle")
    for power in range(y[0], y[1] + 1):
        ends = place((10.0 ** x[0], 10.0**power)), place((10.0 ** x[1], 10.0**power))
        _line(root, ends, "#ddd", 1)
        _text(root, (ends[0][0] - 8, ends[0][1] + 4), f"{10.0**power:g}", "end")
    _text(root, ((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 10), x_title, "middle")
    title = _text(root, (16, HEIGHT / 2), y_title, "middle")
    title.set("transform", f"rotate(-90 16 {HEIGHT / 2:g})")
    below = math.inf
    order = sorted(enumerate(lines.items()), key=lambda each: each[1][1][-1][1])
    for number, (name, line) in order:
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place(point) for point in line]
        _line(root, places, colour, 2)
        below = min(places[-1][1], below - _LABEL)  # From the lowest up, so that no name covers another.
        _text(root, (places[-1][0] + 8, below + 4), name, "start", colour)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _line(root: ElementTree.Element, places: Sequence[tuple[float, float]], colour: str, width: int) -> None:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    ElementTree.SubElement(
        root, "polyline", {"points": points, "fill": "none", "stroke": colour, "stroke-width": str(width)}
    )


def _text(
    root: ElementTree.Element, place: tuple[float, float], text: str, anchor: str, colour: str = "#333"
) -> ElementTree.Element:
    attributes = {"x": f"{place[0]:.1f}", "y": f"{place[1]:.1f}", "text-anchor": anchor, "fill": colour}
    element = ElementTree.SubElement(root, "text", attributes)
    element.text = text
    return element
