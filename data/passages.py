"""Composes the answers and relevance sets: true sentences, some of which are what the query asks for."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from documents import ask, document, length, neighbour
from phrasing import Voice, other_value, word_value
from world import Attribute, Entity, World

Part = Callable[[Voice], str]
"""A sentence yet to be written: what it says is fixed, how it names its subject depends on the sentence before."""

PLAIN = 0.75
"""Share of facts in the answers set that are told in the words of documents, which are closer to those of questions."""


def _tell(rng: random.Random, entity: Entity, attribute: Attribute, said: float = 0.5, precise: bool = False) -> Part:
    """A fact, with probability `said` in the words of documents and otherwise in others."""
    plain = rng.random() < said

    def write(voice: Voice) -> str:
        form = "said" if plain else "exact" if precise else "told"
        slots = word_value(rng, attribute, entity.values[attribute.name], form)
        return voice.sentence(entity, rng.choice(attribute.said if plain else attribute.told), slots)

    return write


def _remark(rng: random.Random, entity: Entity, templates: list[str]) -> Part:
    """A sentence without a value."""
    return lambda voice: voice.sentence(entity, rng.choice(templates))


def _deny(rng: random.Random, world: World, entity: Entity, attribute: Attribute) -> Part:
    """A denial that is true."""

    def write(voice: Voice) -> str:
        value = other_value(rng, world, attribute, entity.values[attribute.name], [])
        slots = word_value(rng, attribute, value, "exact")
        return voice.sentence(entity, rng.choice(attribute.never), {"w": slots["v"]})

    return write


def _state(rng: random.Random, world: World, entity: Entity, attribute: Attribute, denials: float) -> Part:
    """A fact, or with probability `denials` a true denial on the same attribute where there is one."""
    if attribute.never and rng.random() < denials:
        return _deny(rng, world, entity, attribute)
    return _tell(rng, entity, attribute)


def _assemble(rng: random.Random, main: Entity, parts: list[tuple[Part, int]]) -> tuple[list[str], list[int]]:
    """Put the parts into random order and write them; no sentence appears twice."""
    rng.shuffle(parts)
    voice = Voice(rng, main)
    sentences: list[str] = []
    for part, _ in parts:
        text = part(voice)
        while text in sentences:
            text = part(voice)
        sentences.append(text)
    return sentences, [label for _, label in parts]


def answers(rng: random.Random, world: World, entity: Entity) -> dict[str, Any]:
    """A passage that may or may not answer a narrow query; what does not answer it comes close in some way."""
    count = length(rng)
    attributes = list(entity.kind.attributes.values())
    asked = rng.choice(attributes)
    others = [a for a in attributes if a is not asked]
    rng.shuffle(others)
    found = 0 if rng.random() < 0.5 else rng.choices((1, 2), (75, 25))[0]
    parts: list[tuple[Part, int]] = [(_tell(rng, entity, asked, said=PLAIN, precise=True), 1)] if found == 1 else []
    if found == 2:
        parts = [(_tell(rng, entity, asked, precise=True, said=said), 1) for said in (True, False)]

    first = neighbour(rng, world, entity)
    second = neighbour(rng, world, entity, (first,))
    traps: list[Part] = []
    if rng.random() < 0.28:
        traps.append(_tell(rng, first, asked, said=PLAIN))
    if rng.random() < 0.1:
        traps.append(_tell(rng, second, asked, said=PLAIN))
    if rng.random() < 0.22:
        traps.append(_remark(rng, entity, asked.echo))
    if asked.never and rng.random() < 0.1:
        traps.append(_deny(rng, world, entity, asked))
    rng.shuffle(traps)
    while len(parts) + len(traps) < count:
        draw, attribute = rng.random(), others.pop()
        if draw < 0.62:
            traps.append(_tell(rng, entity, attribute, said=PLAIN))
        elif draw < 0.75:
            traps.append(_tell(rng, first, attribute, said=PLAIN))
        elif draw < 0.9:
            traps.append(_remark(rng, entity, attribute.echo))
        else:
            traps.append(_state(rng, world, entity, attribute, 1.0))
    parts += [(trap, 0) for trap in traps[: count - found]]
    sentences, labels = _assemble(rng, entity, parts)
    query = ask(entity, rng.choice(asked.ask))
    return {"query": query, "context": [], "sentences": sentences, "sentence_labels": labels}


def relevance(rng: random.Random, world: World, entity: Entity) -> dict[str, Any]:
    """A response of which a share keeps to the theme of the query; every sentence is true."""
    theme = rng.choice(list(entity.kind.themes))
    inside = [a for a in entity.kind.attributes.values() if a.theme == theme]
    outside = [a for a in entity.kind.attributes.values() if a.theme != theme]
    rng.shuffle(inside)
    rng.shuffle(outside)
    other = neighbour(rng, world, entity)
    known = [*inside[:3], *outside[:3]]
    rng.shuffle(known)
    documents = [document(rng, entity, known), document(rng, other, [*inside[1:2], *outside[2:4]])]
    rng.shuffle(documents)

    count = length(rng)
    relevant = min(round(count * rng.choice((0.1, 0.3, 0.5, 0.5, 0.7, 0.9))), len(inside) + 1)
    parts: list[tuple[Part, int]] = []
    for i in range(relevant):
        attribute = inside[i % len(inside)]
        parts.append((_state(rng, world, entity, attribute, 0.1), 1))
    rest = list(outside)
    while len(parts) < count:
        draw, attribute = rng.random(), rest.pop()
        if draw < 0.65:
            parts.append((_state(rng, world, entity, attribute, 0.1), 0))
        elif draw < 0.82:
            parts.append((_tell(rng, other, rng.choice(inside)), 0))
        elif draw < 0.9:
            parts.append((_tell(rng, other, attribute), 0))
        else:
            parts.append((_remark(rng, entity, entity.kind.fillers), 0))
    sentences, labels = _assemble(rng, entity, parts)
    return {
        "query": ask(entity, rng.choice(entity.kind.themes[theme])),
        "context": documents,
        "sentences": sentences,
        "sentence_labels": labels,
    }
