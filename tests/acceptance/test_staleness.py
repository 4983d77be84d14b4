"""What makes a stage stale, and what does not: exact lists of what ran."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from small_data import LEAST_WORK

from flows.launch import Request, run_or_reuse
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store import recipe
from fractal_core.store.recipe import PYTHON_VERSION
from fractal_core.store.runs import list_runs

ALL = list(STAGE_NAMES)
EMBED_ON, PRIORS_ON, TRAIN_ON = ALL[2:], ALL[3:], ALL[4:]


@pytest.fixture(scope="module")
def project_of_module(finished_folder, runner_in, tmp_path_factory):
    """A runner over a copy of the finished project with the default training, for all that leave input and encoder."""
    runner = runner_in(shutil.copytree(finished_folder, tmp_path_factory.mktemp("module") / "project"))
    config = runner.folder / "fractal.toml"
    text = config.read_text(encoding="utf-8").replace(f"epochs = 3\n{LEAST_WORK}", "epochs = 20\n")
    config.write_text(text, encoding="utf-8")
    runner.run()
    return runner


def contents(folder):
    """When each file and folder was last changed, which file it is, and how large."""
    stats = {path.relative_to(folder): path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_mtime_ns, stat.st_ino, stat.st_size) for path, stat in stats.items()}


def test_unchanged_run_touches_nothing(again, reporter):
    """`fractal run` on an unchanged project: no stage, no orchestrator, and no file of the folder is written."""
    again.run()
    before = contents(again.folder)
    _, record = run_or_reuse(Request(again.folder / "fractal.toml", again.workspace.root), reporter)
    assert [stage.reused for stage in record.stages] == [True] * len(ALL)
    assert contents(again.folder) == before


def test_unchanged_stages_touch_nothing_but_the_record(again):
    """The same stage by stage, as a flow runs them: the record of the run is all that is new."""
    again.run()
    before = contents(again.workspace.root)
    assert again.run() == []
    after = contents(again.workspace.root)
    folders = {path for path in after if (again.workspace.root / path).is_dir()}
    (new,) = after.keys() - before.keys()
    assert new.parent.name == "runs"
    assert {path for path in before if before[path] != after[path]} - folders == set()


@pytest.mark.parametrize(
    ("setting", "ran"),
    [
        ("input.max_reject_fraction=0.5", ["read"]),
        ("input.dev_fraction=0.2", ["read"]),
        ("input.columns.group='topic'", ["read"]),
        ("segment.language='de'", ["segment"]),
        ("segment.method='newline'", ["segment", *EMBED_ON]),
        ("encoder.max_tokens=24", EMBED_ON),
        ("encoder.chunk_tokens=16", EMBED_ON),
        ("priors.neighbours=3", ["priors"]),
        ("train.prior_weights.neighbours=0.2", TRAIN_ON),
        ("priors.sql='SELECT response_id, sentence_index, start AS prior FROM sentences'", PRIORS_ON),
        ("train.epochs=4", TRAIN_ON),
        ("train.folds=3", TRAIN_ON),
        ("train.pooling='hard'", TRAIN_ON),
        ("train.prior_weights.document=0.2", TRAIN_ON),
        ("pseudolabel.rounds=0", ["pseudolabel"]),  # the student was not kept, so that nothing comes out otherwise
        ("seed=1", ["read", *TRAIN_ON]),
    ],
)
def test_parameter_computes_what_depends_on_it(project_of_module, setting, ran):
    """The stages whose parameter it is run, then those that read what came out otherwise; reverted, none."""
    assert project_of_module.run(setting) == ran
    assert project_of_module.run() == []


def test_default_written_out_is_no_change(project_of_module):
    """A key with the value that it has anyway."""
    assert project_of_module.run("train.folds=5", "seed=0", "segment.method='sentencex'") == []


@pytest.mark.parametrize("part", ["weights", "tokenizer"])
def test_encoder_computes_what_depends_on_it(again, tiny_encoder, tmp_path, part):
    """The same encoder in another folder computes nothing; with one weight or one piece changed, embed and after."""
    folder = shutil.copytree(tiny_encoder, tmp_path / "elsewhere" / tiny_encoder.name)
    setting = f"encoder.model={json.dumps(str(folder))}"
    assert again.run(setting) == []
    if part == "weights":
        path = folder / "model.safetensors"
        weights = load_file(path)
        weights["embeddings.word_embeddings.weight"][:, 0] += 1
        save_file(weights, path, metadata={"format": "pt"})
    else:
        path = folder / "tokenizer.json"
        path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))
        path = folder / "tokenizer_config.json"
        path.write_text(path.read_text().replace('"do_lower_case": true', '"do_lower_case": false'))
    assert again.run(setting) == EMBED_ON
    assert again.run() == []


def test_embeddings_of_the_same_text_are_of_the_new_encoder(again, tiny_encoder, tmp_path):
    """No row of the old encoder is taken over."""
    again.run()
    old = again.table("embed", "embeddings")
    folder = shutil.copytree(tiny_encoder, tmp_path / "elsewhere" / tiny_encoder.name)
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][:, 0] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    again.run(f"encoder.model={json.dumps(str(folder))}")
    new = again.table("embed", "embeddings")
    assert new.column("text_hash") == old.column("text_hash")
    pairs = zip(old.column("vector").to_pylist(), new.column("vector").to_pylist(), strict=True)
    assert [before for before, after in pairs if before == after] == []


@pytest.fixture
def installed(monkeypatch):
    """Say that other versions of libraries are installed."""
    real = recipe.version
    others = {}
    monkeypatch.setattr(recipe, "version", lambda name: others.get(name) or real(name))
    recipe._version.cache_clear()
    yield lambda **versions: (others.update(versions), recipe._version.cache_clear())
    recipe._version.cache_clear()


@pytest.mark.parametrize(
    ("library", "ran"),
    [
        ("duckdb", ["read", "priors"]),
        ("sentencex", ["segment", "embed", "train", "pseudolabel"]),
        ("tokenizers", ["embed", "train"]),
        ("torch", ["embed", "priors", "train", "pseudolabel"]),
        ("safetensors", ["embed", "train", "pseudolabel", "evaluate"]),
        ("pyarrow", ALL),
        ("prefect", []),
        ("typer", []),
    ],
)
def test_library_computes_the_stages_that_use_it(project_of_module, installed, library, ran):
    """Another version of a library: the stages that use it run, and since they make the same, nothing after them."""
    installed(**{library: "99.9"})
    assert project_of_module.run() == ran


def test_local_build_of_a_library_is_the_same_version(project_of_module, installed):
    """What follows a + is how it was built."""
    installed(torch=f"{recipe.version('torch').split('+')[0]}+cu999")
    assert project_of_module.run() == []


def test_library_that_works_otherwise_computes_what_depends_on_it(again, installed, monkeypatch):
    """A new sentencex that cuts after every word: all that reads sentences runs as well; with the old one, nothing."""
    import sentencex

    with monkeypatch.context() as patch:
        patch.setattr(sentencex, "segment", lambda language, text: [f"{word} " for word in text.split(" ")])
        installed(sentencex="99.9")
        assert again.run() == ["segment", *EMBED_ON]
    installed(sentencex="")
    assert again.run() == []


def test_another_python_computes_everything(project_of_module, monkeypatch):
    """Its tables of characters and the form of its syntax trees are others; the reason is one, not all modules."""
    monkeypatch.setattr(recipe, "PYTHON_VERSION", "3.99")
    assert project_of_module.run() == ALL
    reasons = {record.reason for record in project_of_module.last.record.stages}
    assert reasons == {f"python {PYTHON_VERSION} became 3.99"}


def test_forced_stage_that_makes_the_same_stops_the_wave(project_of_module):
    """Every forced stage is computed; what comes out is what was there, so nothing else is."""
    assert project_of_module.run(force=("segment", "train")) == ["segment", "train"]


def test_the_newest_run_is_what_was_asked_for_last(again, reporter):
    """A reverted change computes nothing, but is recorded: `latest` in SQL means these stages."""
    again.run("train.epochs=4")
    _, record = run_or_reuse(Request(again.folder / "fractal.toml", again.workspace.root), reporter)
    newest = list_runs(again.workspace)[0]
    assert newest.run_id == record.run_id
    assert newest.config["train"]["epochs"] == 3
    assert {stage.reused for stage in newest.stages} == {True}
