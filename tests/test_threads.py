"""One thread for as long as it is asked for."""

from __future__ import annotations

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from fractal_core import threads
from fractal_core.threads import one_thread


def counts():
    """Return PyTorch's number of threads, and those of the libraries for matrix products."""
    found = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    return torch.get_num_threads(), found


@pytest.fixture
def two():
    """Two threads everywhere, for the length of a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(limits=2, user_api="blas"):
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two")
def test_the_innermost_end_ends_nothing():
    """One thread inside, once and twice and after an error; as many as before at the end, and one the next time."""
    assert counts() == (2, {2})
    for _ in range(2):
        with one_thread():
            with one_thread():
                assert counts() == (1, {1})
            assert counts() == (1, {1})
            with pytest.raises(KeyError), one_thread():
                raise KeyError
            assert counts() == (1, {1})
        assert counts() == (2, {2})


def test_libraries_are_looked_for_once(monkeypatch):
    """Not again inside, where nothing is left to limit: parts of a stage ask for it many times."""
    asked = []

    def limits(**options):
        asked.append(options)
        return threadpool_limits(**options)

    monkeypatch.setattr(threads, "threadpool_limits", limits)
    with one_thread(), one_thread(), one_thread():
        pass
    assert asked == [{"limits": 1, "user_api": "blas"}]
