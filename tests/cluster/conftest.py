"""One Ray cluster of two worker processes for the tests of this folder; it is gone before others run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fractal_core.cluster.starting import connect


@pytest.fixture(scope="package")
def cluster():
    """The cluster; its processes can import the tests of this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        assert connect("", 2) == 2
        import ray

        yield ray
        ray.shutdown()
