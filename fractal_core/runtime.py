"""How to compute: device, batch size, on which machines, where progress goes. None of it is part of a result."""

from __future__ import annotations

from fractal_core.config import RuntimeConfig
from fractal_core.engine import Engine, Here
from fractal_core.errors import UsageError
from fractal_core.progress import Reporter
from fractal_core.store.stage import Runtime


def make_runtime(config: RuntimeConfig, reporter: Reporter) -> Runtime:
    """Return the runtime for a configuration; device "auto" takes a GPU if there is one.

    Raises:
        UsageError: if a GPU is asked for and there is none, or a Ray cluster that cannot be had.
    """
    import torch

    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise UsageError('runtime.device = "cuda", but PyTorch sees no GPU here; use "auto" or "cpu".')
    device = "cuda" if available and config.device != "cpu" else "cpu"
    return Runtime(
        device=device,
        batch_tokens=config.batch_tokens,
        progress=reporter.progress,
        note=reporter.note,
        shelf_bytes=config.remember_mb * 1_000_000,
        engine=_engine(config),
    )


def _engine(config: RuntimeConfig) -> Engine:
    if config.runner == "local":
        return Here()
    from fractal_core.cluster.ray_engine import RayEngine
    from fractal_core.cluster.starting import check_ray

    check_ray(config.ray.address)
    return RayEngine(config.ray.address, config.ray.workers)
