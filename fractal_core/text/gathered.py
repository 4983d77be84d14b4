"""All rows of the input, new and known ones, as sorted tables without repeated ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from fractal_core.text.checks import Reason
from fractal_core.text.known import join_known, load_index
from fractal_core.text.learnable import Dealt, Labels, Preferences
from fractal_core.text.records import OWN_REJECT_SCHEMA, OWN_SCHEMA, REJECTS_SCHEMA, RESPONSES_SCHEMA
from fractal_core.text.spool import in_pieces

if TYPE_CHECKING:
    from fractal_core.store.stage import EarlierResult
    from fractal_core.text.files import InputFile
    from fractal_core.text.spool import Spools

OUTPUT_ROWS = 16_384
SORT_MEMORY = "1GB"
SORT_THREADS = 2

_OWN = ", ".join(f'"{name}"' for name in OWN_SCHEMA.names)
_OWN_REJECT = ", ".join(f'"{name}"' for name in OWN_REJECT_SCHEMA.names)

# Of rows with one id, the first in a file stands for the file. Which of several files' is kept must depend neither on
# their names nor on what else is in them, since both change without the rows; so their digests decide. What is left are
# copies: of them the one on the earlier line is kept, then by split. In the end names decide, but of nothing else.
# The two texts of a pair come from one row, which its first text stands for. Only keys are sorted here, not texts.
_FIND_REPEATED = """
CREATE TEMP TABLE input_rows AS
SELECT file, line, key, known, coalesce(pair, response_id) AS id
FROM valid WHERE pair IS NULL OR ends_with(response_id, '#a');

CREATE TEMP TABLE repeated AS
SELECT file, line, key, known, id, kept.file AS kept_file, kept.line AS kept_line
FROM (
    SELECT *, first_value({'file': file, 'line': line}) OVER same_id AS kept
    FROM (
        SELECT *, row_number() OVER (PARTITION BY id, file ORDER BY line) > 1 AS later
        FROM input_rows JOIN files USING (file)
        WHERE id IN (SELECT id FROM input_rows GROUP BY id HAVING count(*) > 1)
    )
    WINDOW same_id AS (PARTITION BY id ORDER BY later, key, line, split, file)
)
WHERE (file, line) != (kept.file, kept.line);

CREATE TEMP VIEW kept AS
SELECT valid.*, files.split AS named_split, coalesce(own_split, files.split, dealt) AS split, files.source
FROM valid JOIN files USING (file) ANTI JOIN repeated USING (file, line);

CREATE TEMP VIEW twice AS
SELECT again.source, line, file, known,
    format('{} is at {}:{} and again at {}:{}', id, first.source, kept_line, again.source, line) AS detail
FROM repeated JOIN files AS again USING (file) JOIN files AS first ON first.file = kept_file;

