"""FiRA: passages judged for a query by several people, who marked what is relevant (Hofstaetter et al., CIKM 2020).

Three tables with tabs, known by their columns: judgements (`relevanceLevel`, `relevanceCharacterRanges`, `documentId`,
`queryId`), documents (`doc_id`, `doc_text`) and queries (`query_id`, `query_text`). Levels are 0_NOT_RELEVANT to
3_PERFECT_ANSWER; ranges are FIRST-LAST;FIRST-LAST, both ends inside, in UTF-16 units, as browsers count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from fractal_core.convert.offsets import Span, code_points, sentences, touched
from fractal_core.convert.reading import records
from fractal_core.convert.records import Bad, OnBytes, Record, Row, bad, field
from fractal_core.errors import UsageError
from fractal_core.text.boundaries import sentence_spans
from fractal_core.text.files import source_names
from fractal_core.text.records import Fault, shown
from fractal_core.text.rows import first_columns

GRADES = 3
_ROLES = {
    "judgements": {"relevanceLevel", "relevanceCharacterRanges", "documentId", "queryId"},
    "documents": {"doc_id", "doc_text"},
    "queries": {"query_id", "query_text"},
}
_LEVEL = re.compile(r"(\d+)_[A-Z_]+|(\d+)")
_RANGE = re.compile(r"(\d+)-(\d+)")
_NO_RANGES = "<no ranges selected>"


class _Judgement(NamedTuple):
    """What one person said: a grade, of the marked ranges, or of the whole passage if there are none.

    `ranges` are [start, end) in UTF-16 units.
    """

    record: Record
    grade: int
    ranges: list[Span]


_Judgements = dict[str, dict[str, list[_Judgement]]]


def read_best(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """A passage has the grade of its best sentence, as in the FRACTAL paper (arXiv 2404.04817)."""
    return _read(files, on_bytes, mean=False)


def read_mean(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """A passage has the mean grade of its sentences."""
    return _read(files, on_bytes, mean=True)


def _read(files: Sequence[Path], on_bytes: OnBytes, *, mean: bool) -> Iterator[Row | Bad]:
    """Stream a row for each judged pair of passage and query, in order of the documents.

    Judgements and queries are held in memory, texts of documents are not. A sentence has the highest of its grades:
    that of a person who marked a piece of it, or who marked nothing in the passage; where others were marked it has 0.
    """
    roles = _roles(files)
    names = source_names(list(files))

    def read(role: str) -> Iterator[Record | Bad]:
        return chain.from_iterable(records(file, names[file], on_bytes) for file in roles[role])

    queries: dict[str, str] = {}
    judgements: _Judgements = {}
    yield from _taken(read("queries"), partial(_take_query, queries))
    yield from _taken(read("judgements"), partial(_take_judgement, judgements))
    for record in read("documents"):
        if isinstance(record, Bad):
            yield record
            continue
        for query, given in sorted(judgements.pop(str(record.values.get("doc_id")), {}).items()):
            yield from _pair(record, query, queries, given, mean=mean)
    for document, by_query in judgements.items():
        for given in by_query.values():
            yield bad(given[0].record, Fault("judged document is not in the documents", f"documentId = {document}"))


def _taken(found: Iterator[Record | Bad], take: Callable[[Record], None]) -> Iterator[Bad]:
    """Let a function take each record; yield those that are bad or that it has a Fault to find with."""
    for record in found:
        if isinstance(record, Bad):
            yield record
            continue
        try:
            take(record)
        except Fault as fault:
            yield bad(record, fault)


def _roles(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return which files have which columns.

    Raises:
        UsageError: if one is none of the three, or one of the three is missing.
    """
    roles: dict[str, list[Path]] = {role: [] for role in _ROLES}
    for file in files:
        columns = set(first_columns(file))
        role = next((role for role, needed in _ROLES.items() if needed <= columns), None)
        if role is None:
            kinds = "; ".join(f"{role}: {', '.join(sorted(needed))}" for role, needed in _ROLES.items())
            raise UsageError(f"{file} has the columns {', '.join(sorted(columns))}; fira reads {kinds}.")
        roles[role].append(file)
    missing = [role for role, found in roles.items() if not found]
    if missing:
        needed = ", ".join(sorted(_ROLES[missing[0]]))
        raise UsageError(f"fira needs judgements, documents and queries; no file has the columns {needed}: add it.")
    return roles


def _take_query(queries: dict[str, str], record: Record) -> None:
    queries[field(record.values, "query_id", str)] = field(record.values, "query_text", str)


def _take_judgement(judgements: _Judgements, record: Record) -> None:
    document, query = field(record.values, "documentId", str), field(record.values, "queryId", str)
    level = field(record.values, "relevanceLevel", str)
    match = _LEVEL.fullmatch(level.strip())
    grade = int(match[1] or match[2]) if match else -1
    if not 0 <= grade <= GRADES:
        raise Fault(f"relevanceLevel is not a grade from 0 to {GRADES}", f"relevanceLevel = {shown(level)}")
    marked = record.values.get("relevanceCharacterRanges")
    ranges = []
    for piece in [] if marked in (None, _NO_RANGES) else str(marked).split(";"):
        found = _RANGE.fullmatch(piece.strip())
        if found is None:
            raise Fault("range is not FIRST-LAST", f"relevanceCharacterRanges = {shown(marked)}")
        ranges.append((int(found[1]), int(found[2]) + 1))
    judgements.setdefault(document, {}).setdefault(query, []).append(_Judgement(record, grade, ranges))


def _pair(
    document: Record, query: str, queries: dict[str, str], given: list[_Judgement], *, mean: bool
) -> Iterator[Row | Bad]:
    name, text = str(document.values["doc_id"]), str(document.values.get("doc_text") or "")
    spans = sentence_spans(text)
    if query not in queries or not spans:
        reason = "judged document has no text" if query in queries else "judged query is not in the queries"
        yield bad(given[0].record, Fault(reason, f"queryId = {query}, documentId = {name}"))
        return
    grades: list[list[int]] = []
    for judgement in given:
        try:
            ranges = code_points(text, judgement.ranges)
        except Fault as fault:
            yield bad(judgement.record, fault)
            continue
        marked = touched(text, spans, ranges) if ranges else [True] * len(spans)
        grades.append([judgement.grade if inside else 0 for inside in marked])
    if grades:
        labels = [max(of_sentence) for of_sentence in zip(*grades, strict=True)]
        values: dict[str, Any] = {
            "id": f"{query}-{name}", "query": queries[query], "response": text, **sentences(text, spans),
            "sentence_labels": labels, "response_label": sum(labels) / len(labels) if mean else max(labels),
        }  # fmt: skip
        yield Row(given[0].record, values)
