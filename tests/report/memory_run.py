"""A run whose tables are in memory: what a report reads of a run, without a store and without computing anything."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from fractal_core.store.runs import RunRecord, StageRecord
from fractal_core.tables import TABLES

CONFIG = {"aggregation": "min", "input": {"path": "/somewhere/else/answers.jsonl", "label_kind": "auto", "grades": 2}}
PRIORS = ("document_similarity", "query_similarity", "context_evidence")


class MemoryRun:
    """Stands for `fractal_core.results.Results`."""

    def __init__(self, tables, files, record):
        self.tables, self.files, self.record = tables, files, record

    def rows(self, name):
        """Return the rows of a table."""
        return self.tables[name].num_rows if name in self.tables else 0

    def table(self, name, columns):
        """Return columns of a table."""
        return self.tables[name].select(list(columns))

    def batches(self, name, columns, rows):
        """Yield columns of a table, two rows at a time at most, so that what spans batches is tested."""
        yield from self.table(name, columns).to_batches(max_chunksize=min(rows, 2))

    def file(self, stage, name):
        """Return the path of a file."""
        return self.files[stage, name]


def response(name, sentences, label=None, **columns):
    """Return a response for `memory_run`.

    Args:
        name: its id.
        sentences: of each its text and score, then pseudo-label, gold label and posterior if they matter.
        label: of the response.
        columns: other columns of table responses; `gap` is the text before every sentence.
    """
    return {"response_id": name, "sentences": sentences, "label": label, **columns}


def memory_run(folder, responses, *, kind="auto", aggregation="min", grades=2, history=(), **extra):
    """Return a run of responses.

    Args:
        folder: where its files can be.
        responses: as `response` makes them.
        kind: label_kind of the configuration.
        aggregation: of the configuration.
        grades: likewise.
        history: rows (head, epoch, penalty, held-out loss).
        extra: rows of the tables contributions, metrics, reliability and rejects, and `stages` of the record.
    """
    rows = {"responses": [], "sentences": [], "pseudolabels": [], "priors": []}
    for line, each in enumerate(responses, 1):
        _add(rows, each, line)
    tables = {name: _table(name, found) for name, found in rows.items()}
    tables |= {
        name: _table(name, extra.get(name, [])) for name in ("contributions", "metrics", "reliability", "rejects")
    }
    names = ("head", "epoch", "penalty", "held_out_loss")
    types = (pa.string(), pa.int32(), pa.float64(), pa.float64())
    columns = {name: pa.array([row[at] for row in history], types[at]) for at, name in enumerate(names)}
    pq.write_table(pa.table(columns), folder / "history.parquet")
    given = {**CONFIG["input"], "label_kind": kind, "grades": grades}
    record = RunRecord(
        "20260102T030405.678-abcd", "completed", "/somewhere/answers.toml",
        {**CONFIG, "aggregation": aggregation, "input": given},
        started="2026-01-02T03:04:05.678+00:00", ended="2026-01-02T03:04:25.678+00:00",
        stages=tuple(extra.get("stages", (stage("read"), stage("train")))),
    )  # fmt: skip
    return MemoryRun(tables, {("train", "history.parquet"): folder / "history.parquet"}, record)


def stage(name, **columns):
    """Return the record of a stage."""
    record = StageRecord(name, "f" * 64, False, "not computed before", 1.25, 0, {"responses": 3}, [], 3)
    return replace(record, **columns)


def _add(rows, each, line):
    each = dict(each)
    gap = each.pop("gap", " ")
    text, place = "", 0
    for index, (words, score, *rest) in enumerate(each.pop("sentences")):
        pseudolabel, gold, posterior = (*rest, *(None, None, None)[len(rest) :])
        text += gap if text or gap != " " else ""
        place = len(text)
        text += words
        key = {"response_id": each["response_id"], "sentence_index": index}
        rows["sentences"].append({**key, "start": place, "end": len(text), "text": words, "gold": gold})
        said = {"score": score, "posterior": score if posterior is None else posterior, "spread": 0.0, "round": 0}
        said["pseudolabel"] = round(score) if pseudolabel is None else pseudolabel
        rows["pseudolabels"].append({**key, **said, "agrees": None})
        rows["priors"].append({**key, **dict.fromkeys(PRIORS, 0.5), "neighbour_ids": [], "neighbour_similarities": []})
    defaults = {"split": "train", "group": each["response_id"], "source": "answers.jsonl", "line": line}
    rows["responses"].append({**defaults, "response": text, **each})


def _table(name, rows):
    return pa.Table.from_pylist(rows, schema=TABLES[name].schema)
