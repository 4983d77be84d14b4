"""The sample data: what data/README.md promises of it, and that it cannot be solved by a shortcut."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from small_data import read_jsonl

from fractal_core.config import RunConfig

DATA = Path(__file__).resolve().parents[2] / "data"
SETS = ("factuality", "answers", "relevance")
COLUMNS = {"id", "query", "context", "response", "sentence_labels", "response_label", "split", "group"}
STOP = {
    "the",
    "a",
    "an",
    "of",
    "in",
    "on",
    "at",
    "to",
    "for",
    "from",
    "by",
    "with",
    "and",
    "or",
    "is",
    "was",
    "are",
    "were",
    "be",
    "it",
    "its",
    "he",
    "she",
    "him",
    "her",
    "his",
    "that",
    "this",
    "as",
    "not",
    "has",
    "have",
    "had",
    "who",
    "what",
    "which",
    "when",
    "where",
    "how",
    "did",
    "does",
    "do",
    "no",
    "there",
    "than",
    "into",
    "one",
}

Row = dict[str, Any]


@cache
def rows(name: str) -> list[Row]:
    """Read one set."""
    return read_jsonl(DATA / f"{name}.jsonl")


def sentences(row: Row) -> list[str]:
    """Return the sentences of a row, however it gives them."""
    return row.get("sentences") or [row["response"][start:end] for start, end in row["spans"]]


def words(text: str) -> set[str]:
    """Return the lower-case words and numbers of a text."""
    return {w.lower() for w in re.findall(r"[A-Za-z0-9]+(?:[.,][0-9]+)*", text)}


def auc(score: ArrayLike, gold: ArrayLike) -> float:
    """Return the area under the ROC curve, ties counted half."""
    s, y = np.asarray(score, dtype=np.float64), np.asarray(gold) == 1
    return float((np.sign(s[y][:, None] - s[~y][None, :]).mean() + 1) / 2)


def gold(name: str) -> list[int]:
    """Return the labels of all sentences of a set, in order."""
    return [label for row in rows(name) for label in row["sentence_labels"]]


def test_auc_is_right() -> None:
    """The figure the tests below rest on, on cases counted by hand, with ties."""
    assert auc([1, 2, 2, 3], [0, 1, 0, 0]) == pytest.approx(0.5)
    assert auc([1, 2, 2, 3], [0, 1, 0, 1]) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("name", SETS)
def test_regenerates_byte_for_byte(name: str, generated: Path) -> None:
    """The generator writes exactly the files that are in the repository."""
    assert (generated / f"{name}.jsonl").read_bytes() == (DATA / f"{name}.jsonl").read_bytes()


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with freshly generated sets, made under another hash seed than usual."""
    folder = tmp_path_factory.mktemp("sample")
    command = [sys.executable, "-B", str(DATA / "generate.py"), str(folder)]
    subprocess.run(command, check=True, env={"PYTHONHASHSEED": "7"})
    return folder


def test_is_small_and_large_enough() -> None:
    """Over 400 responses in each set, and everything in data/ under 2 MB."""
    assert all(len(rows(name)) >= 420 for name in SETS)
    files = [f for f in DATA.rglob("*") if f.is_file() and "__pycache__" not in f.parts and ".fractal" not in f.parts]
    assert sum(f.stat().st_size for f in files) < 2_000_000


@pytest.mark.parametrize("name", SETS)
def test_rows_have_the_documented_form(name: str) -> None:
    """Columns, types, unique ids, three to eight different sentences, each at its offsets."""
    assert len({row["id"] for row in rows(name)}) == len(rows(name))
    for row in rows(name):
        assert set(row) - {"sentences", "spans"} == COLUMNS
        assert ("sentences" in row) != ("spans" in row)
        assert isinstance(row["context"], list)
        parts = sentences(row)
        assert 3 <= len(parts) <= 8
        assert len(parts) == len(set(parts)) == len(row["sentence_labels"])
        assert row["response"] == " ".join(parts)
        assert all(re.fullmatch(r"[A-Z0-9].*[a-z0-9]\.", part) for part in parts)
        assert not set("{}_") & set(row["response"] + row["query"] + " ".join(row["context"]))
        assert set(row["sentence_labels"]) <= {0, 1}


