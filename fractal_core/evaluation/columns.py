"""Columns of a run's tables as arrays, for who compares the tables of sentences with each other and with responses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors import safe_open

from fractal_core.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KEYS = ("response_id", "sentence_index")


def aggregation_used(student: Path) -> str:
    """Return what student.safetensors says that "auto" became: min, max or avg, which it is if nothing is said."""
    with safe_open(student, framework="numpy") as file:
        metadata = json.loads((file.metadata() or {}).get("fractal", "{}"))
    used = str(metadata.get("aggregation", "auto"))
    return "avg" if used == "auto" else used


def numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """Return a column of text as numbers, equal where the texts are."""
    encoded = table.column(name).combine_chunks().dictionary_encode("encode")
    codes: NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column as float64, NaN for null."""
    values: NDArray[np.float64] = table.column(name).cast(pa.float64()).to_numpy()
    return values


def check_same_sentences(sentences: pa.Table, priors: pa.Table, pseudolabels: pa.Table) -> None:
    """Compare the keys of the tables of sentences.

    Raises:
        StoreError: if they do not hold the same sentences in the same order.
    """
    same = all(sentences.column(key).equals(pseudolabels.column(key)) for key in KEYS)
    if not same or priors.num_rows != sentences.num_rows:
        message = (
            f"Tables sentences ({sentences.num_rows} rows), priors ({priors.num_rows} rows) and pseudolabels "
            f"({pseudolabels.num_rows} rows) do not hold the same sentences in the same order; run again with "
            f"--force priors."
        )
        raise StoreError(message)


def response_rows(sentences: pa.Table, responses: pa.Table) -> NDArray[np.int64]:
    """Return the row of each sentence's response in table `responses`.

    Raises:
        StoreError: if there is none for some sentence.
    """
    row = pc.index_in(sentences.column("response_id"), value_set=responses.column("response_id"))
    if row.null_count:
        message = (
            f"{row.null_count} of {sentences.num_rows} sentences belong to a response that is not in table responses; "
            f"run again with --force segment."
        )
        raise StoreError(message)
    rows: NDArray[np.int64] = row.to_numpy().astype(np.int64)
    return rows
