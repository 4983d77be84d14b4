"""The main job on real data, from the files as they are: `pytest -m data`, with FRACTAL_DATA naming the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.main_job import SETS, run_set

DATA = Path(os.environ.get("FRACTAL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
AT_LEAST = {"lfqa_verification": 0.85, "qa_feedback_relevance": 0.68, "multispanqa": 0.70}


@pytest.mark.data
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SETS)
def test_main_job(name):
    """`fractal run` on train, dev and test files: sentence AUC on test at least as asked, and above every prior."""
    if not (DATA / name).is_dir():
        pytest.skip(f"no data set {name} in {DATA}")
    result = run_set(name, SETS[name], DATA)
    assert result["score"] >= AT_LEAST[name]
    assert result["score"] > max(result["priors"].values())
    assert result["warm"] < 15
