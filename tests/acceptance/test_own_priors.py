"""Priors of the user's own make stale what depends on them, and nothing else."""

from __future__ import annotations

import pytest
from small_data import make_rows, write_project

from fractal_core.config_loading import load_config
from fractal_core.errors import InputError
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.planning import make_plan

AFTER_PRIORS = list(STAGE_NAMES)[STAGE_NAMES.index("priors") :]
AFTER_TRAIN = list(STAGE_NAMES)[STAGE_NAMES.index("train") :]
SQL = "priors.sql=SELECT response_id, sentence_index, length(text) AS prior FROM sentences"


@pytest.fixture
def project(tmp_path, tiny_encoder):
    """A smaller project than that of the other tests: what is stale does not depend on how much there is."""
    write_project(tmp_path, tiny_encoder, make_rows(24), epochs=3)
    return tmp_path


def _turn_gold(rows):
    rows[0]["sentence_labels"][0] = 1 - rows[0]["sentence_labels"][0]


def test_gold_edit_retrains_iff_hybrid_is_on(runner):
    """Turning hybrid on re-trains; then a gold edit re-trains too; off again, a gold edit changes only the figures."""
    runner.run()
    assert runner.run("priors.hybrid=true", until="pseudolabel") == ["train", "pseudolabel"]
    runner.edit(_turn_gold)
    assert runner.run("priors.hybrid=true") == ["read", "segment", *AFTER_TRAIN]
    runner.edit(lambda rows: rows[1]["sentence_labels"].__setitem__(0, None))
    assert runner.run() == ["read", "segment", "evaluate", "export"]


def test_query_is_a_parameter_of_the_priors(runner):
    """A query re-runs the priors and what comes after; white space around it and reverting it run nothing."""
    runner.run()
    assert runner.run(SQL) == AFTER_PRIORS
    table = runner.table("priors", "priors")
    lengths = [float(len(text)) for text in runner.table("segment", "sentences").column("text").to_pylist()]
    assert table.column("sql_prior").to_pylist() == lengths
    assert set(table.column("column_prior").to_pylist()) == {None}
    assert runner.run(SQL + "  ") == []
    assert runner.run() == []


def test_labels_and_gold_do_not_touch_a_query(runner):
    """Label and gold edits re-run nothing of the priors, query or not: it cannot see them."""
    runner.run(SQL)
    runner.edit(_turn_gold)
    assert runner.run(SQL) == ["read", "segment", "evaluate", "export"]
    runner.edit(lambda rows: rows[0].__setitem__("response_label", 1 - rows[0]["response_label"]))
    assert runner.run(SQL) == ["read", *AFTER_TRAIN]


def test_given_numbers_matter_iff_asked_for(runner):
    """Numbers that come with the input make nothing stale but reading, until priors.column is set."""
    runner.edit(lambda rows: [row.__setitem__("prior", [0.5] * 4) for row in rows])
    runner.run()
    runner.edit(lambda rows: rows[0].__setitem__("prior", [1, 2, None, 4]))
    assert runner.run() == ["read"]
    assert runner.run("priors.column=true") == AFTER_PRIORS
    assert runner.table("priors", "priors").column("column_prior").to_pylist()[:5] == [1.0, 2.0, None, 4.0, 0.5]
    runner.edit(lambda rows: rows[1].__setitem__("prior", 7.5))
    assert runner.run("priors.column=true") == ["read", *AFTER_PRIORS]
    assert runner.table("priors", "priors").column("column_prior").to_pylist()[4:8] == [7.5] * 4


def test_plan_names_the_query(runner):
    """The plan says that the query changed."""
    runner.run()
    plan = make_plan(runner.workspace, load_config(runner.folder / "fractal.toml", [SQL]))
    reasons = {step.stage: step.reasons for step in plan}["priors"]
    assert any(reason.startswith("priors.sql changed from '' to 'SELECT") for reason in reasons)


def _said(runner, stage="train"):
    (record,) = (record for record in runner.last.record.stages if record.stage == stage)
    return record.notes


QUICK = ("train.epochs=3", "train.folds=2")


def test_one_number_for_all_is_no_candidate(runner):
    """Numbers that are the same everywhere in train are told about and do not compete, nor do those of a query."""
    runner.edit(lambda rows: [row.__setitem__("prior", 0.5 if row["split"] == "train" else 1.0) for row in rows])
    sql = "priors.sql=SELECT response_id, sentence_index, 3 AS prior FROM sentences"
    runner.run("priors.column=true", sql, "train.prior_weights.column=0.25", *QUICK, until="train")
    notes = _said(runner)
    for prior, value, off in (("column", "0.5", "priors.column = false"), ("sql", "3", 'priors.sql = ""')):
        said = f"the {prior} prior is the same for every sentence of train, {value}: not used"
        assert [note for note in notes if note.startswith(said) and note.endswith(off)]
        assert f"the {prior} prior" not in " ".join(note for note in notes if note.startswith("held-out loss"))
    assert any(note.startswith("train.prior_weights.column = 0.25 pulls nowhere") for note in notes)


def test_hybrid_without_gold_is_told(runner):
    """priors.hybrid without a gold label in train, with a weight: one note for each, and the scores of neither."""
    runner.edit(lambda rows: [row.pop("sentence_labels") for row in rows])
    runner.run(*QUICK, until="train")
    before = runner.table("train", "scores")
    runner.run("priors.hybrid=true", "train.prior_weights.hybrid=0.6", *QUICK, until="train")
    notes = _said(runner)
    assert notes[0].startswith("priors.hybrid = true has no effect: none of ")
    assert notes[1].startswith("train.prior_weights.hybrid = 0.6 pulls nowhere")
    assert runner.table("train", "scores").equals(before)


def test_a_column_that_is_not_there_is_found_before_the_run(runner):
    """The plan of a run that asks for a column the input lacks is an error that names setting, column and columns."""
    config = load_config(runner.folder / "fractal.toml", ["priors.column=true"])
    with pytest.raises(
        InputError, match=r'priors\.column = true, but responses\.jsonl has no column "prior", only "id"'
    ):
        make_plan(runner.workspace, config)


def test_an_extreme_label_is_clipped_in_training_alone(runner):
    """Of real labels one a million: the scores stay in the range of the others, its pseudo-labels agree with it."""
    values = {}

    def change(rows):
        for row in rows:
            row["response_label"] = 1e6 if row is rows[0] else float(sum(row["sentence_labels"]))
            values[row["id"]] = row["response_label"]

    runner.give(make_rows(60))
    runner.edit(change)
    runner.run("input.label_kind=real", "aggregation=avg", *QUICK, until="pseudolabel")
    assert any("1e+06 of response r0000: in training" in note for note in _said(runner))
    rows = runner.table("pseudolabel", "pseudolabels").to_pylist()
    assert {row["agrees"] for row in rows} == {True}
    assert all(0 <= row["score"] <= 4 for row in rows)
    first = [row["pseudolabel"] for row in rows if row["response_id"] == "r0000"]
    assert sum(first) / len(first) == pytest.approx(1e6)
