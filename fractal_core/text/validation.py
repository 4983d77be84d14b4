"""Raw rows judged: a response, or a reject that says why."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from fractal_core.text.given import given_gold, given_spans
from fractal_core.text.records import RAW_CHARACTERS, Fault, RawRow, Reject, Response, printable, shown
from fractal_core.text.splits import SPLIT_NAMES, group_name

if TYPE_CHECKING:
    from fractal_core.config import Aggregation, Columns

_TRUTH = {"true": 1.0, "false": 0.0}


def validate(row: RawRow, source: str, columns: Columns, aggregation: Aggregation) -> Response | Reject:
    """Return the row as a response, or as a reject with the first fault found.

    Args:
        row: a row of a file.
        source: the file's name.
        columns: what the columns are called in the file.
        aggregation: "min" and "max" take labels 0 and 1, "avg" takes 0..1.
    """
    try:
        if isinstance(row.values, Fault):
            raise row.values
        return _response(row.values, row, source, columns, aggregation)
    except Fault as fault:
        raw = printable(row.raw[:RAW_CHARACTERS])[:RAW_CHARACTERS]
        return Reject(source, row.line, fault.reason, printable(fault.detail), raw)


def _response(
    values: dict[str, object], row: RawRow, source: str, columns: Columns, aggregation: Aggregation
) -> Response:
    response_id = _name(values.get(columns.id), "id", columns.id)
    if response_id is None:
        raise Fault("missing id", f"{columns.id} = {shown(values.get(columns.id))}")
    response = _text(values.get(columns.response), "response", columns.response)
    if response is None:
        raise Fault("missing or empty response", f"{columns.response} = {shown(values.get(columns.response))}")
    label = _label(values.get(columns.response_label), row.typed, columns.response_label, aggregation)
    query = _text(values.get(columns.query), "query", columns.query)
    context = _context(values.get(columns.context), row.typed, columns.context)
    group = _name(values.get(columns.group), "group", columns.group)
    split = _split(values.get(columns.split), columns.split)
    given = [values.get(name) for name in (columns.spans, columns.sentences, columns.sentence_labels)]
    if not row.typed:
        given = [_cell(value) for value in given]
    spans = given_spans(given[0], given[1], response)
    gold = given_gold(given[2], spans)
    group = group_name(group, query, context, response_id)
    return Response(response_id, query, context, response, label, split, group, spans, gold, source, row.line)


def _text(value: object, what: str, column: str) -> str | None:
    """Return text as it is, None for a missing, empty or blank one."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Fault(f"{what} is not text", f"{column} = {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        character = f"character {error.start} is U+{ord(value[error.start]):04X}"
        raise Fault("text is not UTF-8", f"{column}: {character}, half of a surrogate pair") from None
    return value if value.strip() else None


def _name(value: object, what: str, column: str) -> str | None:
    """Return text or a whole number as text."""
    if type(value) is int:
        return str(value)
    if value is not None and not isinstance(value, str):
        raise Fault(f"{what} is neither text nor a whole number", f"{column} = {shown(value)}")
    return _text(value, what, column)


def _label(value: object, typed: bool, column: str, aggregation: Aggregation) -> float | None:
    if value is None or (not typed and isinstance(value, str) and not value.strip()):
        return None
    number: float | Decimal | None = None
    if not typed and isinstance(value, str):
        number = _number(value)
    elif isinstance(value, int | float | Decimal):
        number = value
    # Not math.isnan: it fails on whole numbers too big for a float.
    if number is None or number != number:
        raise Fault("label is not a number", f"{column} = {shown(value)}")
    if aggregation == "avg":
        if not 0 <= number <= 1:
            raise Fault("label outside its range", f"{column} = {shown(value)}, avg takes 0 to 1")
    elif number not in (0, 1):
        raise Fault("label outside its range", f"{column} = {shown(value)}, {aggregation} takes 0 or 1")
    return float(number)


def _number(text: str) -> float | None:
    word = text.strip().lower()
    if word in _TRUTH:
        return _TRUTH[word]
    try:
        return float(word)
    except ValueError:
        return None


def _context(value: object, typed: bool, column: str) -> list[str] | None:
    if not typed:
        # A text may begin with a bracket ("[1] Smith"): only a list of texts is taken for one.
        parsed = _cell(value)
        if isinstance(parsed, list) and all(item is None or isinstance(item, str) for item in parsed):
            value = parsed
    if value is None or isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(item is None or isinstance(item, str) for item in value):
        raise Fault("context is neither text nor a list of text", f"{column} = {shown(value)}")
    documents = (_text(item, "context", column) for item in value)
    return [document for document in documents if document is not None] or None


def _split(value: object, column: str) -> str | None:
    if value is None or value == "":
        return None
    name = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if name is None:
        raise Fault("split is not train, dev or test", f"{column} = {shown(value)}")
    return name


def _cell(value: object) -> object:
    """Return the list that a CSV cell holds as JSON, or the cell as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
