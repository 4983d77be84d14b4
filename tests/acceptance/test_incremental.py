"""Re-run only what changed: exact lists of what ran."""

from __future__ import annotations

import pytest

from fractal_core.pipeline import STAGE_NAMES

ALL = list(STAGE_NAMES)


def test_first_run_computes_all_and_second_nothing(runner):
    """Everything once, then nothing."""
    assert runner.run() == ALL
    assert runner.run() == []


def test_gold_label_changes_only_the_figures(again):
    """Nothing but the evaluation and the export reads gold labels: no score can depend on them."""
    again.edit(lambda rows: rows[1]["sentence_labels"].__setitem__(0, 1 - rows[1]["sentence_labels"][0]))
    assert again.run() == ["read", "segment", "evaluate", "export"]


def test_response_label_does_not_touch_the_text_stages(again):
    """A changed response label re-trains, but nothing is segmented, embedded or compared again."""
    again.edit(lambda rows: rows[0].__setitem__("response_label", 1 - rows[0]["response_label"]))
    assert again.run() == ["read", "train", "pseudolabel", "evaluate", "export"]


def test_until_stops_and_the_rest_goes_on_later(runner):
    """--until runs a prefix; a later run only the rest."""
    assert runner.run(until="priors") == ALL[:4]
    assert runner.run() == ALL[4:]


def test_failed_run_keeps_finished_stages(runner, monkeypatch):
    """A stage that fails leaves what came before; the record says failed and why."""
    from fractal_core.mil import train_stage

    with monkeypatch.context() as patch:
        patch.setattr(train_stage, "learn", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.run()
    assert runner.last.record.state == "failed"
    assert "ZeroDivisionError" in (runner.last.record.error or "")
    assert runner.run() == ALL[4:]
