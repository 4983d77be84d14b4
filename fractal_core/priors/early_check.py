"""Is `priors.sql` a query that stage priors can execute? Found out before the hours that the stages before it take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from fractal_core.priors.sql_prior import KEYS, check_sql_prior
from fractal_core.tables import TABLES

# The columns of table priors that are there before the query is executed.
COMPUTED_BEFORE = (
    "document_similarity", "query_similarity", "context_evidence", "query_evidence", "response_correlation",
    "column_prior",
)  # fmt: skip


def check_before_run(sql: str, reads: Mapping[str, Sequence[str]]) -> None:
    """Check a query against the tables as they will be, without a row.

    Args:
        sql: the query.
        reads: "stage.table" -> the columns that stage priors reads.

    Raises:
        QueryError: it would fail, or be refused, whatever is in the tables.
    """
    schemas = {key.split(".")[1]: _schema(key.split(".")[1], columns) for key, columns in reads.items()}
    check_sql_prior(sql, {**schemas, "priors": _schema("priors", (*KEYS, *COMPUTED_BEFORE))})


def _schema(table: str, columns: Sequence[str]) -> pa.Schema | None:
    """Return the schema of some columns; None if a type is not settled before the table is written (vectors)."""
    types = {column.name: column.type for column in TABLES[table].columns}
    fields = [pa.field(name, kind) for name in columns if (kind := types[name]) is not None]
    return pa.schema(fields) if len(fields) == len(columns) else None
