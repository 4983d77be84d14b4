"""One process of several that train together: it finds the others through the shared folder, then talks to them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fractal_core.appearing import appearing
from fractal_core.cluster.parcels import await_path
from fractal_core.cluster.shard import Answer, Order, compute_shard

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

_MEETING = "meeting.json"
_LOOPBACK = "127."
# Until all have been started, and until the slowest has read its part.
_PATIENCE = timedelta(minutes=30)


def compute_rank(order: Order, rank: int, world: int) -> Answer:
    """Compute the shard of a rank with torch.distributed's default group in place; how, see `compute_shard`."""
    if world == 1:
        return compute_shard(order, rank)
    with _joined(Path(order.folder), rank, world, order.device):
        return compute_shard(order, rank)


@contextmanager
def _joined(folder: Path, rank: int, world: int, device: str) -> Iterator[None]:
    """Be one of a group of processes while the context lasts: gloo on CPUs, nccl on GPUs."""
    import torch.distributed as dist

    store = _meet(folder / _MEETING, rank, world)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _meet(place: Path, rank: int, world: int) -> TCPStore:
    """Open the group's store: the first process does, at a port of its own, and tells the others where."""
    import ray
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    if rank == 0:
        host = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        store = TCPStore(host, 0, world, True, _PATIENCE, wait_for_workers=False)
        with appearing(place) as stream:
            stream.write(json.dumps({"host": host, "port": store.port}).encode())
    else:
        await_path(place, _PATIENCE.total_seconds())
        meeting = json.loads(place.read_text(encoding="utf-8"))
        host = meeting["host"]
        store = TCPStore(host, meeting["port"], world, False, _PATIENCE, wait_for_workers=False)
    if host.startswith(_LOOPBACK):
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    return store
