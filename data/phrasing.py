"""Turns facts into English sentences: ways to name an entity, ways to put a value, true and false."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

from world import Attribute, Entity, Value, World, draw_value

_WORDS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)
_SLOT = re.compile(r"((?:^|\b)(?:of|in|at|to|for|from|on|by|with) )?\{([eop])\}", re.IGNORECASE)
_PREFIXES = (
    "according to local records, ",
    "by most accounts, ",
    "as far as is known, ",
    "it should be added that ",
    "interestingly, ",
    "in addition, ",
    "for the record, ",
    "it is often said that ",
    "to this day people note that ",
)
PREFIX_SHARE = 0.18
"""Share of sentences that open with words which say nothing about their truth or relevance."""


@dataclass
class Voice:
    """Chooses how an entity is mentioned: in full when the text has just turned to it, otherwise mostly shorter.

    Any entity but the main one is always named in full, so that no sentence is ambiguous.
    """

    rng: random.Random
    main: Entity
    last: Entity | None = None

    def sentence(self, entity: Entity, template: str, slots: dict[str, str] | None = None, prefix: bool = True) -> str:
        """Fill a template and return a finished sentence."""
        text = self.clause(entity, template, slots)
        if prefix and self.rng.random() < PREFIX_SHARE:
            text = self.rng.choice(_PREFIXES) + text
        return finish(text)

    def clause(self, entity: Entity, template: str, slots: dict[str, str] | None = None) -> str:
        """Fill a template and return it without capital and full stop."""
        known = entity is self.last and entity is self.main
        style = self.rng.choices(("pronoun", "noun", "full"), (45, 35, 20))[0] if known else "full"
        self.last = entity
        # Slots are filled first, so that values that hold no slot of their own cannot be taken for one.
        text = re.sub(r"\{([vwnx]|when|more)\}", lambda m: (slots or {})[m.group(1)], template)
        mentions = 0

        def fill(match: re.Match[str]) -> str:
            nonlocal mentions
            mentions += 1
            before, slot = match.group(1) or "", match.group(2)
            chosen = style if mentions == 1 else "pronoun"
            # "Market day in it" and "the family of her" are not English; "according to her" is.
            awkward = before.lower() == "of " or (before and entity.gender == "it")
            if awkward and chosen == "pronoun" and slot != "p":
                chosen = "noun"
            return before + self._mention(entity, slot, chosen)

        return _SLOT.sub(fill, text)

    def _mention(self, entity: Entity, slot: str, style: str) -> str:
        if style == "pronoun":
            forms = {"it": ("it", "it", "its"), "he": ("he", "him", "his"), "she": ("she", "her", "her")}[entity.gender]
            return forms["eop".index(slot)]
        noun = entity.short if entity.gender != "it" and self.rng.random() < 0.6 else self.rng.choice(entity.kind.noun)
        name = entity.name if style == "full" else noun
        return name if slot != "p" else f"{name}'s"


PLAIN_SHARE = 0.5
"""Share of choices for which other texts use the words of the documents."""


def finish(text: str) -> str:
    """Return a clause with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def _about(value: int, digits: int) -> int:
    """Round a positive number to so many significant figures."""
    step = 10 ** max(0, len(str(value)) - digits)
    return int(value / step + 0.5) * step


def _number(value: int) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:.3g} million"
    return f"{value:,}"


Form = Literal["said", "exact", "told", "wrong side"]


def word_value(rng: random.Random, attribute: Attribute, value: Value, form: Form) -> dict[str, str]:
    """Put a value into words.

    Forms: `said`, as documents write it; `exact`, in other words but as precise; `told`, possibly rounded or bounded;
    `wrong side`, a bound that the value is on the wrong side of (years and numbers only).
    """
    if attribute.type == "year":
        return _word_year(rng, int(value), form)
    if attribute.type == "number":
        return {"v": f"{_word_number(rng, int(value), form)} {attribute.unit}"}
    if attribute.type == "count":
        words = form != "said" or rng.random() < 0.5
        return {"v": _WORDS[int(value)] if words else str(value)}
    if attribute.type == "choice":
        pair = attribute.options[int(value)]
        return {"v": pair[0] if form == "said" or rng.random() < PLAIN_SHARE else pair[-1]}
    name = str(value)
    return {"v": name.split()[-1] if attribute.type == "person" and form != "said" and rng.random() < 0.5 else name}


def _word_year(rng: random.Random, year: int, form: Form) -> dict[str, str]:
    decade = f"the {year // 10 * 10}s"
    below, above = (year - 1) // 5 * 5, year // 5 * 5 + 5
    if form == "wrong side":
        return {"v": f"{year}", "when": rng.choice((f"before {below}", f"after {above}", f"earlier than {below}"))}
    kind = rng.choices(("exact", "decade", "bound"), (66, 17, 17))[0] if form == "told" else "exact"
    if kind == "decade":
        return {"v": decade, "when": f"in {decade}"}
    if kind == "bound":
        return {"v": f"{year}", "when": rng.choice((f"before {above}", f"after {below}", f"earlier than {above}"))}
    return {"v": f"{year}", "when": f"in {year}"}


def _word_number(rng: random.Random, value: int, form: Form) -> str:
    digits = 1 if value < 100 else 2
    step = 10 ** max(0, len(str(value)) - digits)
    below, above = (value - 1) // step * step, value // step * step + step
    if form == "wrong side":
        low = [f"less than {_number(below)}", f"under {_number(below)}"] if below else []
        return rng.choice([f"more than {_number(above)}", *low])
    if form != "told" or value < 20:
        return _number(value)
    kind = rng.choices(("exact", "about", "bound"), (56, 27, 17))[0]
    if kind == "about":
        return f"{rng.choice(('about', 'roughly', 'some'))} {_number(_about(value, digits))}"
    if kind == "bound":
        return rng.choice((f"more than {_number(below)}", f"less than {_number(above)}", f"under {_number(above)}"))
    return _number(value)


def other_value(rng: random.Random, world: World, attribute: Attribute, value: Value, near: list[Value]) -> Value:
    """Return a value that differs from `value`: one of `near` (what the context says of others) in a third of cases.

    Years and numbers differ by so much that rounding cannot make the other value true.
    """

    def differs(other: Value) -> bool:
        if attribute.type == "year":
            return int(other) // 10 != int(value) // 10
        if attribute.type == "number":
            return abs(int(other) - int(value)) > 0.25 * int(value)
        return other != value

    swaps = [x for x in near if differs(x)]
    if swaps and rng.random() < 0.35:
        return rng.choice(swaps)
    while True:
        other = draw_value(rng, attribute, world.pools)
        if attribute.type == "year":
            other = int(value) + rng.choice((-1, 1)) * rng.randint(6, 45)
        if differs(other):
            return other
