"""`fractal convert`: files of a known format to rows that fractal reads; what cannot be used is kept and counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fractal_core.appearing import appearing
from fractal_core.convert.formats import FORMATS, Format
from fractal_core.convert.records import Bad, Row, bad
from fractal_core.errors import InputError, StoreError, UsageError
from fractal_core.store.outside import check_free
from fractal_core.text.records import Fault, shown

_SHOWN = 3


@dataclass
class Conversion:
    """What became of the records: how many rows, and of each reason for leaving one out how often and where first."""

    rows: int = 0
    reasons: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def left_out(self) -> int:
        """Records that were left out."""
        return sum(count for count, _ in self.reasons.values())

    def add_bad(self, found: Bad) -> None:
        """Count a record that was left out."""
        self.reasons.setdefault(found.reason, [0, f"{found.source}:{found.line}"])[0] += 1


def convert(
    name: str, files: Sequence[Path], output: Path, on_bytes: Callable[[int], None], *, force: bool = False
) -> dict[str, Any]:
    """Write the rows of files of a known format; return what there is to say, as JSON values.

    The file appears as a whole. Records that cannot be used are written beside it, to `_OUTPUT.rejects.jsonl`, which
    fractal does not take for input, with their file, line and reason.

    Args:
        name: one of `FORMATS`.
        files: the files.
        output: a .jsonl file to write.
        on_bytes: told how many more bytes have been read.
        force: whether to replace the file.

    Raises:
        UsageError: if the format is unknown, there are not the files it needs, or the output is not to be written.
        InputError: if a file cannot be read, or no record can be used.
        StoreError: if the output cannot be written.
    """
    known = _known(name)
    rejects = output.with_name(f"_{output.name}.rejects.jsonl")
    _check(files, output, force)
    done = Conversion()
    try:
        with appearing(output) as rows, appearing(rejects, lambda: done.left_out > 0) as others:
            seen: set[str] = set()
            for found in known.read(files, on_bytes):
                judged = found if isinstance(found, Bad) else _line(found, seen)
                if isinstance(judged, Bad):
                    done.add_bad(judged)
                    others.write(_encoded(judged._asdict()))
                else:
                    done.rows += 1
                    rows.write(judged)
            if not done.rows:
                what = f"{done.left_out:,} records cannot be used: {_in_words(done)}" if done.left_out else "no records"
                raise InputError(f"There is nothing to convert as {name} ({what}).")
    except OSError as error:
        raise StoreError(
            f"{output} cannot be written ({error.strerror or error}); name another with --output."
        ) from error
    return {
        "format": name, "output": str(output), "rows": done.rows, "left_out": done.left_out,
        "reasons": [{"reason": reason, "count": count, "first": place} for reason, (count, place) in _common(done)],
        "rejects": str(rejects) if done.left_out else None,
        "aggregation": known.aggregation, "label_kind": known.label_kind, "grades": known.grades,
    }  # fmt: skip


def in_words(said: dict[str, Any]) -> str:
    """Say what `convert` returned, and what to do next."""
    lines = [f"Wrote {said['rows']:,} rows to {said['output']}."]
    if said["left_out"]:
        lines.append(f"Left out {said['left_out']:,} records, which are in {said['rejects']}:")
        lines += [f"  {each['count']:,} x {each['reason']} (first at {each['first']})" for each in said["reasons"]]
    keys = "" if said["grades"] is None else f' (label_kind = "ordinal", grades = {said["grades"]})'
    lines.append(f"Next: fractal init {said['output']} --aggregation {said['aggregation']}{keys}.")
    return "\n".join(lines)


def _known(name: str) -> Format:
    if name not in FORMATS:
        raise UsageError(f"There is no format {name}; known are {', '.join(FORMATS)}.")
    return FORMATS[name]


def _check(files: Sequence[Path], output: Path, force: bool) -> None:
    for file in files:
        if not file.is_file():
            raise InputError(f"There is no file {file}.")
    if output.suffix != ".jsonl":
        raise UsageError(f"--output {output} has JSON lines; give it a name that ends in .jsonl.")
    check_free(output, force=force, read=files)


def _line(row: Row, seen: set[str]) -> bytes | Bad:
    """Return a row as a line of JSON; a bad record if its id was there before or a text is not UTF-8."""
    name = row.values["id"]
    if name in seen:
        return bad(row.record, Fault("duplicate id", f"id = {shown(name)}"))
    try:
        line = _encoded(row.values)
    except UnicodeEncodeError as error:
        return bad(row.record, Fault("text is not UTF-8", f"it has U+{ord(error.object[error.start]):04X}"))
    seen.add(name)
    return line


def _encoded(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def _common(done: Conversion) -> list[tuple[str, list[Any]]]:
    """Return the reasons, the commonest first."""
    return sorted(done.reasons.items(), key=lambda item: (-item[1][0], item[0]))


def _in_words(done: Conversion) -> str:
    return "; ".join(f"{count:,} x {reason} (first at {place})" for reason, (count, place) in _common(done)[:_SHOWN])
