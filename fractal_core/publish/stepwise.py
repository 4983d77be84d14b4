"""Stepwise supervision: a prompt, the sentences of the response as steps, and whether each is right.

This is what `PRMTrainer` of trl reads (columns prompt, completions, labels). It casts labels with int(), so they are
booleans here, and the numbers behind them are in columns of their own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fractal_core.errors import UsageError
from fractal_core.label_kinds import PROBABILITY_KINDS, trained_kind
from fractal_core.publish.by_response import by_response
from fractal_core.publish.contents import Contents, Options, Part
from fractal_core.publish.prompts import prompt_words, prompts
from fractal_core.publish.split_files import SplitFiles

if TYPE_CHECKING:
    from fractal_core.config import RunConfig
    from fractal_core.results import Results

_COLUMNS = {
    "prompt": "The query, or the documents and the query.",
    "completions": "The sentences of the response, in order.",
    "labels": "Whether each sentence is right.",
    "scores": "Score of each sentence before the response's label was looked at.",
    "posteriors": "The same given the response's label.",
    "pseudolabels": "Part of the most likely labelling that agrees with the response's label.",
    "response_id": "The response's own id.",
    "response_label": "The response label; null if it has none, or is one of a pair.",
    "context": "Documents the response is judged against.",
}


class LabelRule(NamedTuple):
    """A sentence is right if its number in `column` is at least `threshold`; `words` says so in a sentence."""

    column: str
    threshold: float
    words: str


def write_stepwise(results: Results, folder: Path, options: Options) -> Contents:
    """Write a row a response.

    Raises:
        UsageError: if the threshold does not fit the labels.
    """
    rule = label_rule(results.config, options.threshold)
    with SplitFiles(lambda split: folder / "data" / f"{split}.parquet") as files:
        for rows in by_response(results, ("query", "context", "label", "split")):
            files.write(
                pa.table(
                    {
                        "prompt": prompts(rows, with_context=options.with_context),
                        "completions": rows.column("text"),
                        "labels": _at_least(rule.threshold, rows.column(rule.column)),
                        "scores": rows.column("score"),
                        "posteriors": rows.column("posterior"),
                        "pseudolabels": rows.column("pseudolabel"),
                        "response_id": rows.column("response_id"),
                        "response_label": rows.column("label"),
                        "context": rows.column("context"),
                        "split": rows.column("split"),
                    }
                )
            )
    rules = (prompt_words(with_context=options.with_context), rule.words)
    return Contents((Part("data", "a response", files.rows, _COLUMNS),), rules)


def label_rule(config: RunConfig, threshold: float | None) -> LabelRule:
    """Return from which number on a sentence is right.

    Without a threshold it is right if its pseudo-label says so: 1, or a grade above 0. Pseudo-labels agree with the
    labels of responses; posteriors, each by itself, need not.

    Raises:
        UsageError: for a threshold that is no probability where scores are, or none where labels are real values.
    """
    kind = trained_kind(config.input.label_kind, config.aggregation)
    if threshold is not None:
        if not math.isfinite(threshold):
            raise UsageError(f"--threshold {threshold:g} is no number to compare with; give a finite one.")
        if kind in PROBABILITY_KINDS and not 0 <= threshold <= 1:
            raise UsageError(
                f"--threshold {threshold:g} is no probability, which posteriors are; give one from 0 to 1."
            )
        return LabelRule("posterior", threshold, f"A label is true if the posterior is at least {threshold:g}.")
    if kind == "real":
        raise UsageError(
            "Sentences have values here, of which none is right or wrong by itself; say with --threshold from which "
            "posterior on one is right."
        )
    if kind == "ordinal":
        return LabelRule("pseudolabel", 1.0, "A label is true if the pseudo-label is a grade above 0.")
    return LabelRule("pseudolabel", 1.0, "A label is true if the pseudo-label is 1.")


def _at_least(threshold: float, lists: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    """Return lists of booleans: which numbers are at least the threshold."""
    numbers: Any = lists.combine_chunks()
    return pa.ListArray.from_arrays(numbers.offsets, pc.greater_equal(numbers.values, pa.scalar(threshold)))
