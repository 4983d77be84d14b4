"""Keys of the user's own priors."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fractal_core.config import RunConfig

ON = {"column": True, "sql": "SELECT 1", "hybrid": True}


@pytest.mark.parametrize("name", ON)
def test_a_weight_needs_its_prior(name: str) -> None:
    """A prior term with a weight but no prior is an error that names both keys; with the prior it is none."""
    raw = {"input": {"path": "x.jsonl"}, "train": {"prior_weights": {name: 0.25}}}
    with pytest.raises(ValidationError, match=rf"train.prior_weights.{name} = 0.25 needs priors.{name}"):
        RunConfig.model_validate(raw)
    config = RunConfig.model_validate({**raw, "priors": {name: ON[name]}})
    assert getattr(config.train.prior_weights, name) == 0.25


def test_own_priors_are_off() -> None:
    """By default nothing of the user's own is used, so gold labels and given numbers cannot matter."""
    priors = RunConfig.model_validate({"input": {"path": "x.jsonl"}}).priors
    assert (priors.column, priors.sql, priors.hybrid) == (False, "", False)


def test_an_index_that_is_gone_says_what_takes_its_place() -> None:
    """A configuration from before is told what to write."""
    with pytest.raises(ValidationError, match='no index "ivf" any more; take "hnsw"'):
        RunConfig.model_validate({"input": {"path": "x.jsonl"}, "priors": {"index": "ivf"}})


def test_finetuning_takes_no_weight() -> None:
    """A weight that would do nothing is an error; without one the encoder can be trained."""
    raw = {"input": {"path": "x.jsonl"}, "train": {"scorer": "finetune", "prior_weights": {"query": 0.1}}}
    with pytest.raises(ValidationError, match=r'prior_weights.query = 0.1 has no effect with scorer = "finetune"'):
        RunConfig.model_validate(raw)
    raw["train"]["prior_weights"]["query"] = 0.0
    assert RunConfig.model_validate(raw).train.scorer == "finetune"
