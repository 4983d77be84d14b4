"""What a query asks for: its question word, and the kind of answer. English."""

from __future__ import annotations

import re

_QUESTION_WORD = re.compile(
    r"\b(?:who|whom|whose|what|which|when|where|why|how)\b"
    r"(?:\s+(?:many|much|old|long|far|tall|big|large|high|year|date|country|city|state|kind|type|sort|number|percentage)\b)?",
    re.IGNORECASE,
)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|old|long|far|tall|big|large|high|deep|fast|often|heavy|wide)\b|\bwhen\b"
    r"|\b(?:what|which) (?:year|date|day|time|age|percentage|percent|number|size|population|century|month)\b",
    re.IGNORECASE,
)
_ASKS_NAME = re.compile(
    r"\b(?:who|whom|whose|where)\b|\b(?:what|which) (?:country|city|state|county|company)\b", re.IGNORECASE
)
_ASKS_REASON = re.compile(r"\bwhy\b|\bwhat (?:causes?|caused)\b|\bhow come\b", re.IGNORECASE)
_KINDS = (("number", _ASKS_NUMBER), ("name", _ASKS_NAME), ("reason", _ASKS_REASON))


def question_span(query: str) -> tuple[int, int] | None:
    """Return [start, end) of the first question word, with the noun or adjective it takes (how many, which year)."""
    match = _QUESTION_WORD.search(query)
    return match.span() if match else None


def asked_for(query: str) -> str:
    """Return the kind of answer a query asks for: "number", "name", "reason", or "" if that cannot be told."""
    found = [(match.start(), kind) for kind, pattern in _KINDS if (match := pattern.search(query))]
    return min(found)[1] if found else ""
