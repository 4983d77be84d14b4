"""What an exporter is asked for, and what it says of the files that it has written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fractal_core.results import Results


Format = Literal["parquet", "hf", "trl-prm", "preference"]


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        threshold: posterior from which a sentence is right; None for the pseudo-label. Of stepwise labels.
        with_context: whether prompts begin with the documents.
        pairs_per_query: most pairs of responses to one query.
        license: licence that the card names, an identifier of the Hugging Face hub.
    """

    threshold: float | None = None
    with_context: bool = False
    pairs_per_query: int = 100
    license: str = "unknown"


@dataclass(frozen=True)
class Part:
    """Files of one schema, one a split: `folder/SPLIT.parquet`.

    Attributes:
        folder: their folder within the export; also the name of the configuration in the card.
        row: what a row is.
        rows: split -> rows.
        columns: column -> its meaning.
    """

    folder: str
    row: str
    rows: Mapping[str, int]
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Contents:
    """What was exported; the first part is what one gets who does not say which.

    Attributes:
        parts: the files.
        rules: sentences on how rows came about, for the card.
        left_out: why -> how many rows there might have been.
    """

    parts: tuple[Part, ...]
    rules: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


Exporter = Callable[["Results", Path, Options], Contents]
