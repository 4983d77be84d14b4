"""Small data sets, made on the spot."""

from __future__ import annotations

import json
import random

WORDS = ["river", "stone", "bridge", "mill", "garden", "tower", "market", "harbour", "forest", "castle", "meadow"]
# Of training, where a test is about something else.
LEAST_WORK = 'folds = 2\npooling = "noisy"\n'


def make_rows(count, *, aggregation="min", seed=0):
    """Return responses about numbered facts: a sentence is right iff its number is in the context."""
    chance = random.Random(seed)
    rows = []
    for index in range(count):
        facts = [(chance.choice(WORDS), chance.randrange(100, 999)) for _ in range(5)]
        sentences, gold = [], []
        for word, number in chance.sample(facts, 4):
            right = chance.random() < (0.8 if aggregation == "min" else 0.4)
            said = number if right else number + 1000
            sentences.append(chance.choice([f"The {word} was built in {said}.", f"In {said} they made the {word}."]))
            gold.append(int(right))
        label = {"min": min(gold), "max": max(gold), "avg": sum(gold) / len(gold)}[aggregation]
        rows.append(
            {
                "id": f"r{index:04d}",
                "query": f"What happened at place {index // 2}?",
                "context": [" ".join(f"The {word} dates from {number}." for word, number in facts)],
                "response": " ".join(sentences),
                "sentences": sentences,
                "sentence_labels": gold,
                "response_label": label,
                "split": ("train", "train", "train", "train", "dev", "test")[(index // 2) % 6],
            }
        )
    return rows


def write_project(folder, encoder, rows, epochs, training=LEAST_WORK):
    """Write an input of these rows beside a configuration that reads it with an encoder and trains so many epochs.

    Training is of one pooling in two folds; training="" leaves it as it is by default.
    """
    write_jsonl(folder / "responses.jsonl", rows)
    (folder / "fractal.toml").write_text(
        f'aggregation = "min"\n[input]\npath = "responses.jsonl"\n'
        f"[encoder]\nmodel = {json.dumps(str(encoder))}\n[train]\nepochs = {epochs}\n{training}",
        encoding="utf-8",
    )


def read_jsonl(path):
    """Read rows of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_jsonl(path, rows):
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
