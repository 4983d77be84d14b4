"""Files that a command writes for its user: there as a whole, or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from fractal_core.interruption import heed


@contextmanager
def appearing(path: Path, wanted: Callable[[], bool] = lambda: True) -> Iterator[IO[bytes]]:
    """Open a file that takes its place when the context ends well and it is wanted; else there is none afterwards."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:12]}")
    with ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        heed()
        if wanted():
            os.replace(temporary, path)
        else:
            path.unlink(missing_ok=True)
