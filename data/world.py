"""The small world the sample data speaks about: invented entities and one value for each of their attributes.

Every name is put together from syllables by a seeded generator, so nothing is claimed about the real world.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SEED = 20261121
ENTITIES_PER_KIND = 40
KINDS = ("bridge", "company", "festival", "museum", "researcher", "river", "species", "town")
PHRASES = Path(__file__).resolve().parent / "phrases"

ValueType = Literal["year", "number", "count", "choice", "person", "town", "river"]
Value = int | str
"""A year, number or count; the index of a choice as int; the full name of a person, town or river."""

_ONSETS = (
    "b",
    "br",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "sk",
    "st",
    "t",
    "tr",
    "v",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("l", "n", "r", "m", "rn", "lv", "nd", "sk", "rth", "v", "x", "ldr", "mm", "rz")
_TOWN_ENDS = ("by", "mar", "holt", "wick", "mond", "fell", "oss", "averne")
_RIVER_ENDS = ("a", "e", "une", "is", "o", "ach")
_SURNAME_ENDS = ("en", "er", "ow", "ick", "ard", "ell", "une", "is")
_OTHER_ENDS = ("", "a", "en", "or", "el")
_TAKEN = {"Brunel", "Brahmer", "Mummer", "Drummer", "Grummer"}  # syllables that happen to spell a known name or word
_KIND_WORDS = {
    "bridge": ("Bridge", "Viaduct", "Crossing"),
    "festival": ("Fair", "Gala", "Pageant", "Carnival", "Week"),
    "museum": ("Museum", "Collection", "Gallery"),
    "company": ("& Sons", "Manufacturing", "Limited", "& Daughters"),
    "species": ("grey", "marsh", "dwarf", "crested", "cave", "meadow", "ringed", "mountain"),
}


@dataclass(frozen=True)
class Attribute:
    """Something that can be known about an entity, with the phrases that say it.

    Attributes:
        said: how a document states it.
        told: how somebody else puts it, in other words.
        never: denials; slot {w} takes a value that the entity does not have.
        ask: questions it answers.
        echo: sentences that use the question's words without answering it.
        options: for a choice, (wording of documents, other wording) of each possible value.
        below: another number of the same entity that this one must stay under.
        more, less: comparatives for numbers that can be compared between entities.
    """

    name: str
    theme: str
    type: ValueType
    said: list[str]
    told: list[str]
    ask: list[str]
    echo: list[str]
    never: list[str] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)
    low: int = 0
    high: int = 0
    unit: str = ""
    below: str = ""
    more: str = ""
    less: str = ""


@dataclass(frozen=True)
class Relation:
    """Two years of an entity and the phrases that state the gap between them."""

    earlier: str
    later: str
    told: list[str]


@dataclass(frozen=True)
class Kind:
    """A kind of entity: its attributes, the themes they belong to, and words for any one of its kind."""

    name: str
    noun: list[str]
    fillers: list[str]
    themes: dict[str, list[str]]
    attributes: dict[str, Attribute]
    relations: list[Relation]


@dataclass(frozen=True)
class Entity:
    """One invented thing or person, and everything that is true of it."""

    kind: Kind
    name: str
    group: str
    split: str
    gender: str
    values: dict[str, Value]

    @property
    def short(self) -> str:
        """Return the name without a first name, for people; otherwise the name."""
        return self.name.split()[-1] if self.gender in ("he", "she") else self.name


@dataclass(frozen=True)
class World:
    """All entities by kind, and the pools from which wrong values are drawn."""

    entities: dict[str, list[Entity]]
    pools: dict[str, list[str]]


class _Names:
    """Hands out invented names, none of them twice."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def stem(self, ends: tuple[str, ...]) -> str:
        """Return a new capitalised word with one of the endings."""
        while True:
            parts = [self._rng.choice(x) for x in (_ONSETS, _VOWELS, _CODAS, ends)]
            name = "".join(parts).capitalize()
            if name not in self._used | _TAKEN and 4 <= len(name) <= 10:
                self._used.add(name)
                return name

    def person(self, gender: str) -> str:
        """Return a first name and a surname that nobody else has."""
        ends = ("a", "e", "ine") if gender == "she" else ("o", "us", "an")
        first = self._rng.choice(_ONSETS) + self._rng.choice(_VOWELS) + self._rng.choice(("l", "n", "r", "m", "v"))
        return f"{(first + self._rng.choice(ends)).capitalize()} {self.stem(_SURNAME_ENDS)}"

    def entity(self, kind: str) -> tuple[str, str]:
        """Return the name of an entity of `kind` and its pronoun."""
        if kind == "researcher":
            gender = self._rng.choice(("he", "she"))
            return self.person(gender), gender
        if kind == "town":
            return self.stem(_TOWN_ENDS), "it"
        if kind == "river":
            return f"the {self.stem(_RIVER_ENDS)}", "it"
        word, stem = self._rng.choice(_KIND_WORDS[kind]), self.stem(_OTHER_ENDS)
        if kind == "species":
            return f"the {word} {stem.lower()}", "it"
        return (f"{stem} {word}" if kind == "company" else f"the {stem} {word}"), "it"


