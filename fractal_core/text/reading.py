"""Stage `read`: input files to the tables `responses` and `rejects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow.parquet as pq

from fractal_core.errors import InputError
from fractal_core.label_kinds import settled_kind
from fractal_core.text.checks import check_rejects
from fractal_core.text.files import SOURCE_SPLITS, InputFile, source_names
from fractal_core.text.gathered import Gathered
from fractal_core.text.known import INDEX_FILE, REPEATED_FILE, IndexWriter
from fractal_core.text.learnable import check_labels, check_preferences
from fractal_core.text.records import OWN_SCHEMA, REJECTS_SCHEMA, RESPONSES_SCHEMA, raw_text
from fractal_core.text.rows import raw_rows
from fractal_core.text.spool import RAW_SCHEMA, SpoolWriter
from fractal_core.text.spooling import spool_rows, wanted_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fractal_core.config import Aggregation, Columns
    from fractal_core.label_kinds import LabelKind
    from fractal_core.store.stage import Inputs, Outputs, Progress, Runtime


class ReadParams(Protocol):
    """The parameters of the stage."""

    columns: Columns
    aggregation: Aggregation
    label_kind: LabelKind
    grades: int
    dev_fraction: float
    test_fraction: float
    max_reject_fraction: float
    seed: int


def read(inputs: Inputs, params: ReadParams, outputs: Outputs, runtime: Runtime) -> None:
    """Read the input files, put bad rows aside, and write the responses in order of their ids.

    The result depends neither on the order of files and rows nor on how rows are spread over files, but for the columns
    source and line, and for rows with one id: of those in one file the first is kept, of those in several one that is
    chosen by what the rows are, not by where. A row with two texts and a preference becomes two responses, `id#a` and
    `id#b`. A row that was read before, with the same configuration, is not parsed and judged again. Memory does not
    grow with the input, but for about 100 bytes a known row.

    Args:
        inputs: external files, as `input_sources` groups them by format and by the split that their names say; a split
            column has precedence, a hash of the group comes last.
        params: names of the columns, aggregation, kind of the labels, highest grade, seed, and the shares of dev, test
            and bad rows.
        outputs: tables `responses` (by response_id) and `rejects` (by source and line), and an index of their rows.
        runtime: shows the progress in bytes and notes how many rows were rejected.

    Raises:
        InputError: if a file cannot be read or lacks a column, there are no rows or too many bad ones, or the labels
            of the training responses are missing or all the same. Nothing has been written then.
    """
    files = _files(inputs)
    earlier = inputs.earlier()
    with Gathered(outputs.scratch("spill"), earlier) as gathered:
        rows, spools = spool_rows(files, params, [str(each.path(INDEX_FILE)) for each in earlier], outputs, runtime)
        if rows == 0:
            names = ", ".join(str(file.path) for file in files[:3]) + (", ..." if len(files) > 3 else "")
            raise InputError(f"The input has no rows ({names}): give files with one response a row.")
        gathered.add(files, spools)
        rejected, reasons = gathered.rejected(), gathered.reasons()
        check_rejects(rows, rejected, params.max_reject_fraction, reasons)
        dealt = gathered.dealt()
        too_few = dealt.too_few(params.columns.id)
        written = rows
        if params.label_kind == "preference":
            check_preferences(gathered.preferences(), too_few)
            written += rows - rejected
        else:
            check_labels(gathered.labels(), settled_kind(params.label_kind, params.aggregation), too_few)
        raws = outputs.scratch("raws.parquet")
        _spool_raws(files, gathered.repeated_places(), params, raws)
        with runtime.progress("sort", written) as progress:
            _write(gathered, raws, outputs, progress)
    if dealt == (rows - rejected, 1) and too_few and params.dev_fraction + params.test_fraction > 0:
        runtime.note(f"All responses are in one split: {too_few}.")
    if rejected:
        counts = ", ".join(f"{reason} {count}" for reason, count, *_ in reasons)
        runtime.note(f"Rejected {rejected} of {rows} rows ({counts}): see the table rejects.")


def _files(inputs: Inputs) -> list[InputFile]:
    """Return the input files in order of their paths."""
    splits = {path: split for name, split in SOURCE_SPLITS.items() for path in inputs.sources(name)}
    return [InputFile(path, source, splits[path]) for path, source in source_names(sorted(splits)).items()]


class _Anything:
    """Has every key: no row's values are wanted."""

    def __contains__(self, key: object) -> bool:
        return True


def _spool_raws(
    files: Sequence[InputFile], places: Mapping[int, Sequence[int]], params: ReadParams, path: Path
) -> None:
    """Read rows again as they are in the files, by their lines: which ids are repeated is known last."""
    columns = wanted_columns(params.columns)
    with SpoolWriter(path, RAW_SCHEMA) as raws:
        for number, lines in places.items():
            file, wanted = files[number], set(lines)
            for row in raw_rows(file.path, file.source, columns, lambda _: None, known=_Anything()):
                if row.line in wanted:
                    raw = raw_text(row.raw)
                    raws.add((number, row.line, raw), len(raw))
                if row.line == lines[-1]:
                    break


def _write(gathered: Gathered, raws: Path, outputs: Outputs, progress: Progress) -> None:
    """Write the tables, and the index by which a later run finds their rows."""
    with (
        IndexWriter(outputs.file(INDEX_FILE)) as index,
        pq.ParquetWriter(outputs.file(REPEATED_FILE), OWN_SCHEMA, compression="zstd") as repeated,
    ):
        for name, tables, schema in (
            ("responses", gathered.responses(), RESPONSES_SCHEMA),
            ("rejects", gathered.rejects(raws), REJECTS_SCHEMA),
        ):
            for table in tables:
                outputs.write(name, table.select(schema.names))
                outputs.reused(table.column("known").to_pylist().count(True))
                index.add(name, table)
                progress.advance(table.num_rows)
        for table in gathered.repeated():
            repeated.write_table(table.select(OWN_SCHEMA.names))
            index.add("repeated", table)
