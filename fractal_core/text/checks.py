"""Inputs that must stop a run: columns that are not there, too many bad rows, labels that teach nothing."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from fractal_core.errors import InputError
from fractal_core.text.records import Fault
from fractal_core.text.rows import raw_rows

if TYPE_CHECKING:
    from pathlib import Path

    from fractal_core.config import Columns
    from fractal_core.label_kinds import LabelKind, SettledKind

_SHOWN_COLUMNS = 20
_OTHER_LABELS = {"binary": "labels, 0 and 1,", "share": "shares", "count": "counts", "ordinal": "grades"}


class Reason(NamedTuple):
    """How often a reason to reject occurs, and where first."""

    reason: str
    rows: int
    place: str


class Labels(NamedTuple):
    """What the response labels are: rows, those with a label, those of them in train, and the labels in train."""

    responses: int
    labelled: int
    train: int
    distinct: int
    lowest: float | None


class Preferences(NamedTuple):
    """What the preferences are: pairs, those with a preference or tie, those of them in train, and without the ties."""

    pairs: int
    labelled: int
    train: int
    decided: int


def check_columns(source: str, names: Sequence[str], columns: Columns, label_kind: LabelKind) -> None:
    """Raise an InputError if a file lacks a column that it must have.

    These are the columns of id, response and label; of id, both responses and preference where pairs are compared. The
    message names the nearest to the missing one of the columns that are not used for anything else, and the
    configuration key that says which column it is.
    """
    pairs = columns.response_a in names and columns.response_b in names
    if label_kind == "preference":
        if columns.response in names and not pairs:
            raise InputError(
                f"{source} has one response a row ({columns.response}) and no pairs ({columns.response_a}, "
                f'{columns.response_b}): choose another [input] label_kind than "preference".'
            )
        wanted = {key: getattr(columns, key) for key in ("id", "response_a", "response_b", "preference")}
    else:
        if columns.response not in names and pairs:
            raise InputError(
                f"{source} has pairs of responses ({columns.response_a}, {columns.response_b}): to learn from which of "
                'a pair is better, set aggregation = "auto" and [input] label_kind = "preference".'
            )
        wanted = {key: getattr(columns, key) for key in ("id", "response", "response_label")}
    for key, name in wanted.items():
        if name not in names:
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
        for row in raw_rows(file, file.name, (columns.prior,), of_file.extend, lambda _: None):
            if not isinstance(row.values, Fault) and columns.prior in row.values:
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


def _without_a_role(names: Sequence[str], columns: Columns) -> list[str]:
    """Return the columns that hold nothing else: the list of sentence labels, say, is no label of a response."""
    roles = set(columns.model_dump().values())
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
    common = "; ".join(f"{reason} ({count}, first at {place})" for reason, count, place in reasons[:3])
    raise InputError(
        f"Too many bad rows, {rejected} of {rows} ({rejected / rows:.1%}, allowed are {most:.1%}): {common}. "
        "Mend them, or raise [input] max_reject_fraction."
    )


def check_labels(labels: Labels, kind: SettledKind) -> None:
    """Raise an InputError if there is nothing to learn: no label, none in train, or one value only.

    The same count in responses of different lengths does say something, unless it is 0.
    """
    if labels.labelled == 0:
        raise InputError(
            f"No response has a label (of {labels.responses}), so nothing can be learned: fill in the label column of "
            "some, or name the right one with [input.columns] response_label."
        )
    if labels.train == 0:
        raise InputError(
            f"No labelled response (of {labels.labelled}) is in train, so nothing can be learned: put some there with "
            "a split column, or lower [input] dev_fraction and test_fraction."
        )
    if labels.distinct == 1 and not (kind == "count" and labels.lowest):
        other = _OTHER_LABELS.get(kind, "labels")
        raise InputError(
            f"Every labelled response in train ({labels.train}) has the same label, {labels.lowest:g}, so nothing can "
            f"be learned: add responses with other {other} or, if the splits are given, move some into train."
        )


def check_preferences(preferences: Preferences) -> None:
    """Raise an InputError if there is nothing to learn: no preference, none in train, or nothing but ties there."""
    if preferences.labelled == 0:
        raise InputError(
            f"No pair has a preference (of {preferences.pairs}), so nothing can be learned: fill in the preference "
            "column of some, or name the right one with [input.columns] preference."
        )
    if preferences.train == 0:
        raise InputError(
            f"No pair with a preference (of {preferences.labelled}) is in train, so nothing can be learned: put some "
            "there with a split column, or lower [input] dev_fraction and test_fraction."
        )
    if preferences.decided == 0:
        raise InputError(
            f"Every pair with a preference in train ({preferences.train}) is a tie, so nothing can be learned: add "
            "pairs of which one is preferred or, if the splits are given, move some into train."
        )
