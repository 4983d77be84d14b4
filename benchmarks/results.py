"""The parts of RESULTS.md: each benchmark writes its own and leaves the others alone."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
DATA = Path(os.environ.get("FRACTAL_DATA", "../shared/data"))


def hardware() -> str:
    """Return when and on what a figure was measured."""
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPU cores ({_processor()}, {platform.machine()}), no GPU, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    """Return what the processor calls itself, where Linux says so."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def put(text: str, script: str, path: Path) -> None:
    """Replace a benchmark's part of a file, or add it.

    Args:
        text: Markdown.
        script: the benchmark, as in "main_job", which marks its part.
        path: the file, made if need be.
    """
    mark = f"<!-- {script.replace('_', ' ')}: written by benchmarks/{script}.py -->"
    before = path.read_text(encoding="utf-8") if path.is_file() else "# Results\n\n"
    parts = before.split(mark)
    kept = parts[0] + parts[2].lstrip("\n") if len(parts) == 3 else before
    path.write_text(f"{kept.rstrip(chr(10))}\n\n{mark}\n{text.rstrip(chr(10))}\n{mark}\n", encoding="utf-8")
