"""Resting the collector of cycles."""

from __future__ import annotations

import gc

import pytest

from fractal_core.encode.uncollected import uncollected


def test_collector_rests_and_goes_on():
    """It rests inside and goes on afterwards, after an error too."""
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="inside"), uncollected():
        raise ValueError("inside")
    assert gc.isenabled()


def test_a_collector_that_rested_before_stays_at_rest():
    """Whoever switched it off is not overruled."""
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
