"""Exact and approximate search for the nearest vectors by inner product, with FAISS, on the CPU or a GPU.

On a GPU that the installed FAISS cannot use (its usual package is for CPUs) PyTorch searches, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from fractal_core.errors import StoreError
from fractal_core.priors.torch_search import tiled_search

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Found = tuple[NDArray[np.float32], NDArray[np.int64]]

FLAT_LIMIT = 100_000
SEED = 20_240_404
TRAINING_VECTORS_A_LIST = 64
TRAINING_ROUNDS = 10
TARGET_RECALL = 0.95
DEPTH = 10
SIMILARITY_ERROR = 1e-5
"""Bound on how far a similarity computed by FAISS in float32 is from the exact one, for vectors of length 1."""
HALF_ERROR = 5e-4
"""The same where one of the two vectors is held in float16, which rounds each number by at most 2^-11 of its size."""


@dataclass(frozen=True)
class Index:
    """A searchable set of vectors.

    Attributes:
        size: number of vectors.
        exact: whether a search finds the true nearest vectors (IVF may miss some).
        search: ([Q, D] float32, count) -> [Q, count] float32 inner products in descending order, and [Q, count] int64
            vector numbers, -1 where fewer were found.
        summary: a clause for the user, empty if there is nothing to say.
        error: bound on how far the inner products are from the exact ones, for vectors of length 1.
        lists: the FAISS index with the inverted lists; None if it is exact.
    """

    size: int
    exact: bool
    search: Callable[[NDArray[np.float32], int], Found]
    summary: str = ""
    error: float = SIMILARITY_ERROR
    lists: Any = None


def build_index(vectors: NDArray[np.float32], kind: str, *, device: str, flat_limit: int = FLAT_LIMIT) -> Index:
    """Build the index over distinct vectors.

    Args:
        vectors: [T, D] float32 of length 1, C-contiguous, may be memory-mapped: a flat index on the CPU copies nothing.
        kind: "flat" is exact, "ivf" approximate and faster, "auto" is flat up to `flat_limit` vectors, and for any
            number on a GPU that FAISS cannot use.
        device: "cuda" searches on the GPU.
        flat_limit: most vectors for which "auto" searches exactly.

    Raises:
        StoreError: FAISS is not installed.
    """
    faiss = load_faiss()
    gpu = _on_gpu(faiss, device)
    if device == "cuda" and not gpu and kind != "ivf":
        return Index(len(vectors), True, tiled_search(vectors, device))
    if kind == "ivf" or (kind == "auto" and len(vectors) > flat_limit):
        return _ivf(faiss, vectors, gpu)
    return _flat(faiss, vectors, gpu)


def save_index(index: Index, path: Path) -> None:
    """Write the inverted lists of an index, for another process to search."""
    faiss = load_faiss()
    # What is on a GPU has no file format of its own.
    on_cpu = faiss.index_gpu_to_cpu if hasattr(faiss, "index_gpu_to_cpu") else lambda lists: lists
    faiss.write_index(on_cpu(index.lists), str(path))


def saved_index(path: Path, *, device: str) -> Index:
    """Return an index whose inverted lists were saved; they are read as they are searched, but for a GPU."""
    faiss = load_faiss()
    lists = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    size = int(lists.ntotal)
    if _on_gpu(faiss, device):
        lists = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, lists)
    return Index(size, False, _searching(lists), error=HALF_ERROR, lists=lists)


def _on_gpu(faiss: Any, device: str) -> bool:
    return bool(device == "cuda" and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0)


def _searching(lists: Any) -> Callable[[NDArray[np.float32], int], Found]:
    def search(queries: NDArray[np.float32], count: int) -> Found:
        with threadpool_limits(limits=1, user_api="blas"):
            found: Found = lists.search(queries, count)
        return found

    return search


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


def _flat(faiss: Any, vectors: NDArray[np.float32], gpu: bool) -> Index:
    if gpu:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return Index(len(vectors), True, faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index).search)

    def search(queries: NDArray[np.float32], count: int) -> Found:
        found: Found = faiss.knn(queries, vectors, count, metric=faiss.METRIC_INNER_PRODUCT)
        return found

    return Index(len(vectors), True, search)


def _ivf(faiss: Any, vectors: NDArray[np.float32], gpu: bool) -> Index:
    """Inverted lists around about 4 sqrt(T) centroids; as many are probed as the recall on a sample asks for.

    They hold the vectors in float16: half the memory, quicker to go through, and neighbours are put in order by the
    vectors themselves afterwards.
    """
    size, width = vectors.shape
    lists = max(1, min(int(4 * size**0.5), size // 39))  # FAISS warns below 39 training vectors a list
    half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(width), width, lists, half, product, False)
    index.cp.seed = SEED
    index.cp.niter = TRAINING_ROUNDS
    index.cp.max_points_per_centroid = TRAINING_VECTORS_A_LIST
    # k-means adds up in an order that depends on the number of threads.
    with threadpool_limits(limits=1):
        index.train(vectors)
    # Matrix products, which round by the number of threads, decide which lists a vector is nearest to.
    with threadpool_limits(limits=1, user_api="blas"):
        index.add(vectors)
    if gpu:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)

    search = _searching(index)
    exact = _flat(faiss, vectors, False)
    sample = np.random.default_rng(SEED).permutation(size)
    tuning, measuring = sample[:256], sample[-1000:]

    def recall_of(rows: NDArray[np.int64], truth: Found) -> float:
        numbers = search(vectors[rows], DEPTH + 1)[1]
        found = np.einsum("qd,qnd->qn", vectors[rows], vectors[numbers.clip(min=0)])
        return _recall(truth, (found, numbers), rows)

    truth = exact.search(vectors[tuning], min(DEPTH + 1, size))
    probes, most = min(4, lists), max(min(16, lists), lists // 4)
    index.nprobe = probes
    while probes < most and recall_of(tuning, truth) < TARGET_RECALL:
        probes = min(2 * probes, most)
        index.nprobe = probes
    recall = recall_of(measuring, exact.search(vectors[measuring], min(DEPTH + 1, size)))
    summary = (
        f"neighbours come from an IVF index ({probes} of {lists} lists searched) with recall@{DEPTH} of {recall:.3f}, "
        f"measured against exact search on {len(measuring):,} of {size:,} distinct sentences"
    )
    if recall < TARGET_RECALL:
        summary += '; set priors.index = "flat" for exact neighbours'
    return Index(size, False, search, summary, HALF_ERROR, index)


def _recall(truth: Found, found: Found, own: NDArray[np.int64]) -> float:
    """Share of the true nearest vectors that were found, the query itself left out; equals in similarity count."""
    expected, actual = (
        -np.sort(-np.where((numbers < 0) | (numbers == own[:, None]), -np.inf, similarities), axis=1)
        for similarities, numbers in (truth, found)
    )
    depth = min(DEPTH, expected.shape[1] - 1)
    if depth < 1:
        return 1.0
    hits = (actual >= expected[:, depth - 1 : depth] - SIMILARITY_ERROR).sum(axis=1)
    return float(np.minimum(hits, depth).mean() / depth)
