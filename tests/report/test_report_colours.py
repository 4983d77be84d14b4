"""Sentences can be read on every shade, and shades told apart by people who see fewer colours."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest

STYLE = (files("fractal_core.report") / "resources" / "base.css").read_text(encoding="utf-8")
SENTENCES = (files("fractal_core.report") / "resources" / "responses.css").read_text(encoding="utf-8")
# Linear RGB as it is seen without one kind of cone: Machado, Oliveira and Fernandes, "A Physiologically-based Model for
# Simulation of Color Vision Deficiency", IEEE TVCG 15 (2009), severity 1.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def colours(theme):
    """Return the named colours of a theme."""
    light, dark = STYLE.split("@media screen and (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found if theme == "light" else {**found, **dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))}


def linear(colour):
    """Return linear RGB of a colour such as #a04a08."""
    values = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Return the contrast of two colours as WCAG 2.2 defines it."""
    bright, dim = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def seen(colour, matrix):
    """Return CIE L*a*b* (D65) of a colour as it is seen."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(np.array(matrix) @ linear(colour), 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ramps(found):
    """Return the shades from low to high, each of the ways they are used."""
    for low, high in itertools.product(("warm", "pale-warm"), ("cool", "pale-cool")):
        if (low, high) != ("warm", "cool"):
            yield [
                *(found[f"{low}-{n}"] for n in range(3)),
                found["shade-3"],
                *(found[f"{high}-{n}"] for n in (4, 5, 6)),
            ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read(theme):
    """Contrast of at least 4.5 (WCAG AA): sentences on every shade, soft texts, links; 3 for lines and frames."""
    found = colours(theme)
    for shade in [
        name for name in found if re.fullmatch(r"(pale-)?(warm|cool)-\d|shade-3|surface|paper|warning", name)
    ]:
        assert contrast(found["ink"], found[shade]) >= 4.5, shade
    for text, ground in itertools.product(("soft", "accent"), ("paper", "surface")):
        assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
    for ground in ("paper", "surface"):
        assert contrast(found["control"], found[ground]) >= 3
    for ramp in ("warm", "pale-warm", "cool", "pale-cool"):
        for shade in (name for name in found if re.fullmatch(ramp + r"-\d", name)):
            assert contrast(found[f"{ramp}-line"], found[shade]) >= 3, (ramp, shade)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("blindness", BLIND)
def test_low_and_high_differ_for_everyone(theme, blindness):
    """The lowest and the highest two shades differ clearly (Delta E of at least 10) without one kind of cone."""
    for ramp in ramps(colours(theme)):
        points = [seen(colour, BLIND[blindness]) for colour in ramp]
        for low, high in itertools.product(points[:2], points[-2:]):
            assert np.linalg.norm(low - high) >= 10


def test_shades_differ_in_more_than_colour():
    """Every shade has a line of its own under the text: kind and thickness, or none in the middle."""
    lines = re.findall(r"\.shade-(\d) \{[^}]*?underline (.+?) var", SENTENCES)
    low = [line for shade, line in lines if int(shade) < 3]
    high = [line for shade, line in lines if int(shade) > 3]
    assert len({*low, *high}) == len(low) + len(high) == 5
    assert all("solid" not in line for line in low)
    assert all("solid" in line for line in high)
