"""Sentence labels as stage `export` made them, a file a split: for readers of Parquet, or as a data set of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fractal_core.publish.contents import Contents, Options, Part
from fractal_core.publish.split_files import GROUP_ROWS, SplitFiles
from fractal_core.tables import TABLES

if TYPE_CHECKING:
    from fractal_core.results import Results

_RESPONSES = 1_024
_RESPONSE_COLUMNS = ("response_id", "query", "context", "response", "label", "group", "pair", "preferred")
_OF_RESPONSES = {"query": "query", "response_label": "label"}


def write_parquet(results: Results, folder: Path, options: Options) -> Contents:
    """Write the labels as `split=SPLIT/labels.parquet`, where readers of partitioned data sets find the split."""
    del options
    return Contents((_labels(results, lambda split: folder / f"split={split}" / "labels.parquet"),))


def write_data_set(results: Results, folder: Path, options: Options) -> Contents:
    """Write the labels to `sentences/`, and the responses with their documents to `responses/`."""
    del options
    labels = _labels(results, partial(_file, folder, "sentences"))
    with SplitFiles(partial(_file, folder, "responses")) as files:
        for batch in results.batches("responses", (*_RESPONSE_COLUMNS, "split"), _RESPONSES):
            files.write(pa.Table.from_batches([batch]))
    docs = {column.name: column.doc for column in TABLES["responses"].columns}
    columns = {name: docs[name] for name in _RESPONSE_COLUMNS}
    return Contents((labels, Part("responses", "a response", files.rows, columns)))


def _file(folder: Path, part: str, split: str) -> Path:
    return folder / part / f"{split}.parquet"


def _labels(results: Results, path_of: Callable[[str], Path]) -> Part:
    names: list[str] = []
    with SplitFiles(path_of) as files:
        for batch in results.labels(GROUP_ROWS):
            names = [name for name in batch.schema.names if name != "split"]
            files.write(pa.Table.from_batches([batch]))
    return Part("sentences", "a sentence", files.rows, {name: _doc(name) for name in names})


def _doc(name: str) -> str:
    """Return the meaning of a column of labels.parquet."""
    if name in _OF_RESPONSES:
        docs = {column.name: column.doc for column in TABLES["responses"].columns}
        return docs[_OF_RESPONSES[name]]
    tables = (TABLES[table] for table in ("sentences", "pseudolabels", "priors"))
    return next(column.doc for table in tables for column in table.columns if column.name == name)
