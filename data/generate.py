"""Writes the sample data: factuality.jsonl, answers.jsonl and relevance.jsonl, the same bytes every time.

Usage: python data/generate.py [FOLDER], by default the folder of this file.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from claims import factuality
from passages import answers, relevance
from world import SEED, Entity, World, build_world

Composer = Callable[[random.Random, World, Entity], dict[str, Any]]
SETS: dict[str, tuple[Composer, int]] = {
    "factuality": (factuality, 440),
    "answers": (answers, 560),
    "relevance": (relevance, 440),
}
"""Name of a set -> what composes a row, and how many rows."""


def response_label(name: str, labels: list[int]) -> float:
    """Aggregate sentence labels as the configuration of the set does: min, max or share."""
    if name == "relevance":
        return sum(labels) / len(labels)
    return min(labels) if name == "factuality" else max(labels)


def spans(sentences: list[str]) -> list[list[int]]:
    """Return the [start, end) offsets of sentences that are joined by one space."""
    found, start = [], 0
    for sentence in sentences:
        found.append([start, start + len(sentence)])
        start += len(sentence) + 1
    return found


def rows(world: World, name: str) -> list[dict[str, Any]]:
    """Compose all rows of one set: every entity has at least one, in random order."""
    composer, count = SETS[name]
    rng = random.Random(f"{SEED}-{name}")
    entities = [entity for kind in world.entities.values() for entity in kind]
    order: list[Entity] = []
    while len(order) < count:
        rng.shuffle(entities)
        order += entities
    made = []
    for number, entity in enumerate(order[:count]):
        parts = composer(rng, world, entity)
        # Segmentation comes as sentences in one set and as offsets in the others: both are valid input.
        cut = {"sentences": parts["sentences"]} if name == "relevance" else {"spans": spans(parts["sentences"])}
        made.append(
            {
                "id": f"{name}-{number + 1:04d}",
                "query": parts["query"],
                "context": parts["context"],
                "response": " ".join(parts["sentences"]),
                **cut,
                "sentence_labels": parts["sentence_labels"],
                "response_label": response_label(name, parts["sentence_labels"]),
                "split": entity.split,
                "group": entity.group,
            }
        )
    return made


def main(folder: Path) -> None:
    """Write the three sets into `folder`."""
    world = build_world()
    for name in SETS:
        lines = (json.dumps(row, ensure_ascii=False) for row in rows(world, name))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
