"""The listed responses as compact JSON: a column a list, sentences one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fractal_core.evaluation.columns import floats
from fractal_core.report.reasons import Reasons, read_reasons
from fractal_core.report.texts import Texts, read_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from fractal_core.report.choosing import Choice
    from fractal_core.report.gaps import Gaps
    from fractal_core.report.groups import Group
    from fractal_core.report.numbers import Numbers
    from fractal_core.results import Results

PRIORS = (
    "context_evidence", "query_evidence", "document_similarity", "query_similarity", "response_correlation",
    "column_prior", "sql_prior",
)  # fmt: skip
_BASIC = 0xFFFF


def listing(
    results: Results, numbers: Numbers, gaps: Gaps, groups: Sequence[Group], choice: Choice
) -> tuple[dict[str, Any], Texts]:
    """Return what a page needs to list the chosen responses, fit for JSON, and their queries and documents.

    Numbers have four significant digits. Lengths are in UTF-16 code units, as JavaScript counts them.
    """
    chosen = np.zeros(choice.total, dtype=np.bool_)
    chosen[choice.rows] = True
    columns, texts = read_texts(results, chosen)
    rows = np.flatnonzero(chosen[numbers.response])
    rows = rows[np.argsort(numbers.response[rows], kind="stable")]
    size = np.bincount(numbers.response[rows], minlength=choice.total)[choice.rows]
    first = np.full(choice.total, -1, dtype=np.int64)
    first[choice.rows] = np.cumsum(size) - size
    splits = numbers.splits()
    group = np.argmax([group.responses for group in groups], axis=0)[choice.rows] if groups else np.zeros(0, int)
    sources = {name: number for number, name in enumerate(dict.fromkeys(columns["source"]))}
    paired = numbers.scale.kind == "preference"
    page = {
        "scale": {
            "low": numbers.scale.low,
            "high": numbers.scale.high,
            "responseApart": numbers.scale.response_apart,
            "sentenceApart": numbers.scale.sentence_apart,
        },
        "splits": splits,
        "groups": [group.title for group in groups],
        "sources": list(sources),
        "texts": texts.all,
        "responses": {
            **{name: columns[name] for name in ("id", "text", "query", "documents", "line")},
            "pair": columns["pair"] if paired else [],
            "label": _short(columns["label"]),
            "source": [sources[name] for name in columns["source"]],
            "split": [splits.index(name) for name in numbers.split[choice.rows].tolist()],
            "group": group.tolist(),
            "sentences": size.tolist(),
            "score": _short(numbers.aggregated[choice.rows]),
            "labelGap": _short(gaps.label[choice.rows]),
            "pseudolabelGap": _short(gaps.pseudolabel[choice.rows]),
            "goldGap": _short(gaps.gold[choice.rows]),
        },
        "sentences": {
            **_lengths(results, rows, columns["text"], size),
            **{name: _short(getattr(numbers, name)[rows]) for name in ("score", "posterior", "pseudolabel", "gold")},
        },
        "priors": _priors(results, rows),
        "reasons": _reasons(read_reasons(results, numbers, first, len(rows))),
    }
    return page, texts


def _lengths(
    results: Results, rows: NDArray[np.int64], texts: Sequence[str], size: NDArray[np.int64]
) -> dict[str, list[int]]:
    """Return how much text lies before each sentence (after the one before it), and its own length."""
    table = results.table("sentences", ("start", "end")).take(rows)
    start, end = (table.column(name).to_numpy().astype(np.int64) for name in ("start", "end"))
    at = 0
    for text, count in zip(texts, size.tolist(), strict=True):
        if text and ord(max(text)) > _BASIC:
            units = np.array([1 + (ord(character) > _BASIC) for character in text])
            offset = np.concatenate(([0], np.cumsum(units)))
            start[at : at + count], end[at : at + count] = offset[start[at : at + count]], offset[end[at : at + count]]
        at += count
    before = start.copy()
    before[1:] -= end[:-1]
    firsts = (np.cumsum(size) - size)[size > 0]
    before[firsts] = start[firsts]
    return {"before": before.tolist(), "length": (end - start).tolist()}


def _priors(results: Results, rows: NDArray[np.int64]) -> dict[str, list[float | None]]:
    """Return the priors that any of the sentences has."""
    table = results.table("priors", PRIORS)
    found = {name: floats(table, name)[rows] for name in PRIORS}
    return {name: _short(values) for name, values in found.items() if not np.isnan(values).all()}


def _reasons(reasons: Reasons | None) -> dict[str, Any] | None:
    if reasons is None:
        return None
    return {
        "names": reasons.names,
        "feature": reasons.feature.ravel().tolist(),
        "contribution": _short(reasons.contribution.ravel()),
    }


def _short(values: Iterable[float | None]) -> list[float | None]:
    """Round to four significant digits; whole numbers become integers, null and NaN None."""
    return [None if value is None or value != value else _digits(value) for value in values]


def _digits(value: float) -> float:
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