CREATE TEMP VIEW faults AS
SELECT source, line, reason, detail FROM bad JOIN files USING (file)
UNION ALL
SELECT source, line, 'duplicate id', detail FROM twice;
"""

# A bad row that is there several times is found again by the first of them, a repeated one in the file of those.
_REJECTS = """
SELECT source, line, {own}, CASE WHEN first_of_key THEN key END AS key, known FROM (
    SELECT source, line, {own}, known, key,
        row_number() OVER (PARTITION BY key ORDER BY source, line) = 1 AS first_of_key
    FROM bad JOIN files USING (file)
)
UNION ALL
SELECT source, line, 'duplicate id', detail, raw, NULL, known FROM twice JOIN raws USING (file, line)
"""

_REPEATED = """
SELECT DISTINCT ON (key, response_id) {own}, key, own_split, dealt
FROM valid SEMI JOIN repeated USING (file, line)
WHERE key NOT IN (SELECT key FROM kept)
"""


class Gathered:
    """The rows read, in a database of its own."""

    def __init__(self, spill: Path, earlier: Sequence[EarlierResult]) -> None:
        """Read the indices of earlier results; what does not fit into memory is spilled to the folder `spill`."""
        self._connection = duckdb.connect()
        run = self._connection.execute
        run(f"SET memory_limit = '{SORT_MEMORY}'")
        run(f"SET threads = {SORT_THREADS}")
        run("SET temp_directory = $1", [str(spill)])
        self._earlier = earlier
        load_index(self._connection, earlier)

    def __enter__(self) -> Gathered:
        """Return the object itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection, which removes what it spilled, and let it go: an error may keep this object alive."""
        self._connection.close()
        del self._connection

    def add(self, files: Sequence[InputFile], spools: Sequence[Spools]) -> None:
        """Take the rows that were spooled, and find those whose id another one has."""
        connection = self._connection
        connection.from_arrow(pa.table({
            "file": pa.array(range(len(files)), pa.int32()),
            "source": pa.array([file.source for file in files], pa.string()),
            "split": pa.array([file.split or None for file in files], pa.string()),
        })).create("files")  # fmt: skip
        views = ("new_valid", "new_bad", "known_places")
        for name, paths in zip(views, zip(*spools, strict=True), strict=True):
            connection.read_parquet([str(path) for path in paths]).create_view(name)
        valid_rows, bad_rows = join_known(connection, self._earlier)
        valid_rows.append(f"SELECT file, line, key, dealt, own_split, {_OWN}, false AS known FROM new_valid")
        bad_rows.append(f"SELECT file, line, key, {_OWN_REJECT}, false AS known FROM new_bad")
        connection.execute(f"CREATE TEMP VIEW valid AS {' UNION ALL '.join(valid_rows)}")
        connection.execute(f"CREATE TEMP VIEW bad AS {' UNION ALL '.join(bad_rows)}")
        connection.execute(_FIND_REPEATED)

    def rejected(self) -> int:
        """Return the number of rejected rows, repeated ids included."""
        return int(self._row("SELECT count(*) FROM faults")[0])

    def reasons(self) -> list[Reason]:
        """Return the reasons to reject, the commonest first."""
        rows = self._connection.execute(
            "SELECT reason, count(*) AS rows, arg_min(source || ':' || line, (source, line)), "
            "arg_min(detail, (source, line)) FROM faults "
            "GROUP BY reason ORDER BY rows DESC, reason"
        ).fetchall()
        return [Reason(*row) for row in rows]

    def labels(self) -> Labels:
        """Count the labels of the responses kept."""
        return Labels(
            *self._row(
                "SELECT count(*), count(label), count(label) FILTER (split = 'train'), "
                "count(DISTINCT label) FILTER (split = 'train'), min(label) FILTER (split = 'train') FROM kept"
            )
        )

    def preferences(self) -> Preferences:
        """Count the preferences of the pairs kept."""
        return Preferences(
            *self._row(
                "SELECT count(*), count(preferred), count(preferred) FILTER (split = 'train'), "
                "count(*) FILTER (split = 'train' AND preferred != 0.5) FROM kept WHERE ends_with(response_id, '#a')"
            )
        )

    def dealt(self) -> Dealt:
        """Count what is dealt to the splits by group."""
        unsaid = "own_split IS NULL AND named_split IS NULL AND (pair IS NULL OR ends_with(response_id, '#a'))"
        return Dealt(*self._row(f'SELECT count(*), count(DISTINCT "group") FROM kept WHERE {unsaid}'))

    def repeated_places(self) -> dict[int, list[int]]:
        """Return file number -> lines, in order, of the rows whose id another row has."""
        places: dict[int, list[int]] = {}
        for file, line in self._connection.execute("SELECT file, line FROM repeated ORDER BY ALL").fetchall():
            places.setdefault(file, []).append(line)
        return places

    def responses(self) -> Iterator[pa.Table]:
        """Stream the responses kept, sorted by id in code-point order; beside them key, own_split, dealt and known."""
        names = ", ".join(f'"{name}"' for name in RESPONSES_SCHEMA.names)
        query = f"SELECT {names}, key, own_split, dealt, known FROM kept ORDER BY response_id"
        return self._stream(query, RESPONSES_SCHEMA)

    def rejects(self, raws: Path) -> Iterator[pa.Table]:
        """Stream the rejected rows, sorted by file and line, beside them key and known.

        Args:
            raws: spool of the rows at `repeated_places`.
        """
        self._connection.read_parquet(str(raws)).create_view("raws")
        return self._stream(f"{_REJECTS.format(own=_OWN_REJECT)} ORDER BY source, line", REJECTS_SCHEMA)

    def repeated(self) -> Iterator[pa.Table]:
        """Stream what the rows say whose id another row has; beside it key, own_split and dealt."""
        return self._stream(f"{_REPEATED.format(own=_OWN)} ORDER BY key, response_id", OWN_SCHEMA)

    def _row(self, query: str) -> tuple[int, ...]:
        rows = self._connection.execute(query).fetchall()
        return tuple(rows[0])

    def _stream(self, query: str, schema: pa.Schema) -> Iterator[pa.Table]:
        # In pieces of one size, so that files made of them do not depend on the batches that the database makes.
        return in_pieces(self._typed(query, schema), OUTPUT_ROWS)

    def _typed(self, query: str, schema: pa.Schema) -> Iterator[pa.Table]:
        for batch in self._connection.sql(query).to_arrow_reader(OUTPUT_ROWS):
            table = pa.Table.from_batches([batch])
            more = (table.field(name) for name in table.column_names[len(schema) :])
            yield table.cast(pa.schema([*schema, *more]))
