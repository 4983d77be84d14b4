"""Inputs that must stop a run: columns that are not there, too many bad rows."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from fractal_core.errors import InputError
from fractal_core.text.given import OUTSIDE_SENTENCE
from fractal_core.text.labels import OUTSIDE
from fractal_core.text.rows import ARRAY, raw_rows

if TYPE_CHECKING:
    from pathlib import Path

    from fractal_core.config import Columns
    from fractal_core.label_kinds import LabelKind

_SHOWN_COLUMNS = 20
_SHOWN_REASONS = 3
_NEEDED = ("id", "response", "response_label")
# Columns that labels.parquet and the tables of sentence labels have.
_EXPORTED = {"response_id", "sentence_index", "pseudolabel"}
# What some programs write between the cells of CSV and TSV -> in words.
_SEPARATORS = {";": "semicolons", ",": "commas", "\t": "tabs", "|": "bars"}


class Reason(NamedTuple):
    """How often a reason to reject occurs, where first, and with which values there."""

    reason: str
    rows: int
    place: str
    detail: str


def needed_columns(columns: Columns, label_kind: LabelKind) -> dict[str, str]:
    """Return configuration key -> name of the columns that a file must have."""
    keys = ("id", "response_a", "response_b", "preference") if label_kind == "preference" else _NEEDED
    return {key: getattr(columns, key) for key in keys}


def check_columns(
    source: str, names: Sequence[str], columns: Columns, label_kind: LabelKind, needed: Sequence[str] | None = None
) -> None:
    """Raise an InputError if a file lacks a column that it must have.

    These are the columns of id, response and label; of id, both responses and preference where pairs are compared: if
    all of them are among the names, no other name matters. The message names the nearest to the missing one of the
    columns that are not used for anything else, and the configuration key that says which column it is.

    Args:
        source: the file's name in messages.
        names: its columns.
        columns: what the columns are called.
        label_kind: as configured.
        needed: configuration keys of the columns, where not all of these are needed.
    """
    if _EXPORTED.issubset(names) and columns.id not in names:
        raise InputError(
            f"{source} is a file of labels that fractal has written, and no input: move it out of the input folder, or "
            "name the files or folders that hold the responses in [input] path."
        )
    pairs = columns.response_a in names and columns.response_b in names
    wanted = needed_columns(columns, label_kind)
    if needed is not None:
        wanted = {key: getattr(columns, key) for key in needed}
    if label_kind == "preference":
        if columns.response in names and not pairs:
            raise InputError(
                f"{source} has one response a row ({columns.response}) and no pairs ({columns.response_a}, "
                f'{columns.response_b}): choose another [input] label_kind than "preference".'
            )
    elif columns.response not in names and pairs:
        raise InputError(
            f"{source} has pairs of responses ({columns.response_a}, {columns.response_b}): to learn from which of "
            'a pair is better, set aggregation = "auto" and [input] label_kind = "preference".'
        )
    for key, name in wanted.items():
        if name not in names:
            mark = _separator(name, names)
            if mark is not None:
                raise InputError(
                    f"{source} has its cells separated by {mark}, where .csv has commas and .tsv has tabs: write it "
                    "anew with these, or change its suffix."
                )
            near = _nearest(name, _without_a_role(names, columns))
            hint = f'did you mean "{near}"? Then' if near else "if another one holds it,"
            raise InputError(
                f'{source} has no column "{name}", only {_listed(names)}: {hint} write [input.columns] '
                f'{key} = "{near or "..."}" in the configuration.'
            )


def check_prior_column(files: Sequence[Path], columns: Columns, label_kind: LabelKind) -> None:
    """Raise an InputError if the numbers that priors.column asks for cannot be there: for pairs, or without the column.

    One row that has the column is enough. JSONL is read up to that row, of other formats the header.

    Args:
        files: the input.
        columns: what the columns are called in there.
        label_kind: as configured.
    """
    if label_kind == "preference":
        raise InputError(
            "priors.column = true takes a number for each sentence from the input, but [input] label_kind = "
            '"preference" reads pairs, which have none: set priors.column = false, or use priors.sql.'
        )
    names: dict[str, None] = {}
    for file in files:
        of_file: list[str] = []
        for row in raw_rows(file, file.name, (columns.prior,), of_file.extend):
            if isinstance(row.values, dict) and columns.prior in row.values:
                return
            if of_file:  # There is a header, so the other rows have no other columns.
                break
        if columns.prior in of_file:
            return
        names.update(dict.fromkeys(of_file))
    near = _nearest(columns.prior, _without_a_role(list(names), columns))
    hint = f'did you mean "{near}"? Then' if near else "if another one holds your numbers,"
    where = f"{files[0].name} has no" if len(files) == 1 else f"none of the {len(files):,} input files has a"
    raise InputError(
        f'priors.column = true, but {where} column "{columns.prior}", only {_listed(list(names))}: {hint} write '
        f'[input.columns] prior = "{near or "..."}" in the configuration, or set priors.column = false.'
    )


def _listed(names: Sequence[str]) -> str:
    there = ", ".join(f'"{column}"' for column in names[:_SHOWN_COLUMNS])
    return there + (f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else "")


def _separator(wanted: str, names: Sequence[str]) -> str | None:
    """Return in words what separates the cells of a header that was read as one name; None if that is not so."""
    if len(names) != 1:
        return None
    return next((word for mark, word in _SEPARATORS.items() if wanted in names[0].replace('"', "").split(mark)), None)


def _without_a_role(names: Sequence[str], columns: Columns) -> list[str]:
    """Return the columns that hold nothing else: the list of sentence labels, say, is no label of a response."""
    roles = set(vars(columns).values())
    return [name for name in names if name not in roles]


def _nearest(wanted: str, names: Sequence[str]) -> str | None:
    """Return the name that shares a word with the wanted one or is spelled most like it."""
    by_lower = {name.lower(): name for name in names if name}
    parts = wanted.lower().split("_")
    inside = [name for name in by_lower if name in wanted.lower() or parts[-1] in name.split("_")]
    near = get_close_matches(wanted.lower(), inside or list(by_lower), n=1, cutoff=0.0 if inside else 0.4)
    return by_lower[near[0]] if near else None


def check_rejects(rows: int, rejected: int, most: float, reasons: Sequence[Reason]) -> None:
    """Raise an InputError, with the commonest reasons, if more than a share (0..1) of the rows are rejected."""
    if rejected <= most * rows:
        return
    said = [f"{each.reason} ({each.rows}, first at {each.place}: {each.detail})" for each in reasons[:_SHOWN_REASONS]]
    if len(reasons) > _SHOWN_REASONS:
        said.append(f"other reasons ({sum(each.rows for each in reasons[_SHOWN_REASONS:])})")
    advice = "Mend them, or raise [input] max_reject_fraction."
    if any(each.reason == ARRAY and each.place.endswith(":1") for each in reasons):
        advice = "The file begins like a JSON array: write one JSON object a line, as `jq -c '.[]'` does."
    elif reasons[0].reason in (OUTSIDE, OUTSIDE_SENTENCE):
        advice = (
            'If the labels are as they should be, say what they are: [input] label_kind = "ordinal" with grades = the '
            'highest one, "real", or, with aggregation = "avg", "count" or "share"; otherwise mend them.'
        )
    raise InputError(
        f"Too many bad rows, {rejected} of {rows} ({rejected / rows:.1%}, allowed are {most:.1%}): {'; '.join(said)}. "
        f"{advice}"
    )
