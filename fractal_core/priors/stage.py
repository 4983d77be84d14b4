"""Stage `priors`: what is known about each sentence before any label is seen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fractal_core.errors import InputError, StoreError
from fractal_core.priors.apart import Apart
from fractal_core.priors.column import column_prior
from fractal_core.priors.correlation import response_correlation
from fractal_core.priors.evidence_prior import EvidenceStandardiser, comparisons, feature_matrix
from fractal_core.priors.known_neighbours import sentence_ids
from fractal_core.priors.lookup import find_neighbours
from fractal_core.priors.sentences import Sentences
from fractal_core.priors.similarity import similarity_prior
from fractal_core.priors.sql_prior import sql_prior
from fractal_core.priors.vectors import distinct, text_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.stage_params import PriorsParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime

KEYS = ("response_id", "sentence_index")
FAMILIES = ("context", "query")
DOCUMENT_COSINE, QUERY_COSINE = "cos_chunk_best", "cos_query"
BLOCK_NEIGHBOURS = 1_000_000


def priors(inputs: Inputs, params: PriorsParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write table `priors`: similarities, evidence priors, correlation, the user's own priors, and neighbours.

    Reads tables responses, sentences, embeddings and evidence. Label-free; the evidence is standardised on the
    sentences of train responses, so nothing of dev or test shapes the prior. The user's own priors are the numbers of
    column `prior` of the input (`priors.column`) and those of a query (`priors.sql`) over the tables this stage reads
    and the priors computed before it, as table `priors`.

    Raises:
        InputError: the numbers given with a response do not fit its sentences, or none are given.
        QueryError: the query fails or does not give a number a sentence.
        StoreError: the tables do not fit together, or FAISS is not installed and neighbours are asked for.
    """
    sentences, evidence = inputs.table("sentences"), inputs.table("evidence")
    if not all(sentences.column(key).equals(evidence.column(key)) for key in KEYS):
        message = (
            f"Tables sentences ({sentences.num_rows} rows) and evidence ({evidence.num_rows} rows) do not hold the "
            f"same sentences in the same order; run again with --force embed."
        )
        raise StoreError(message)
    response = _response_numbers(sentences)
    texts, text = distinct(sentences.column("text"))
    file = outputs.scratch("vectors.npy").resolve()
    compared = Sentences(text_vectors(texts, inputs.batches("embeddings"), file), text, response)
    unknown = np.full(len(text), np.nan, dtype=np.float32)
    apart = Apart(compared, file, runtime, outputs.scratch) if runtime.engine.apart else None
    if apart is None:
        file.unlink(missing_ok=True)  # It stays for as long as it is mapped, and no killed run leaves it.

    columns = {
        "document_similarity": similarity_prior(evidence.column(DOCUMENT_COSINE).to_numpy()),
        "query_similarity": similarity_prior(evidence.column(QUERY_COSINE).to_numpy()),
        **_evidence_priors(inputs, evidence, runtime),
        "response_correlation": apart.correlation() if apart else response_correlation(compared),
        "column_prior": _column_prior(inputs, sentences, runtime) if params.column else unknown,
    }
    table = sentences.select(list(KEYS))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, from_pandas=True))
    by_query = _sql_prior(params.sql, inputs, table, runtime) if params.sql.strip() else unknown
    table = table.append_column("sql_prior", pa.array(by_query, from_pandas=True))
    table = table.append_column("best_chunk", evidence.column("best_chunk"))
    ids = sentence_ids(table.column("response_id"), table.column("sentence_index"))
    neighbours, cosines = find_neighbours(compared, ids, params, inputs, outputs, runtime, apart)
    _write(table, ids, neighbours, cosines, outputs)


def _response_numbers(sentences: pa.Table) -> NDArray[np.int64]:
    """Number the responses from 0 in row order."""
    number = distinct(sentences.column("response_id"))[1]
    if (np.diff(number) < 0).any():
        message = (
            "Table sentences has sentences of one response in more than one place, not in consecutive rows; "
            "run again with --force segment."
        )
        raise StoreError(message)
    return number


def _evidence_priors(inputs: Inputs, evidence: pa.Table, runtime: Runtime) -> dict[str, NDArray[np.float32]]:
    responses = inputs.table("responses")
    train = responses.filter(pc.equal(responses.column("split"), pa.scalar("train"))).column("response_id")
    rows = pc.is_in(evidence.column("response_id"), value_set=train).to_numpy().astype(np.bool_)
    names = [name for name in evidence.column_names if name not in (*KEYS, "best_chunk")]
    features = feature_matrix(evidence, names)
    standardiser = EvidenceStandardiser.fit(features, names, rows)
    if not (standardiser.used & (standardiser.sign != 0)).any():
        runtime.note(
            f"no evidence feature with a known sign varies over the {int(rows.sum()):,} train sentences, "
            f"so context_evidence and query_evidence are null"
        )
    against = comparisons(names)
    return {f"{family}_evidence": standardiser.apply(features, against == family) for family in FAMILIES}


def _column_prior(inputs: Inputs, sentences: pa.Table, runtime: Runtime) -> NDArray[np.float32]:
    responses = inputs.table("responses")
    ids = responses.column("response_id")
    owner = pc.index_in(sentences.column("response_id"), value_set=ids.combine_chunks()).to_numpy().astype(np.int64)
    position = sentences.column("sentence_index").to_numpy().astype(np.int64)
    values = column_prior(responses.column("prior"), ids, owner, position)
    if len(values) and not np.isfinite(values).any():
        message = (
            f"priors.column = true, but none of {responses.num_rows:,} responses has a number in the column that "
            f"[input.columns] prior names: fill it in, or set priors.column = false."
        )
        raise InputError(message)
    _note_coverage("priors.column", values, runtime)
    return values


def _sql_prior(sql: str, inputs: Inputs, computed: pa.Table, runtime: Runtime) -> NDArray[np.float32]:
    read = ("responses", "sentences", "embeddings", "evidence")
    tables = {name: partial(inputs.table, name) for name in read}
    values = sql_prior(sql, {**tables, "priors": lambda: computed}, computed.select(list(KEYS)))
    _note_coverage("priors.sql", values, runtime)
    return values


def _note_coverage(source: str, values: NDArray[np.float32], runtime: Runtime) -> None:
    known = int(np.isfinite(values).sum())
    if known < len(values):
        runtime.note(f"{source} gives {known:,} of {len(values):,} sentences a prior")


def _write(
    table: pa.Table,
    ids: pa.Array[Any],
    neighbours: NDArray[np.int32],
    cosines: NDArray[np.float32],
    outputs: Outputs,
) -> None:
    """Write the table in blocks, so that the ids of neighbours are text for one block at a time."""
    step = max(1, BLOCK_NEIGHBOURS // max(neighbours.shape[1], 1))
    for low in range(0, max(table.num_rows, 1), step):
        rows, values = neighbours[low : low + step], cosines[low : low + step]
        real = rows >= 0
        starts = pa.array(np.append(0, np.cumsum(real.sum(axis=1))), pa.int32())
        names = ids.take(pa.array(rows[real], pa.int32())).cast(pa.string())
        block = table.slice(low, step)
        block = block.append_column("neighbour_ids", pa.ListArray.from_arrays(starts, names))
        block = block.append_column(
            "neighbour_similarities", pa.ListArray.from_arrays(starts, pa.array(values[real], pa.float32()))
        )
        outputs.write("priors", block)
