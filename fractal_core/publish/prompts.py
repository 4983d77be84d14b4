"""The prompt of a response: its query, with its documents before it if asked for."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

BETWEEN = "\n\n"


def prompts(rows: pa.Table, *, with_context: bool) -> pa.ChunkedArray[Any]:
    """Return the prompts of responses; empty where there is nothing to put there.

    Args:
        rows: columns `query` and `context`, of table responses.
        with_context: whether the documents come first, with a blank line after each.
    """
    calls: Any = pc
    query = rows.column("query")
    found: pa.ChunkedArray[Any] = query
    if with_context:
        documents = calls.binary_join(rows.column("context"), BETWEEN)
        # Null where either is: null_handling="skip" of Arrow 26 loses the rows in which all are null.
        both = calls.binary_join_element_wise(documents, query, BETWEEN)
        found = calls.coalesce(both, documents, query)
    filled: pa.ChunkedArray[Any] = calls.fill_null(found, "")
    return filled


def prompt_words(*, with_context: bool) -> str:
    """Say in a sentence what a prompt is."""
    if with_context:
        return "The prompt is the documents and the query, with a blank line between one and the next."
    return "The prompt is the query alone; the documents are in column `context`."
