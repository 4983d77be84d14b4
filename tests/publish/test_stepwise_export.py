"""Stepwise supervision: what is right, in every kind of label, and that trl trains on it."""

from __future__ import annotations

import math

import pyarrow.parquet as pq
import pytest
from made_results import MadeResults

from fractal_core.config import RunConfig
from fractal_core.errors import UsageError
from fractal_core.publish.card import write_card
from fractal_core.publish.contents import Options
from fractal_core.publish.preference import write_preferences
from fractal_core.publish.stepwise import label_rule, write_stepwise

REAL = {"aggregation": "avg", "input": {"path": "x", "label_kind": "real"}}
GRADES = {"aggregation": "max", "input": {"path": "x", "label_kind": "ordinal"}}
MEAN_OF_GRADES = {"aggregation": "avg", "input": {"path": "x", "label_kind": "ordinal"}}


def _rule(config, threshold):
    return label_rule(RunConfig.model_validate({"input": {"path": "x"}, **config}), threshold)[:2]


@pytest.mark.parametrize(
    ("config", "threshold", "expected"),
    [
        ({}, None, ("pseudolabel", 1.0)),
        ({}, 0.3, ("posterior", 0.3)),
        ({"aggregation": "avg"}, None, ("pseudolabel", 1.0)),
        (GRADES, None, ("pseudolabel", 1.0)),
        (GRADES, 1.5, ("posterior", 1.5)),
        (REAL, -2.0, ("posterior", -2.0)),
        (MEAN_OF_GRADES, 1.0, ("posterior", 1.0)),
    ],
)
def test_label_rule(config, threshold, expected):
    """The pseudo-label decides unless a posterior is asked for, in the unit of the labels."""
    assert _rule(config, threshold) == expected


@pytest.mark.parametrize("config", [REAL, MEAN_OF_GRADES])
def test_values_need_a_threshold(config):
    """Of values none is right by itself, so that the user must say from which on."""
    with pytest.raises(UsageError, match="--threshold"):
        _rule(config, None)


@pytest.mark.parametrize(
    ("config", "threshold", "words"),
    [
        ({}, -0.1, "no probability"),
        ({}, 1.1, "no probability"),
        ({}, float("nan"), "finite"),
        (REAL, -math.inf, "finite"),
    ],
)
def test_thresholds_out_of_range(config, threshold, words):
    """Where posteriors are probabilities, a threshold outside 0 to 1 is an error, and anywhere one that is infinite."""
    with pytest.raises(UsageError, match=words):
        _rule(config, threshold)


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [(None, [[True, False], [False]]), (0.8, [[True, False], [False]]), (0.2, [[True, True], [False]])],
)
def test_rows(tmp_path, threshold, labels):
    """A row a response: its prompt, sentences in order, booleans by the rule, and the numbers behind them."""
    given = [
        {"query": "q", "context": ["d"], "label": 0.0, "sentences": [("a", 0.7, 0.8), ("b", 0.6, 0.3)]},
        {"query": None, "label": None, "sentences": [("c", 0.2, 0.1)]},
    ]
    contents = write_stepwise(MadeResults(given), tmp_path, Options(threshold=threshold, with_context=True))
    rows = pq.read_table(tmp_path / "data" / "train.parquet").to_pylist()
    assert [row["prompt"] for row in rows] == ["d\n\nq", ""]
    assert [row["completions"] for row in rows] == [["a", "b"], ["c"]]
    assert [row["labels"] for row in rows] == labels
    assert [row["posteriors"] for row in rows] == [[0.8, 0.3], [0.1]]
    assert [row["scores"] for row in rows] == [[0.7, 0.6], [0.2]]
    assert [row["response_label"] for row in rows] == [0.0, None]
    assert list(contents.parts[0].columns) == list(rows[0])


@pytest.mark.slow
def test_trl_trains_on_exports(tiny_encoder, tmp_path, monkeypatch):
    """PRMTrainer takes two steps on the stepwise export and RewardTrainer on the preferences, tiny models, real trl."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from datasets import load_dataset
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer
    from trl.experimental.prm import PRMConfig, PRMTrainer

    results = MadeResults(
        [
            {
                "query": f"question {n // 2}", "label": float(n % 2), "response": f"sentence one. two {n}.",
                "sentences": [("sentence one.", 0.6, 0.9), (f"two {n}.", 0.4, 0.1 + 0.8 * (n % 2))],
            }
            for n in range(12)
        ]
    )  # fmt: skip
    for form, write in (("trl-prm", write_stepwise), ("preference", write_preferences)):
        (tmp_path / form).mkdir()
        contents = write(results, tmp_path / form, Options())
        write_card(tmp_path / form / "README.md", form, results, contents, Options(), form)
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder, eos_token="[SEP]")
    common = {
        "max_steps": 2, "per_device_train_batch_size": 2, "report_to": "none", "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1,
        "max_length": 512,
    }  # fmt: skip

    steps = load_dataset(str(tmp_path / "trl-prm"), cache_dir=str(tmp_path / "cache"))["train"]
    model = AutoModelForTokenClassification.from_pretrained(tiny_encoder, num_labels=2)
    trainer = PRMTrainer(
        model=model, args=PRMConfig(output_dir=str(tmp_path / "prm"), **common), train_dataset=steps,
        processing_class=tokenizer,
    )  # fmt: skip
    # Every step carries its label on its last token, and nothing else does.
    seen = [[label for label in row["labels"] if label != -100] for row in trainer.train_dataset]
    assert seen == [[int(label) for label in row["labels"]] for row in steps]
    trainer.train()
    assert trainer.state.global_step == 2
    assert all(entry["loss"] > 0 for entry in trainer.state.log_history if "loss" in entry)

    pairs = load_dataset(str(tmp_path / "preference"), cache_dir=str(tmp_path / "cache"))["train"]
    judge = AutoModelForSequenceClassification.from_pretrained(tiny_encoder, num_labels=1)
    rewards = RewardTrainer(
        model=judge, args=RewardConfig(output_dir=str(tmp_path / "reward"), **common), train_dataset=pairs,
        processing_class=tokenizer,
    )  # fmt: skip
    rewards.train()
    assert rewards.state.global_step == 2
