"""What the three sets share: how long a response is, how a question is put, and the documents of a context."""

from __future__ import annotations

import random

from phrasing import Voice, word_value
from world import Attribute, Entity, World


def length(rng: random.Random) -> int:
    """Draw the number of sentences of a response, 3 to 8, before anything is known about its label."""
    return rng.choice((3, 4, 4, 5, 5, 5, 6, 6, 7, 8))


def ask(entity: Entity, template: str) -> str:
    """Fill a question with the entity's full name."""
    return template.replace("{o}", entity.name)


def say(voice: Voice, entity: Entity, attribute: Attribute) -> str:
    """State a fact as documents do."""
    slots = word_value(voice.rng, attribute, entity.values[attribute.name], "said")
    return voice.sentence(entity, voice.rng.choice(attribute.said), slots, prefix=False)


def document(rng: random.Random, entity: Entity, attributes: list[Attribute]) -> str:
    """Write a document on one entity."""
    voice = Voice(rng, entity)
    return " ".join(say(voice, entity, a) for a in attributes)


def neighbour(rng: random.Random, world: World, entity: Entity, besides: tuple[Entity, ...] = ()) -> Entity:
    """Draw another entity of the same kind and split: the others of a context or passage never cross splits."""
    pool = [e for e in world.entities[entity.kind.name] if e.split == entity.split]
    return rng.choice([e for e in pool if e is not entity and e not in besides])