@pytest.mark.parametrize(("name", "aggregate"), [("factuality", min), ("answers", max), ("relevance", np.mean)])
def test_label_is_the_aggregate_of_gold(name: str, aggregate: Any) -> None:
    """MIN, MAX and AVG of the gold labels."""
    assert all(row["response_label"] == pytest.approx(aggregate(row["sentence_labels"])) for row in rows(name))


@pytest.mark.parametrize("name", SETS)
def test_labels_are_balanced(name: str) -> None:
    """Neither label is rare among the responses, and sentences are as often positive as the README says."""
    labels = np.array([row["response_label"] for row in rows(name)])
    assert 0.4 <= labels.mean() <= 0.6
    low, high = {"factuality": (0.75, 0.85), "answers": (0.1, 0.2), "relevance": (0.4, 0.6)}[name]
    assert low <= np.mean(gold(name)) <= high
    if name == "relevance":
        assert len(np.unique(labels.round(6))) >= 10


def test_splits_are_disjoint_by_group_across_all_sets() -> None:
    """An entity is in one split, the same in every set; 70 / 10 / 20 per cent within a few points."""
    split_of: dict[str, str] = {}
    for name in SETS:
        for row in rows(name):
            assert split_of.setdefault(row["group"], row["split"]) == row["split"]
        share = Counter(row["split"] for row in rows(name))
        for split, expected in (("train", 0.7), ("dev", 0.1), ("test", 0.2)):
            assert share[split] / len(rows(name)) == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("name", SETS)
def test_word_cover_helps_but_does_not_solve(name: str) -> None:
    """Share of a sentence's content words that context or query contain: above chance, below .85."""
    cover = []
    for row in rows(name):
        known = words(" ".join([row["query"], *row["context"]]))
        for sentence in sentences(row):
            content = words(sentence) - STOP
            cover.append(len(content & known) / max(1, len(content)))
    assert 0.58 < auc(cover, gold(name)) < 0.85


@pytest.mark.parametrize("name", SETS)
def test_no_single_word_position_or_length_gives_it_away(name: str) -> None:
    """None of them alone separates the sentences better than .65, in either direction."""
    texts = [sentence for row in rows(name) for sentence in sentences(row)]
    labels = gold(name)
    bags = [words(text) for text in texts]
    counts = Counter(word for bag in bags for word in bag)
    shallow = {f"word {w}": [w in bag for bag in bags] for w, count in counts.items() if count >= 15}
    shallow["characters"] = [len(text) for text in texts]
    shallow["words"] = [len(text.split()) for text in texts]
    shallow["position"] = [i for row in rows(name) for i in range(len(row["sentence_labels"]))]
    shallow["first"] = [i == 0 for i in shallow["position"]]
    shallow["from the end"] = [i for row in rows(name) for i in reversed(range(len(row["sentence_labels"])))]
    shallow["last"] = [i == 0 for i in shallow["from the end"]]
    found = {key: auc(np.asarray(value, dtype=np.float32), labels) for key, value in shallow.items()}
    assert {key: value for key, value in found.items() if abs(value - 0.5) > 0.15} == {}


@pytest.mark.parametrize("name", ["factuality", "answers"])
def test_length_of_response_does_not_give_its_label_away(name: str) -> None:
    """Responses of both labels are equally long."""
    lengths = [len(row["sentence_labels"]) for row in rows(name)]
    assert abs(auc(lengths, [row["response_label"] for row in rows(name)]) - 0.5) < 0.1


@pytest.mark.parametrize(("name", "aggregation"), [("factuality", "min"), ("answers", "max"), ("relevance", "avg")])
def test_configurations_are_valid(name: str, aggregation: str) -> None:
    """Each configuration is accepted and names the set beside it."""
    config = RunConfig.model_validate(tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8")))
    assert config.aggregation == aggregation
    assert config.input.path == f"{name}.jsonl"


def test_readme_states_the_numbers() -> None:
    """The README's table has the true number of responses and sentences of every set, and says it is synthetic."""
    text = (DATA / "README.md").read_text(encoding="utf-8")
    assert "synthetic" in text
    for name in SETS:
        assert f"| {name} | " in text
        line = next(x for x in text.splitlines() if x.startswith(f"| {name} | "))
        assert f"| {len(rows(name))} | {len(gold(name)):,} | {np.mean(gold(name)):.2f} |" in line
