"""Pieces of work on several threads."""

from __future__ import annotations

import threading

import pytest
import torch

from fractal_core.side_by_side import side_by_side


@pytest.fixture(params=[1, 3])
def threads(request):
    """So many threads for torch, for the length of a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order(threads):
    """Whatever the number of threads; each piece has one to itself."""
    found = list(side_by_side(lambda piece: (piece * piece, torch.get_num_threads()), range(50)))
    assert found == [(number * number, 1) for number in range(50)]


def test_pieces_are_worked_on_at_once(threads):
    """As many as there are threads wait for each other here."""
    together = threading.Barrier(threads, timeout=30)
    assert len(list(side_by_side(lambda piece: together.wait(), range(threads)))) == threads


def test_an_error_ends_it_and_threads_are_given_back(threads):
    """The first error is raised, and torch has the threads that it had, here and in new threads."""

    def work(piece):
        if piece == 2:
            raise ValueError("two")

    with pytest.raises(ValueError, match="two"):
        list(side_by_side(work, range(5)))
    seen = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert [torch.get_num_threads(), *seen] == [threads, threads]
