"""Input files to spools of rows, judged: a shard is some whole files, so that every row has its line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fractal_core.appearing import appearing
from fractal_core.text.checks import check_columns, needed_columns
from fractal_core.text.known import known_keys
from fractal_core.text.labels import label_rule
from fractal_core.text.records import Reject
from fractal_core.text.rows import raw_rows
from fractal_core.text.splits import split_of
from fractal_core.text.spool import BAD_SCHEMA, KNOWN_SCHEMA, VALID_SCHEMA, Spools, SpoolWriter
from fractal_core.text.validation import validate

if TYPE_CHECKING:
    from fractal_core.config import Columns
    from fractal_core.engine import Advance, Do, Parcel
    from fractal_core.store.stage import Outputs, Runtime
    from fractal_core.text.files import InputFile
    from fractal_core.text.reading import ReadParams

# Files are taken together up to so many bytes.
SHARD_BYTES = 64_000_000


def spool_rows(
    files: Sequence[InputFile], params: ReadParams, indices: Sequence[str], outputs: Outputs, runtime: Runtime
) -> tuple[int, list[Spools]]:
    """Read all rows and judge the new ones.

    Args:
        files: the input; a row's file is its number there.
        params: of the stage.
        indices: paths of the indices of earlier results.
        outputs: spools are scratch files.
        runtime: shows the progress in bytes.

    Returns:
        How many rows there are, and the spools.

    Raises:
        InputError: if a file cannot be read or lacks a column.
    """
    common = {
        "columns": vars(params.columns),
        "label_kind": params.label_kind,
        "aggregation": params.aggregation,
        "grades": params.grades,
        "seed": params.seed,
        "dev_fraction": params.dev_fraction,
        "test_fraction": params.test_fraction,
        "indices": [os.path.abspath(path) for path in indices],
    }
    count, spools = 0, []
    sizes = [file.path.stat().st_size for file in files]
    with runtime.progress("read", sum(sizes)) as progress:
        shards = (
            (each, {"files": [(number, *_named(files[number], runtime)) for number in numbers], **_strings(each)})
            for numbers, each in _shards(sizes, outputs)
        )
        folder = outputs.scratch("read")
        for each, made in runtime.engine.deal(runtime, spooling, common, shards, folder, progress.advance):
            count += made["rows"]
            spools.append(each)
    return count, spools


def _shards(sizes: Sequence[int], outputs: Outputs) -> Iterator[tuple[list[int], Spools]]:
    """Yield the numbers of some files, given their bytes, and where their rows go."""
    numbers: list[int] = []
    shard = 0
    for number in range(len(sizes)):
        numbers.append(number)
        if number + 1 == len(sizes) or sum(sizes[each] for each in numbers) >= SHARD_BYTES:
            yield numbers, Spools(*(outputs.scratch(f"{name}-{shard:06}.parquet") for name in Spools._fields))
            numbers, shard = [], shard + 1


def _named(file: InputFile, runtime: Runtime) -> tuple[str, str]:
    """Return where a file is and what it is called; other processes may have another working directory."""
    return os.path.abspath(file.path) if runtime.engine.apart else str(file.path), file.source


def _strings(spools: Spools) -> dict[str, str]:
    return {name: os.path.abspath(path) for name, path in spools._asdict().items()}


def wanted_columns(columns: Columns) -> list[str]:
    """Return the names of all columns that mean something."""
    return list(vars(columns).values())


def spooling(common: Parcel, runtime: Runtime) -> Do:
    """Return what spools the rows of `files` to `valid`, `bad` and `known`, and returns how many `rows` there are."""
    del runtime
    columns: Any = SimpleNamespace(**common["columns"])
    rule = label_rule(common["label_kind"], common["aggregation"], common["grades"])
    wanted = wanted_columns(columns)
    needed = needed_columns(columns, common["label_kind"]).values()
    known = known_keys(common["indices"])
    dealing = (common["seed"], common["dev_fraction"], common["test_fraction"])

    def spool(shard: Parcel, advance: Advance) -> Parcel:
        count = 0
        with ExitStack() as stack:

            def opened(name: str, schema: Any) -> SpoolWriter:
                return stack.enter_context(SpoolWriter(stack.enter_context(appearing(Path(shard[name]))), schema))

            responses, rejects = opened("valid", VALID_SCHEMA), opened("bad", BAD_SCHEMA)
            places = opened("known", KNOWN_SCHEMA)
            for number, path, source in shard["files"]:
                on_columns = partial(check_columns, source, columns=columns, label_kind=common["label_kind"])
                for row in raw_rows(Path(path), source, wanted, on_columns, advance, known=known, needed=needed):
                    count += 1
                    place = (number, row.line, row.key)
                    if row.values is None:
                        places.add(place)
                        continue
                    judged = validate(row.values, row, columns, rule)
                    if isinstance(judged, Reject):
                        rejects.add((*place, *judged), len(judged.raw))
                        continue
                    for response in judged:
                        dealt = split_of(response.group, *dealing)
                        responses.add((*place, dealt, *response), len(row.raw))
        return {"rows": count}

    return spool
