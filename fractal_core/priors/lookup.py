"""How neighbours are looked up: exactly, or among the leading sentences in a graph; and what need not be looked up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fractal_core.priors.base import leading
from fractal_core.priors.index import build_index, is_exact
from fractal_core.priors.known_neighbours import (
    COMPARED_FILE,
    Compared,
    Known,
    base_digest,
    find_known,
    nothing_compared,
    nothing_known,
    save_compared,
    vector_digests,
)
from fractal_core.priors.neighbours import nearest_sentences

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from fractal_core.priors.apart import Apart
    from fractal_core.priors.sentences import Sentences
    from fractal_core.stage_params import PriorsParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime


def find_neighbours(
    sentences: Sentences,
    ids: pa.Array[Any],
    params: PriorsParams,
    inputs: Inputs,
    outputs: Outputs,
    runtime: Runtime,
    apart: Apart | None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Find each sentence's nearest sentences among the other responses, and keep what a later run needs of this one.

    Args:
        sentences: N of them, with texts numbered in the order of their first appearance.
        ids: [N] from `sentence_ids`.
        params: how many are wanted (K), and the kind of index.
        inputs: what earlier runs found is in there.
        outputs: takes `COMPARED_FILE` and the recall of an approximate index.
        runtime: is told about that as well.
        apart: other processes that search, if there are any.

    Returns:
        [N, K] int32 sentences and [N, K] float32 cosines, see `nearest_sentences`.
    """
    count, vectors = params.neighbours, sentences.vectors
    if count == 0 or len(ids) == 0:
        save_compared(nothing_compared(), outputs.file(COMPARED_FILE))
        nothing = nothing_known(len(ids), count)
        return nothing.rows, nothing.similarities
    exactly = is_exact(params.index, len(vectors), runtime.device)
    base = None if exactly else leading(sentences)
    compared = Compared(vector_digests(sentences))
    many = len(base.text) if base else 0
    if base and many:
        compared = replace(compared, base=base_digest(ids[:many], compared.digests[:many], base.text))
    known, earlier = find_known(inputs.earlier(), ids, compared, count)
    if base and not known.settled[:many].all():
        known, summary, figures = _among_leading(base, len(ids), count, runtime, apart)
    else:
        summary, figures = earlier.summary, earlier.figures
    save_compared(replace(compared, summary=summary, figures=figures), outputs.file(COMPARED_FILE))
    for name, value in figures.items():
        outputs.figure(name, value)
    if summary:
        runtime.note(summary)
    index = build_index(vectors, "flat", device=runtime.device)
    settle = apart.settling(sentences, count, index) if apart else None
    with runtime.progress("neighbours", len(ids)) as progress:
        return nearest_sentences(sentences, count, index, progress.advance, settle, known)


def _among_leading(
    base: Sentences, size: int, count: int, runtime: Runtime, apart: Apart | None
) -> tuple[Known, str, Mapping[str, float]]:
    """Return the neighbours that the leading ones of so many sentences have among themselves, and about the graph."""
    with runtime.progress("index", len(base.vectors)) as progress:
        graph = build_index(base.vectors, "hnsw", count, device=runtime.device, advance=progress.advance)
    settle = apart.settling(base, count, graph) if apart else None
    known, many = nothing_known(size, count), len(base.text)
    with runtime.progress("neighbours (leading)", many) as progress:
        known.rows[:many], known.similarities[:many] = nearest_sentences(base, count, graph, progress.advance, settle)
    known.settled[:many] = True
    figures = {name: round(value, 4) for name, value in graph.figures.items()}
    return replace(known, fresh=np.arange(many, size)), graph.summary, figures
