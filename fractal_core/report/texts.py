"""The texts of the responses that a page lists: each distinct query and document once, long ones cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.results import Results

# Characters of a query or a document that are shown.
LONGEST = 8_000
_BATCH = 4_096


class Texts:
    """Distinct texts by number."""

    def __init__(self) -> None:
        """Start with none."""
        self.all: list[str] = []
        self.cut = 0
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text, cut after `LONGEST` characters."""
        shown = text if len(text) <= LONGEST else text[:LONGEST] + " …"
        if shown not in self._numbers:
            self._numbers[shown] = len(self.all)
            self.all.append(shown)
            self.cut += len(text) > LONGEST
        return self._numbers[shown]


def text_sizes(results: Results) -> NDArray[np.int64]:
    """Return the characters of each response with its query and documents as far as they are shown: [B] int64."""
    sizes = [np.zeros(0, dtype=np.int64)]
    for batch in results.batches("responses", ("response", "query", "context"), _BATCH):
        size = _lengths(batch.column("response")) + np.minimum(_lengths(batch.column("query")), LONGEST)
        context = batch.column("context")
        owner = pc.list_parent_indices(context).to_numpy()
        documents = np.minimum(_lengths(pc.list_flatten(context)), LONGEST)
        sizes.append(size + np.bincount(owner, weights=documents, minlength=len(size)).astype(np.int64))
    return np.concatenate(sizes)


def read_texts(results: Results, chosen: NDArray[np.bool_]) -> tuple[dict[str, list[Any]], Texts]:
    """Return columns id, text, query, documents, label, pair, source and line of the chosen responses, and the texts.

    Args:
        results: the run.
        chosen: [B] bool.

    Returns:
        Columns of as many values as are chosen, in the order of the table; a query is a number of a text or -1,
        documents are a list of such numbers. And these texts.
    """
    names = ("response_id", "response", "query", "context", "label", "pair", "source", "line")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    texts = Texts()
    start = 0
    for batch in results.batches("responses", names, _BATCH):
        rows = np.flatnonzero(chosen[start : start + batch.num_rows])
        start += batch.num_rows
        found = batch.take(rows)
        for name in names:
            columns[name] += found.column(name).to_pylist()
        columns["query"][len(columns["query"]) - len(rows) :] = _numbered(found.column("query").to_pylist(), texts)
        documents = [_numbered(each or [], texts) for each in found.column("context").to_pylist()]
        columns["context"][len(columns["context"]) - len(rows) :] = documents
    new = {"response_id": "id", "response": "text", "context": "documents"}
    return {new.get(name, name): values for name, values in columns.items()}, texts


def _numbered(texts: list[str | None], known: Texts) -> list[int]:
    return [-1 if text is None else known.number(text) for text in texts]


def _lengths(texts: Any) -> NDArray[np.int64]:
    lengths: NDArray[np.int64] = pc.fill_null(pc.utf8_length(texts), 0).to_numpy().astype(np.int64)
    return lengths
