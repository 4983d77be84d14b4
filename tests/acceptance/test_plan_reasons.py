"""`fractal plan` says of every stage whether it runs and why, and `fractal run` does just that."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from fractal_core.cli import app
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store import code, recipe
from fractal_core.store.artefact import manifest_path

ALL = list(STAGE_NAMES)
REUSED = ("reuse", ["unchanged"])


class Planner:
    """A finished project that is not computed again, and its plans."""

    def __init__(self, runner):
        self.runner = runner
        self.folder = runner.folder

    def json(self, *options, name="fractal.toml"):
        """Return what `fractal plan --json` says: stage -> decision and reasons."""
        steps = json.loads(self.text(*options, "--json", name=name))
        return {step["stage"]: (step["decision"], step["reasons"]) for step in steps}

    def text(self, *options, name="fractal.toml"):
        """Return what `fractal plan` prints."""
        arguments = ["plan", str(self.folder / name), "--workspace", str(self.folder / "ws"), *options]
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
        assert result.exit_code == 0, result.output
        return result.stdout

    def run(self, *settings, **options):
        """Run and return what ran."""
        return self.runner.run(*settings, **options)

    def changed(self, *options):
        """Return the stages that are not simply reused."""
        return {stage: step for stage, step in self.json(*options).items() if step != REUSED}


@pytest.fixture
def plan(again):
    """Plans over a copy of the finished project."""
    return Planner(again)


@pytest.fixture(scope="module")
def shared(finished_folder, runner_in, tmp_path_factory):
    """Plans over a copy that no test changes."""
    return Planner(runner_in(shutil.copytree(finished_folder, tmp_path_factory.mktemp("plans") / "project")))


def waits(*origins):
    """A stage that runs only if what it reads comes out otherwise."""
    makers = f"{origins[0]} makes" if len(origins) == 1 else f"{', '.join(origins[:-1])} and {origins[-1]} make"
    return "wait", [f"runs unless {makers} the same output as before"]


def test_nothing_stale(shared):
    """Every stage is reused; a plan writes nothing, and says the same twice."""
    assert shared.json() == dict.fromkeys(ALL, REUSED)
    before = {path: path.stat().st_mtime_ns for path in shared.folder.rglob("*")}
    assert shared.json() == dict.fromkeys(ALL, REUSED)
    assert {path: path.stat().st_mtime_ns for path in shared.folder.rglob("*")} == before


def test_before_the_first_run(plan):
    """Everything runs, and nobody has to wonder whether it would."""
    shutil.rmtree(plan.folder / "ws")
    assert plan.json() == dict.fromkeys(ALL, ("run", ["not computed before"]))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            ["train.epochs=12"],
            {
                "train": ("run", ["train.epochs changed from 3 to 12"]),
                "pseudolabel": ("run", ["train.epochs changed from 3 to 12"]),
                "evaluate": waits("pseudolabel"),
                "export": waits("pseudolabel"),
            },
        ),
        (
            ["segment.language=de", "segment.method=newline"],
            {
                "segment": (
                    "run",
                    [
                        "segment.language changed from 'en' to 'de'",
                        "segment.method changed from 'sentencex' to 'newline'",
                    ],
                ),
                "embed": waits("segment"),
                "priors": waits("segment", "embed"),
                "train": waits("segment", "embed", "priors"),
                "pseudolabel": waits("segment", "embed", "priors", "train"),
                "evaluate": waits("segment", "priors", "pseudolabel"),
                "export": waits("segment", "priors", "pseudolabel"),
            },
        ),
        (
            ["pseudolabel.rounds=0"],
            {
                "pseudolabel": ("run", ["pseudolabel.rounds changed from 1 to 0"]),
                "evaluate": waits("pseudolabel"),
                "export": waits("pseudolabel"),
            },
        ),
    ],
)
def test_names_the_parameter_and_both_values(shared, settings, expected):
    """A stage whose own parameter changed runs whatever comes out before it; one that only reads waits for that."""
    options = [word for setting in settings for word in ("--set", setting)]
    assert shared.changed(*options) == expected


@pytest.mark.parametrize(
    ("setting", "stage", "key"),
    [
        ("input.columns.group=topic", "read", "input.columns.group changed from 'group' to 'topic'"),
        ("input.max_reject_fraction=0.5", "read", "input.max_reject_fraction changed from 0.05 to 0.5"),
        ("encoder.max_tokens=24", "embed", "encoder.max_tokens changed from 256 to 24"),
        ("priors.neighbours=3", "priors", "priors.neighbours changed from 10 to 3"),
        ("train.prior_weights.document=0.2", "train", "train.prior_weights.document changed from 0.0 to 0.2"),
        ("seed=1", "train", "seed changed from 0 to 1"),
    ],
)
def test_names_the_key_as_the_configuration_has_it(shared, setting, stage, key):
    """What a stage calls a parameter is not what a user calls it."""
    assert shared.json("--set", setting)[stage] == ("run", [key])


@pytest.fixture
def edit(monkeypatch):
    """Let modules of the package seem to be edited."""
    real = code._analyse

    def _edit(*modules):
        def analyse(source, module, modified):
            digest, reached = real(source, module, modified)
            return ("edited" if module in modules else digest), reached

        monkeypatch.setattr(code, "_analyse", analyse)

    return _edit


def test_names_the_module(shared, edit):
    """Every stage that reaches it runs, whatever the stages before it make."""
    edit("fractal_core.text.boundaries")
    runs = ("run", ["module fractal_core.text.boundaries changed"])
    waiting = {
        "priors": waits("segment", "embed"),
        "evaluate": waits("segment", "priors", "pseudolabel"),
        "export": waits("segment", "priors", "pseudolabel"),
    }
    assert shared.changed() == dict.fromkeys(("segment", "embed", "train", "pseudolabel"), runs) | waiting


def test_many_modules_are_counted(shared, edit):
    """After an upgrade five are named, and the others counted."""
    edit(*code.code_digests("fractal_core.evaluation.stage"), *code.code_digests("fractal_core.mil.train_stage"))
    decision, reasons = shared.json()["train"]
    assert decision == "run"
    assert reasons[0] == "module fractal_core changed"
    assert len(reasons) == 6
    assert re.fullmatch(r"\d\d other modules changed", reasons[-1])


def test_names_the_column(plan):
    """A stage whose inputs are known is told which column of which table is another; of many columns how many."""
    plan.runner.edit(lambda rows: rows[1]["sentence_labels"].__setitem__(0, 1 - rows[1]["sentence_labels"][0]))
    assert plan.changed()["read"] == ("run", ["input files: 1 new or changed, 1 no longer there"])
    assert plan.run(until="segment") == ["read", "segment"]
    changed = ("run", ["input sentences.gold changed"])
    assert plan.changed() == {"evaluate": changed, "export": changed}
    setting = "encoder.max_tokens=24"
    assert plan.run(setting, until="embed") == ["embed"]
    decision, reasons = plan.changed("--set", setting)["priors"]
    assert decision == "run"
    assert reasons[0] == "input embeddings.vector changed"
    assert re.fullmatch(r"input evidence changed \(\d+ columns\)", reasons[1])


def test_names_new_and_missing_files(plan):
    """Of the input, how many are new or changed, and how many no longer there; a renamed one is neither."""
    rows = plan.runner.rows()
    other = plan.folder / "other.jsonl"
    (plan.folder / "responses.jsonl").rename(other)
    assert plan.changed("--set", "input.path=other.jsonl") == {}
    (plan.folder / "more.jsonl").write_text(json.dumps({**rows[0], "id": "more"}) + "\n", encoding="utf-8")
    step = plan.changed("--set", 'input.path=["other.jsonl", "more.jsonl"]')["read"]
    assert step == ("run", ["input files: 1 new or changed, 0 no longer there"])


@pytest.mark.parametrize(
    ("version", "words"), [("99.9", "became 99.9"), (None, "became not installed")], ids=["other", "none"]
)
def test_names_the_library_and_both_versions(shared, monkeypatch, version, words):
    """The stages that use it run."""
    real = recipe.library_versions(("sentencex",))["sentencex"]
    versions = {"sentencex": version or "none"}
    monkeypatch.setattr(recipe, "_version", lambda name, known=recipe._version: versions.get(name) or known(name))
    changed = shared.changed()
    reasons = ("run", [f"sentencex {real} {words}"])
    assert {stage: changed[stage] for stage in ("segment", "embed", "train", "pseudolabel")} == dict.fromkeys(
        ("segment", "embed", "train", "pseudolabel"), reasons
    )


def test_force_and_until(shared):
    """A forced stage runs whatever comes before it, what reads from it waits; nothing is said of later stages."""
    forced = shared.changed("--force", "priors", "--force", "pseudolabel")
    assert forced == {
        "priors": ("run", ["forced"]),
        "train": waits("priors"),
        "pseudolabel": ("run", ["forced"]),
        "evaluate": waits("priors", "pseudolabel"),
        "export": waits("priors", "pseudolabel"),
    }
    assert shared.json("--until", "segment", "--force", "read") == {
        "read": ("run", ["forced"]),
        "segment": waits("read"),
    }


def _manifest(plan, stage):
    plan.run()
    return manifest_path(plan.runner.workspace, stage, plan.runner.last.artefacts[stage].fingerprint)


def test_names_what_is_damaged(plan):
    """A file of the wrong size, a manifest that is not as it was written, and one that is gone: each by its name."""
    manifest = _manifest(plan, "segment")
    content = manifest.read_bytes()
    table = plan.runner.last.artefacts["segment"].path("sentences")
    table.write_bytes(table.read_bytes()[:-1])
    size = table.stat().st_size
    assert plan.json()["segment"] == ("run", [f"{table} has {size} bytes, its manifest says {size + 1}"])
    within = table.relative_to(plan.runner.workspace.root)
    assert f" {within} has {size} bytes, its manifest says {size + 1} " in plan.text()
    manifest.write_bytes(content.replace(b"sentences", b"sentemces", 1))
    said = f"{manifest} is damaged (ValueError: its content is not what was written)"
    assert plan.json()["segment"] == ("run", [said])
    manifest.unlink()
    assert plan.json()["segment"] == ("run", ["its artefact is gone"])
    assert plan.run() == ["segment"]
    assert plan.json() == dict.fromkeys(ALL, REUSED)


def test_compares_with_the_newest_run(plan):
    """Back to a setting of an older run nothing has to run; to a third one, what changed is said from the newest."""
    plan.run("train.epochs=4")
    assert plan.changed() == {}
    reason = ("run", ["train.epochs changed from 4 to 5"])
    assert plan.changed("--set", "train.epochs=5")["train"] == reason


def test_waits_if_the_old_result_may_still_fit(plan):
    """A stage that was computed with these parameters before is not said to run before its inputs are known."""
    plan.run("train.epochs=4")
    plan.runner.edit(lambda rows: rows.reverse())
    changed = plan.changed()
    assert changed == {
        "read": ("run", ["input files: 1 new or changed, 1 no longer there"]),
        "segment": waits("read"),
        "embed": waits("read", "segment"),
        "priors": waits("read", "segment", "embed"),
        "train": waits("read", "segment", "embed", "priors"),
        "pseudolabel": waits("read", "segment", "embed", "priors", "train"),
        "evaluate": waits("read", "segment", "priors", "pseudolabel"),
        "export": waits("read", "segment", "priors", "pseudolabel"),
    }
    assert plan.run() == ["read"]


@pytest.mark.parametrize("setting", ["segment.method=newline", "priors.neighbours=3", "train.epochs=7"])
def test_a_run_does_what_was_planned(plan, setting):
    """What is planned to run runs, for that reason first of all; what is to be reused does not."""
    planned = plan.json("--set", setting)
    ran = plan.run(setting)
    assert {stage for stage, (decision, _) in planned.items() if decision == "run"} <= set(ran)
    assert [stage for stage in ran if planned[stage][0] == "reuse"] == []
    reasons = {record.stage: record.reason for record in plan.runner.last.record.stages}
    for stage, (decision, why) in planned.items():
        assert decision != "run" or reasons[stage].startswith("; ".join(why))


def test_reasons_compare_with_runs_of_the_same_file(plan):
    """Another configuration's newer run says nothing of what has changed in this one; without an own run it will do."""
    mine, other = str(plan.folder / "fractal.toml"), str(plan.folder / "other.toml")
    plan.run("segment.method=newline", until="segment", config_path=mine)
    plan.run("segment.language=de", until="segment", config_path=other)
    language = ("--set", "segment.language=fr")
    of_method = "segment.method changed from 'newline' to 'sentencex'"
    of_language = "segment.language changed from {} to 'fr'"
    assert plan.json(*language)["segment"] == ("run", [of_language.format("'en'"), of_method])
    shutil.move(mine, other)
    assert plan.json(*language, name="other.toml")["segment"] == ("run", [of_language.format("'de'")])
    shutil.move(other, plan.folder / "third.toml")
    assert plan.json(*language, name="third.toml")["segment"] == ("run", [of_language.format("'de'")])


def test_the_table_has_it_all(shared):
    """For a person: a line a stage, with the decision and the reason."""
    lines = shared.text("--set", "train.epochs=12").splitlines()
    words = [line.split(maxsplit=2)[:2] for line in lines if line.split()[:1] != ["stage"]]
    decisions = ["reuse"] * 4 + ["run"] * 2 + ["run?"] * 2
    assert words == [[stage, decision] for stage, decision in zip(ALL, decisions, strict=True)]
    assert "train.epochs changed from 3 to 12" in lines[5]
    assert "runs unless pseudolabel makes the same output as before" in lines[7]
