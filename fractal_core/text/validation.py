"""Raw rows judged: a response or a pair of them, or a reject that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fractal_core.text.given import cell_list, given_gold, given_prior, given_spans
from fractal_core.text.labels import LabelRule, first_preferred, number_in, response_label
from fractal_core.text.records import Fault, RawRow, Reject, Response, mistyped, printable, raw_text, shown
from fractal_core.text.splits import SPLIT_NAMES, group_name

if TYPE_CHECKING:
    from fractal_core.config import Columns

_T = TypeVar("_T")


class _TextColumns(NamedTuple):
    """The columns of a text and of the sentences given with it."""

    response: str
    spans: str
    sentences: str
    sentence_labels: str


def validate(
    values: dict[str, object] | Fault, row: RawRow, columns: Columns, rule: LabelRule
) -> list[Response] | Reject:
    """Return the row's response, or both if it is a pair; or a reject with the first fault found.

    Nothing but what `RawRow.key` is a digest of, and the configuration, may be looked at here.

    Args:
        values: those of the row.
        row: a row of a file.
        columns: what the columns are called in the file.
        rule: what labels may be; under the kind "preference" a row is a pair.
    """
    try:
        if isinstance(values, Fault):
            raise values
        return _responses(values, row.typed, columns, rule)
    except Fault as fault:
        return Reject(fault.reason, printable(fault.detail), raw_text(row.raw))


def _responses(values: dict[str, object], typed: bool, columns: Columns, rule: LabelRule) -> list[Response]:
    row_id = _name(values.get(columns.id), "id", columns.id)
    if row_id is None:
        raise Fault("missing id", f"{columns.id} = {shown(values.get(columns.id))}")
    query = _text(values.get(columns.query), "query", columns.query)
    context = _context(values.get(columns.context), typed, columns.context)
    split = _split(values.get(columns.split), columns.split)
    group = group_name(_name(values.get(columns.group), "group", columns.group), query, context, row_id)
    blank = Response(split, row_id, query, context, "", None, group, None, None, None, None, None)
    if rule.kind == "preference":
        return _pair(blank, values, typed, columns, rule)
    names = _TextColumns(columns.response, columns.spans, columns.sentences, columns.sentence_labels)
    texts = _with_text(blank, values, typed, names, rule)
    sentences = None if texts.spans is None else len(texts.spans)
    value = values.get(columns.response_label)
    label = response_label(value, typed, columns.response_label, rule, texts.response, sentences)
    prior = _prior_cell(values.get(columns.prior), typed)
    return [texts._replace(label=label, prior=_of_column(columns.prior, given_prior, prior, texts.spans))]


def _pair(blank: Response, values: dict[str, object], typed: bool, columns: Columns, rule: LabelRule) -> list[Response]:
    """Return both texts of a pair, or raise the fault of the first bad one with its column's name in the detail."""
    first = first_preferred(values.get(columns.preference), typed, columns.preference)
    sides = {
        "a": _TextColumns(columns.response_a, columns.spans_a, columns.sentences_a, columns.sentence_labels_a),
        "b": _TextColumns(columns.response_b, columns.spans_b, columns.sentences_b, columns.sentence_labels_b),
    }
    pair = []
    for side, names in sides.items():
        text = _with_text(blank, values, typed, names, rule)
        preferred = None if first is None else first if side == "a" else 1.0 - first
        pair.append(
            text._replace(response_id=f"{blank.response_id}#{side}", pair=blank.response_id, preferred=preferred)
        )
    return pair


def _with_text(
    blank: Response, values: dict[str, object], typed: bool, names: _TextColumns, rule: LabelRule
) -> Response:
    response = _text(values.get(names.response), "response", names.response)
    if response is None:
        raise Fault("missing or empty response", f"{names.response} = {shown(values.get(names.response))}")
    given = [values.get(name) for name in (names.spans, names.sentences, names.sentence_labels)]
    if not typed:
        given = [cell_list(value) for value in given]
    column = names.sentences if given[0] in (None, []) else names.spans
    spans = _of_column(column, given_spans, given[0], given[1], response)
    gold = _of_column(names.sentence_labels, given_gold, given[2], spans, rule)
    return blank._replace(response=response, spans=spans, sentence_labels=gold)


def _of_column(column: str, judge: Callable[..., _T], *values: object) -> _T:
    """Judge values of a column; a fault names it."""
    try:
        return judge(*values)
    except Fault as fault:
        raise Fault(fault.reason, f"{column}: {fault.detail}") from None


def _text(value: object, what: str, column: str) -> str | None:
    """Return text as it is, None for a missing, empty or blank one."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Fault(f"{what} is not text", f"{column} = {mistyped(value)}")
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
        raise Fault(f"{what} is neither text nor a whole number", f"{column} = {mistyped(value)}")
    return _text(value, what, column)


def _context(value: object, typed: bool, column: str) -> list[str] | None:
    if not typed:
        # A text may begin with a bracket ("[1] Smith"): only a list of texts is taken for one.
        parsed = cell_list(value)
        if isinstance(parsed, list) and all(item is None or isinstance(item, str) for item in parsed):
            value = parsed
    if value is None or isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(item is None or isinstance(item, str) for item in value):
        found = shown(value) if isinstance(value, list) else mistyped(value)
        raise Fault("context is neither text nor a list of text", f"{column} = {found}")
    documents = (_text(item, "context", column) for item in value)
    return [document for document in documents if document is not None] or None


def _split(value: object, column: str) -> str | None:
    if value is None or value == "":
        return None
    name = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if name is None:
        raise Fault("split is not train, dev or test", f"{column} = {shown(value)}")
    return name


def _prior_cell(value: object, typed: bool) -> object:
    """Return the number or list that a CSV cell holds, or the cell as it is."""
    if typed or not isinstance(value, str):
        return value
    number = number_in(value)
    return cell_list(value) if number is None else number
