"""Composes the factuality set: responses whose sentences are borne out by their context, or are not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from documents import ask, document, length, neighbour
from phrasing import Voice, finish, other_value, word_value
from world import Attribute, Entity, Relation, Value, World

ABOUT = (
    "What can you tell me about {o}?",
    "Give a short account of {o}.",
    "What is known about {o}?",
    "Please summarise the main facts about {o}.",
    "Who or what is {o}?",
    "Write a few sentences on {o}.",
)
_JOINERS = (", and ", "; ", ", while ")


@dataclass
class Claims:
    """Writes true and false sentences about one entity against a context that states some of its facts."""

    rng: random.Random
    world: World
    entity: Entity
    stated: list[Attribute]
    """Attributes of the entity that the context states."""
    other: Entity
    others: list[Attribute]
    """Attributes of the other entity that the context states."""
    unsaid: list[Attribute]
    """Attributes of the entity that it does not state."""
    spare: list[Attribute]
    """Stated attributes that no sentence has as its topic; each is used up once."""

    def write(self, voice: Voice, attribute: Attribute, right: bool) -> str:
        """Return one sentence on an attribute, right or wrong."""
        makers: list[tuple[float, Callable[[Voice, Attribute, bool], str | None]]] = [
            (0.06, self._negated),
            (0.06, self._compared),
            (0.1, self._joined),
            (0.0 if right else 0.45, self._unsaid),
        ]
        draw = self.rng.random()
        for share, maker in makers:
            if draw < share:
                return maker(voice, attribute, right) or self._plain(voice, attribute, right)
            draw -= share
        return self._plain(voice, attribute, right)

    def relate(self, voice: Voice, relation: Relation, right: bool) -> str:
        """State the gap between two years of the entity."""
        gap = int(self.entity.values[relation.later]) - int(self.entity.values[relation.earlier])
        if not right:
            gap = max(2, gap + self.rng.choice((-1, 1)) * self.rng.randint(5, 25))
        return voice.sentence(self.entity, self.rng.choice(relation.told), {"n": str(gap)})

    def _value(self, attribute: Attribute, right: bool) -> Value:
        value = self.entity.values[attribute.name]
        if right:
            return value
        near = [self.other.values[attribute.name]] if attribute in self.others else []
        if attribute.type != "choice":
            like = [a for a in self.stated if (a.type, a.unit) == (attribute.type, attribute.unit)]
            near += [self.entity.values[a.name] for a in like]
        return other_value(self.rng, self.world, attribute, value, near)

    def _clause(self, attribute: Attribute, right: bool) -> tuple[str, dict[str, str]]:
        """Choose a template and fill its value."""
        template = self.rng.choice(attribute.said if self.rng.random() < 0.35 else attribute.told)
        measured = attribute.type in ("year", "number") and template in attribute.told
        if not right and measured and self.rng.random() < 0.15:
            return template, word_value(self.rng, attribute, self.entity.values[attribute.name], "wrong side")
        if template in attribute.said:
            return template, word_value(self.rng, attribute, self._value(attribute, right), "said")
        # A bound or rounding of a wrong number could be true by accident, so a wrong one is given exactly.
        form = "told" if right else "exact"
        return template, word_value(self.rng, attribute, self._value(attribute, right), form)

    def _plain(self, voice: Voice, attribute: Attribute, right: bool) -> str:
        template, slots = self._clause(attribute, right)
        return voice.sentence(self.entity, template, slots)

    def _joined(self, voice: Voice, attribute: Attribute, right: bool) -> str | None:
        if not self.spare:
            return None
        parts = [(attribute, right), (self.spare.pop(), True)]
        self.rng.shuffle(parts)
        clauses = [voice.clause(self.entity, *self._clause(a, r)) for a, r in parts]
        return finish(self.rng.choice(_JOINERS).join(clauses))

    def _negated(self, voice: Voice, attribute: Attribute, right: bool) -> str | None:
        """Deny a value: right if it is another's, wrong if it is the entity's own."""
        if not attribute.never:
            return None
        slots = word_value(self.rng, attribute, self._value(attribute, not right), "exact")
        return voice.sentence(self.entity, self.rng.choice(attribute.never), {"w": slots["v"]})

    def _compared(self, voice: Voice, attribute: Attribute, right: bool) -> str | None:
        mine, theirs = self.entity.values[attribute.name], self.other.values[attribute.name]
        if not attribute.more or attribute not in self.others or mine == theirs:
            return None
        word = attribute.more if (int(mine) > int(theirs)) == right else attribute.less
        return voice.sentence(self.entity, "{e} is {more} than {x}", {"more": word, "x": self.other.name})

    def _unsaid(self, voice: Voice, attribute: Attribute, right: bool) -> str | None:
        """Say something plausible of which the context does not speak."""
        if not self.unsaid:
            return None
        chosen = self.unsaid.pop()
        if self.rng.random() < 0.5:
            return voice.sentence(self.entity, self.rng.choice(chosen.echo))
        slots = word_value(self.rng, chosen, self.entity.values[chosen.name], "told")
        return voice.sentence(self.entity, self.rng.choice(chosen.told), slots)


def factuality(rng: random.Random, world: World, entity: Entity) -> dict[str, Any]:
    """A response to a broad query, with none, one or several sentences that the context does not bear out."""
    count = length(rng)
    attributes = list(entity.kind.attributes.values())
    rng.shuffle(attributes)
    known = max(count, rng.randint(6, 8))
    stated, unsaid = attributes[:known], attributes[known:]
    other = neighbour(rng, world, entity)
    shared = rng.sample(stated, min(len(stated), rng.randint(3, 4)))
    documents = [document(rng, entity, stated[: len(stated) // 2]), document(rng, entity, stated[len(stated) // 2 :])]
    documents.append(document(rng, other, shared))
    rng.shuffle(documents)

    wrong = 0 if rng.random() < 0.45 else rng.choices((1, 2, 3), (45, 33, 22))[0]
    labels = [0] * wrong + [1] * (count - wrong)
    rng.shuffle(labels)
    topics = rng.sample(stated, count)
    spare = [a for a in stated if a not in topics]
    claims, voice = Claims(rng, world, entity, stated, other, shared, unsaid, spare), Voice(rng, entity)
    relations = [r for r in entity.kind.relations if {r.earlier, r.later} <= {a.name for a in stated}]
    sentences = []
    for topic, label in zip(topics, labels, strict=True):
        if relations and rng.random() < 0.12:
            sentences.append(claims.relate(voice, relations.pop(), bool(label)))
        else:
            sentences.append(claims.write(voice, topic, bool(label)))
    return {
        "query": ask(entity, rng.choice(ABOUT)),
        "context": documents,
        "sentences": sentences,
        "sentence_labels": labels,
    }
