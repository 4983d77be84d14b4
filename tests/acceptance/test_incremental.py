"""Re-run only what changed: exact lists of what ran."""

from __future__ import annotations

import pytest

from fractal_core.config_loading import load_config
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.planning import make_plan

ALL = list(STAGE_NAMES)


def test_first_run_computes_all_and_second_nothing(runner):
    """Everything once, then nothing, and the store is not touched."""
    assert runner.run() == ALL
    before = {p: p.stat().st_mtime_ns for p in (runner.workspace.root / "artefacts").rglob("*")}
    assert runner.run() == []
    assert {p: p.stat().st_mtime_ns for p in (runner.workspace.root / "artefacts").rglob("*")} == before


def test_two_clean_runs_are_byte_identical(runner, runner_in, project, tmp_path_factory):
    """Same input, configuration and seed: every file of every artefact has the same bytes."""
    runner.run()
    first = runner.bytes()
    other = tmp_path_factory.mktemp("again")
    for name in ("responses.jsonl", "fractal.toml"):
        (other / name).write_bytes((project / name).read_bytes())
    again = runner_in(other)
    again.run()
    second = again.bytes()
    assert [name for name in first if first[name] != second.get(name)] == []


def test_training_parameter_runs_training_and_after(runner):
    """A training parameter re-runs training and what depends on it; reverting it runs nothing."""
    runner.run()
    assert runner.run("train.epochs=11") == ["train", "pseudolabel", "evaluate", "export"]
    assert runner.run() == []


def test_runtime_settings_never_invalidate(runner, tmp_path):
    """Batch size, device and the place of the export are no part of a fingerprint."""
    runner.run()
    assert runner.run("runtime.batch_tokens=512", "runtime.device=cpu", f"export.directory={tmp_path / 'out'}") == []
    assert (tmp_path / "out" / "labels.parquet").is_file()


def test_gold_label_changes_only_the_figures(runner):
    """Nothing but the evaluation and the export reads gold labels: no score can depend on them."""
    runner.run()
    runner.edit(lambda rows: rows[0]["sentence_labels"].__setitem__(0, 1 - rows[0]["sentence_labels"][0]))
    assert runner.run() == ["read", "segment", "evaluate", "export"]


def test_response_label_does_not_touch_the_text_stages(runner):
    """A changed response label re-trains, but nothing is segmented, embedded or compared again."""
    runner.run()
    runner.edit(lambda rows: rows[0].__setitem__("response_label", 1 - rows[0]["response_label"]))
    assert runner.run() == ["read", "train", "pseudolabel", "evaluate", "export"]


def test_order_and_partition_of_the_input_do_not_matter(runner):
    """The same rows in another order and in two files: read again, and found to be the same."""
    runner.run()
    path = runner.folder / "responses.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (runner.folder / "parts").mkdir()
    (runner.folder / "parts" / "b.jsonl").write_text("".join(reversed(lines[:25])), encoding="utf-8")
    (runner.folder / "parts" / "a.jsonl").write_text("".join(lines[25:]), encoding="utf-8")
    assert runner.run("input.path=parts") == ["read"]


def test_renamed_input_runs_nothing(runner):
    """A file's name is not its content."""
    runner.run()
    (runner.folder / "responses.jsonl").rename(runner.folder / "renamed.jsonl")
    assert runner.run("input.path=renamed.jsonl") == []


def test_force_runs_the_stage_and_identical_bytes_stop_the_wave(runner):
    """A forced stage is computed; since its output is the same, nothing after it is."""
    runner.run()
    assert runner.run(force=("segment",)) == ["segment"]


def test_until_stops_and_the_rest_goes_on_later(runner):
    """--until runs a prefix; a later run only the rest."""
    assert runner.run(until="priors") == ALL[:4]
    assert runner.run() == ALL[4:]


def test_plan_names_the_reason(runner):
    """The plan says what would run and names parameter and both values; computing it runs nothing."""
    runner.run()
    config = load_config(runner.folder / "fractal.toml", ["train.epochs=12"])
    plan = {step.stage: step for step in make_plan(runner.workspace, config)}
    assert [s.decision for s in plan.values()] == ["reuse"] * 4 + ["run"] + ["wait"] * 3
    assert plan["train"].reasons == ("train.epochs changed from 10 to 12",)
    assert plan["export"].reasons == ("runs unless pseudolabel make the same output as before",)
    assert {s.decision for s in make_plan(runner.workspace, load_config(runner.folder / "fractal.toml"))} == {"reuse"}


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
