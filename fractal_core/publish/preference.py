"""Preferences: of two responses to one query the better and the worse, with the sentences that decide it.

The columns prompt, chosen and rejected are those of trl's preference format (DPO, reward models). Texts are written to
a scratch file and joined from there, so that memory holds a few numbers a response, however long the texts are.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fractal_core.errors import StoreError, UsageError
from fractal_core.publish.by_response import by_response
from fractal_core.publish.contents import Contents, Options, Part
from fractal_core.publish.evidence import RULES, Rule, extremes
from fractal_core.publish.pairing import Pairs, pair_up
from fractal_core.publish.prompts import prompt_words, prompts
from fractal_core.publish.split_files import SplitFiles

if TYPE_CHECKING:
    from fractal_core.results import Results

_ROWS = 1_024
_SENTENCE = "sentence_index, text, score before any label was looked at, and posterior given the label"
_COLUMNS = {
    "prompt": "The query, or the documents and the query.",
    "chosen": "The response with the higher label, or the preferred one.",
    "rejected": "The other response.",
    "chosen_id": "Id of the chosen response.",
    "rejected_id": "Id of the rejected response.",
    "chosen_label": "Label of the chosen response; null if the input was pairs.",
    "rejected_label": "Label of the rejected response; null if the input was pairs.",
    "chosen_evidence": f"Sentences of the chosen response that decide: {_SENTENCE}.",
    "rejected_evidence": f"Sentences of the rejected response that decide: {_SENTENCE}.",
    "context": "Documents the chosen response is judged against.",
}


def write_preferences(results: Results, folder: Path, options: Options) -> Contents:
    """Write a row a pair of responses of one split.

    Where the input was pairs, these are the pairs. Otherwise responses with the same prompt are paired if their labels
    differ; a count is compared as a share of the sentences.

    Raises:
        UsageError: if there is no pair.
        StoreError: if the texts cannot be joined, for want of memory or disk.
    """
    rule = RULES[results.config.aggregation]
    with TemporaryDirectory(dir=folder) as scratch, duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = {_literal(scratch)}")
        texts = Path(scratch) / "texts.parquet"
        _write_texts(results, texts, options)
        source = f"read_parquet({_literal(str(texts))}, file_row_number = true)"
        connection.execute(f"CREATE VIEW texts AS SELECT * FROM {source}")
        given = results.kind == "preference"
        try:
            pairs, left_out = _given(connection) if given else _made(connection, options)
            written = _write(connection, pairs, rule, folder / "data")
        except duckdb.Error as error:
            raise StoreError(f"The texts of pairs cannot be joined ({' '.join(str(error).split())}).") from error
    left_out["both responses have one text"] = len(pairs.better) - sum(written.values())
    left_out = {why: count for why, count in left_out.items() if count}
    if not written:
        why = (
            "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
            or "no two of one split have the same prompt"
        )
        raise UsageError(f"No two responses can be compared ({why}), so there are no preferences to export.")
    rules = [prompt_words(with_context=options.with_context), rule.words]
    if not given:
        rules.append(
            f"Responses of one split with the same prompt are paired if their labels differ, up to "
            f"{options.pairs_per_query} pairs a prompt, those far apart in the order of labels first."
        )
        if results.kind == "count":
            rules.append("Counts are compared as shares of the sentences of their response.")
    return Contents((Part("data", "a pair of responses", written, _COLUMNS),), tuple(rules), left_out)


def _write_texts(results: Results, path: Path, options: Options) -> None:
    """Write a row a response: what a pair takes from it."""
    columns = ("query", "context", "response", "label", "split", "pair", "preferred")
    writer: pq.ParquetWriter | None = None
    try:
        for rows in by_response(results, columns):
            label = rows.column("label")
            rank = pc.divide(label, pc.list_value_length(rows.column("text"))) if results.kind == "count" else label
            block = pa.table(
                {
                    **{name: rows.column(name) for name in ("response_id", "context", "response", "label", "split")},
                    **{name: rows.column(name) for name in ("pair", "preferred")},
                    "prompt": prompts(rows, with_context=options.with_context),
                    "rank": rank,
                    **extremes(rows),
                }
            )
            writer = writer or pq.ParquetWriter(path, block.schema, compression="zstd")
            writer.write_table(block)
    finally:
        if writer is not None:
            writer.close()


def _given(connection: duckdb.DuckDBPyConnection) -> tuple[Pairs, dict[str, int]]:
    """Return the pairs of the input as rows of table texts, and what was left out."""
    found = connection.execute(
        "SELECT b.file_row_number AS better, w.file_row_number AS worse FROM texts b JOIN texts w USING (pair) "
        "WHERE b.preferred = 1 AND w.preferred = 0 ORDER BY least(better, worse)"
    ).fetchnumpy()
    counts = "SELECT count(*) FILTER (preferred = 0.5) // 2, count(*) FILTER (preferred IS NULL) // 2 FROM texts"
    ties, unknown = connection.execute(counts).fetchall()[0]
    return Pairs(found["better"], found["worse"], ties, 0), {"ties": ties, "pairs without a preference": unknown}


def _made(connection: duckdb.DuckDBPyConnection, options: Options) -> tuple[Pairs, dict[str, int]]:
    """Return pairs of responses with one prompt as rows of table texts, and what was left out."""
    found = connection.execute(
        "SELECT file_row_number AS row, rank, dense_rank() OVER (ORDER BY split, prompt) AS place FROM texts "
        "WHERE rank IS NOT NULL AND prompt <> '' ORDER BY place, rank, row"
    ).fetchnumpy()
    pairs = pair_up(found["place"].astype(np.int64), found["rank"], options.pairs_per_query)
    row = found["row"]
    counts = "SELECT count(*) FILTER (rank IS NULL), count(*) FILTER (rank IS NOT NULL AND prompt = '') FROM texts"
    unlabelled, promptless = connection.execute(counts).fetchall()[0]
    return Pairs(row[pairs.better], row[pairs.worse], pairs.ties, pairs.over), {
        "ties": pairs.ties,
        f"pairs over {options.pairs_per_query} of one prompt": pairs.over,
        "responses without a label": unlabelled,
        "labelled responses without a prompt": promptless,
    }


def _write(connection: duckdb.DuckDBPyConnection, pairs: Pairs, rule: Rule, folder: Path) -> dict[str, int]:
    """Write the pairs, in their order, and return how many each split has."""
    numbers = {"number": np.arange(len(pairs.better)), "better": pairs.better, "worse": pairs.worse}
    connection.register("pairs", pa.table(numbers))
    found: Any = connection.sql(
        f"""
        SELECT b.prompt, b.response AS chosen, w.response AS rejected, b.response_id AS chosen_id,
               w.response_id AS rejected_id, b.label AS chosen_label, w.label AS rejected_label,
               b.{rule.chosen} AS chosen_evidence, w.{rule.rejected} AS rejected_evidence, b.context, b.split
        FROM pairs JOIN texts b ON b.file_row_number = better JOIN texts w ON w.file_row_number = worse
        WHERE b.response <> w.response ORDER BY number
        """
    )
    with SplitFiles(lambda split: folder / f"{split}.parquet") as files:
        for batch in found.to_arrow_reader(_ROWS):
            files.write(pa.Table.from_batches([batch]))
    return files.rows


def _literal(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
