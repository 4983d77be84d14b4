"""Exact and approximate search for the nearest vectors by inner product, with FAISS, on the CPU or a GPU.

On a GPU that the installed FAISS cannot use (its usual package is for CPUs) PyTorch searches, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from fractal_core.errors import StoreError
from fractal_core.priors.large_pages import in_large_pages
from fractal_core.priors.recall import Sample
from fractal_core.priors.similarity import SIMILARITY_ERROR
from fractal_core.priors.torch_search import tiled_search

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fractal_core.priors.nearest import Found, Nearest

FLAT_LIMIT = 100_000
SEED = 20_240_404
LINKS = 32
"""Links of a vector in each layer of the graph; twice as many in the lowest."""
_LINK_BYTES = 4
CANDIDATES_WHILE_BUILDING = 40
VECTORS_AT_ONCE = 8_192
"""Taken into the graph; among them the order is FAISS's."""
CANDIDATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Of a search: as many are followed as the recall on a sample asks for."""
TARGET_RECALL = 0.95
TUNING, MEASURING = 512, 1_000
"""Texts of the two samples."""
LEAST_DEPTH = 10
"""Recall is that of so many nearest, or of more if more are wanted."""
HALF_ERROR = 5e-4
"""The same bound as SIMILARITY_ERROR where one of the vectors is held in float16: that rounds by at most 2^-11."""


@dataclass(frozen=True)
class Index:
    """A searchable set of vectors.

    Attributes:
        size: number of vectors.
        exact: whether a search finds the true nearest vectors (HNSW may miss some).
        search: finds them.
        summary: a clause for the user, empty if there is nothing to say.
        figures: what was measured: recall@10, say, the share of the true ten nearest that a sample of searches found.
        error: bound on how far the inner products are from the exact ones, for vectors of length 1.
        graph: the FAISS index that `save_index` writes; None if it is exact.
    """

    size: int
    exact: bool
    search: Nearest
    summary: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    error: float = SIMILARITY_ERROR
    graph: Any = None


def is_exact(kind: str, size: int, device: str, flat_limit: int = FLAT_LIMIT) -> bool:
    """Return whether an index of a kind over so many vectors, see `build_index`, finds the true nearest ones."""
    return not (kind == "hnsw" or (kind == "auto" and device != "cuda" and size > flat_limit))


def build_index(
    vectors: NDArray[np.float32],
    kind: str,
    count: int = LEAST_DEPTH,
    *,
    device: str,
    flat_limit: int = FLAT_LIMIT,
    advance: Callable[[int], None] = lambda vectors: None,
) -> Index:
    """Build the index over distinct vectors.

    Args:
        vectors: [T, D] float32 of length 1, C-contiguous, may be memory-mapped: a flat index on the CPU copies nothing.
        kind: "flat" is exact, "hnsw" approximate and faster, "auto" is flat up to `flat_limit` vectors, and for any
            number on a GPU.
        count: how many nearest are wanted; as many candidates are followed as that takes.
        device: "cuda" searches on the GPU, but for "hnsw".
        flat_limit: most vectors for which "auto" searches exactly.
        advance: told how many vectors more are in the index.

    Raises:
        StoreError: FAISS is not installed.
    """
    faiss = load_faiss()
    if not is_exact(kind, len(vectors), device, flat_limit):
        return _hnsw(faiss, vectors, max(count, LEAST_DEPTH), advance)
    advance(len(vectors))
    if device != "cuda":
        return Index(len(vectors), True, _flat(faiss, vectors))
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return Index(len(vectors), True, faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index).search)
    return Index(len(vectors), True, tiled_search(vectors, device))


def save_index(index: Index, path: Path) -> None:
    """Write the graph of an index, for another process to search."""
    load_faiss().write_index(index.graph, str(path))


def saved_index(path: Path) -> Index:
    """Return an index whose graph was saved; it is read as it is searched."""
    faiss = load_faiss()
    graph = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    return Index(int(graph.ntotal), False, graph.search, error=HALF_ERROR, graph=graph)


def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        StoreError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        message = (
            "Neighbours need FAISS, which cannot be imported here: install the extra cpu or gpu "
            "(pip install 'fractal[cpu]'), or set priors.neighbours = 0."
        )
        raise StoreError(message) from error
    return faiss


def _flat(faiss: Any, vectors: NDArray[np.float32]) -> Nearest:
    def search(queries: NDArray[np.float32], count: int) -> Found:
        found: Found = faiss.knn(queries, vectors, count, metric=faiss.METRIC_INNER_PRODUCT)
        return found

    return search


def _hnsw(faiss: Any, vectors: NDArray[np.float32], depth: int, advance: Callable[[int], None]) -> Index:
    """Hierarchical navigable small worlds (arXiv 1603.09320), searched as widely as the recall on a sample asks for.

    The graph holds the vectors in float16: half the memory, and neighbours are put in order by the vectors themselves
    afterwards.
    """
    size, width = vectors.shape
    graph = faiss.IndexHNSWSQ(width, faiss.ScalarQuantizer.QT_fp16, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = CANDIDATES_WHILE_BUILDING
    graph.train(vectors[:1])
    # Which links are made depends on which vector is first, and threads race.
    with threadpool_limits(limits=1):
        for low in range(0, size, VECTORS_AT_ONCE):
            graph.add(vectors[low : low + VECTORS_AT_ONCE])
            # A link leads anywhere, so nearly everything that is read lies in another page.
            codes, links = faiss.downcast_index(graph.storage).codes, graph.hnsw.neighbors
            in_large_pages(int(codes.data()), codes.size())
            in_large_pages(int(links.data()), links.size() * _LINK_BYTES)
            advance(min(VECTORS_AT_ONCE, size - low))

    sample = np.random.default_rng(SEED).permutation(size)[: TUNING + MEASURING]
    exact = _flat(faiss, vectors)
    tuning, measuring = (Sample(vectors, rows, depth, exact) for rows in np.split(sample, [min(TUNING, size // 2)]))
    for graph.hnsw.efSearch in CANDIDATES:
        if tuning.recall(graph.search) >= TARGET_RECALL:
            break
    if len(measuring.rows) == 0:
        return Index(size, False, graph.search, "neighbours come from an HNSW index", {}, HALF_ERROR, graph)
    recall = measuring.recall(graph.search)
    summary = (
        f"neighbours come from an HNSW index (the best {graph.hnsw.efSearch} followed) with recall@{depth} of "
        f"{recall:.3f}, measured against exact search on {len(measuring.rows):,} of {size:,} distinct sentences"
    )
    if recall < TARGET_RECALL:
        summary += '; set priors.index = "flat" for exact neighbours'
    return Index(size, False, graph.search, summary, {f"recall@{depth}": recall}, HALF_ERROR, graph)