def load_kind(name: str) -> Kind:
    """Read the phrases of one kind of entity."""
    raw = tomllib.loads((PHRASES / f"{name}.toml").read_text(encoding="utf-8"))
    attributes = {a["name"]: Attribute(**a) for a in raw["attribute"]}
    relations = [Relation(**r) for r in raw.get("relation", [])]
    return Kind(name, raw["noun"], raw["fillers"], raw["themes"], attributes, relations)


def draw_value(rng: random.Random, attribute: Attribute, pools: dict[str, list[str]]) -> Value:
    """Draw a value an attribute could have; numbers are drawn evenly on a logarithmic scale, to 3 figures."""
    if attribute.type == "choice":
        return rng.randrange(len(attribute.options))
    if attribute.type in pools:
        return rng.choice(pools[attribute.type])
    if attribute.type != "number":
        return rng.randint(attribute.low, attribute.high)
    value = attribute.low * (attribute.high / attribute.low) ** rng.random()
    step = 10 ** max(0, len(str(int(value))) - 3)
    return round(value / step) * step


def _draw_values(rng: random.Random, kind: Kind, pools: dict[str, list[str]]) -> dict[str, Value]:
    """Draw a value for every attribute of an entity, so that they do not contradict one another."""
    values: dict[str, Value] = {}
    for attribute in kind.attributes.values():
        value = draw_value(rng, attribute, pools)
        while attribute.below and int(value) >= int(values[attribute.below]):
            value = draw_value(rng, attribute, pools)
        values[attribute.name] = value
    return values


def _splits(rng: random.Random, count: int) -> list[str]:
    """Return `count` split names, 70 % train, 10 % dev and 20 % test, in random order."""
    dev, test = count // 10, count // 5
    names = ["dev"] * dev + ["test"] * test + ["train"] * (count - dev - test)
    rng.shuffle(names)
    return names


def build_world(seed: int = SEED) -> World:
    """Invent every entity and state its facts; the same seed gives the same world."""
    rng = random.Random(seed)
    names = _Names(rng)
    named = {kind: [names.entity(kind) for _ in range(ENTITIES_PER_KIND)] for kind in KINDS}
    pools = {
        "person": [names.person(rng.choice(("he", "she"))) for _ in range(150)],
        "town": [name for name, _ in named["town"]],
        "river": [name for name, _ in named["river"]],
    }
    entities = {}
    for kind_name in KINDS:
        kind = load_kind(kind_name)
        splits = _splits(rng, ENTITIES_PER_KIND)
        entities[kind_name] = [
            Entity(
                kind,
                name,
                "-".join([kind_name, *name.removeprefix("the ").replace("& ", "").lower().split()]),
                split,
                gender,
                _draw_values(rng, kind, pools),
            )
            for (name, gender), split in zip(named[kind_name], splits, strict=True)
        ]
    return World(entities, pools)
