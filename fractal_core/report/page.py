"""The page: templates, style and script of folder `resources`, with everything that is not ours escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_STYLES = ("base.css", "charts.css", "responses.css")
_SCRIPTS = ("data.js", "card.js", "tip.js", "order.js", "list.js")
# What could end a script element, or a line in it.
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def render(content: dict[str, Any], data: dict[str, Any]) -> str:
    """Return the page.

    Args:
        content: values of the templates.
        data: what the script lists, fit for JSON.

    Returns:
        HTML that loads nothing, and in which nothing but our own style and script is allowed to act.
    """
    style, script = _joined(_STYLES), _joined(_SCRIPTS)
    policy = (
        f"default-src 'none'; script-src '{_source(script)}'; style-src '{_source(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    page: str = (
        _environment()
        .get_template("report.html")
        .render(content, policy=policy, style=Markup(style), script=Markup(script), data=Markup(as_data(data)))
    )
    return page


def as_data(value: Any) -> str:
    """Return compact JSON that a script element of type application/json can hold, whatever texts are in it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)


def _joined(names: tuple[str, ...]) -> str:
    folder = files("fractal_core.report") / "resources"
    return "\n" + "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def _source(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fractal_core.report", "resources"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "whole": lambda value: f"{value:,}",
        "figure": figure,
        "seconds": lambda value: f"{value:.1f}",
        "duration": duration,
        "name": lambda value: value.replace("_", " ").replace("pseudolabel", "pseudo-label"),
    }
    return environment


def figure(value: float) -> str:
    """Return a number with three decimals, or four digits if it is large."""
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 120:
        return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
