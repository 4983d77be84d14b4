"""Results made by hand: the tables that exporters read, without a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa

from fractal_core.config import RunConfig
from fractal_core.label_kinds import settled_kind
from fractal_core.tables import TABLES


class MadeResults:
    """Stands for `fractal_core.results.Results`, over tables in memory."""

    def __init__(self, responses, *, sizes=(16_384, 16_384), **config):
        """Take responses as dictionaries: columns of table responses, and `sentences` as (text, score, posterior)."""
        self.config = RunConfig.model_validate({"input": {"path": "x.jsonl"}, **config})
        self.config_path = Path("made.toml")
        self.record = SimpleNamespace(run_id="made")
        self.kind = settled_kind(self.config.input.label_kind, self.config.aggregation)
        self._sizes = dict(zip(("responses", "sentences"), sizes, strict=True))
        defaults = {"split": "train", "response": "text", "group": "g", "source": "x", "line": 1}
        rows = [{**defaults, "response_id": f"r{n:02d}", **given} for n, given in enumerate(responses)]
        sentences = [
            {
                "response_id": row["response_id"], "sentence_index": n, "start": 0, "end": 1, "text": text,
                "gold": None, "score": score, "posterior": posterior, "pseudolabel": float(posterior >= 0.5),
                "spread": 0.0, "round": 0, "confidence": 0.5, "agrees": None, "grade_posteriors": None,
            }
            for row in rows
            for n, (text, score, posterior) in enumerate(row["sentences"])
        ]  # fmt: skip
        self._tables = {
            "responses": pa.Table.from_pylist(rows, schema=TABLES["responses"].schema),
            "sentences": pa.Table.from_pylist(sentences, schema=TABLES["sentences"].schema),
            "pseudolabels": pa.Table.from_pylist(sentences, schema=TABLES["pseudolabels"].schema),
            "embeddings": pa.table({"encoder": ["made"]}),
            "metrics": TABLES["metrics"].schema.empty_table(),
        }

    def table(self, name, columns):
        """Return columns of a table."""
        return self._tables[name].select(list(columns))

    def batches(self, name, columns, rows):
        """Return columns of a table in batches of the size that the test asked for."""
        size = min(rows, self._sizes["responses" if name == "responses" else "sentences"])
        return iter(self._tables[name].select(list(columns)).combine_chunks().to_batches(max_chunksize=size))


def one(posterior, score=0.5, text="A sentence."):
    """Return sentences of a response: one of that posterior."""
    return [(text, score, posterior)]
