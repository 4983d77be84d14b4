"""docs/method.md is true: its blocks run, print what it shows, and its names are those of the code."""

from __future__ import annotations

import re
import shutil
from typing import get_args

import pytest
from doc_blocks import ROOT, blocks, fenced, figures, python, query, read_document, shell

from fractal_core.config import RunConfig, TrainConfig
from fractal_core.config_keys import known_keys
from fractal_core.config_loading import load_config
from fractal_core.label_kinds import LabelKind
from fractal_core.tables import TABLES

METHOD = read_document("docs/method.md")
# Blocks to be written into a module of the package, with the line before which each belongs.
FUNCTION, FUNCTION_LINE, SCORER, SCORER_LINE = (
    next(block for block in blocks(METHOD, "python") if mark in block)
    for mark in ("def geometric_mean", '"geometric": Family', "class Quadratic", '"quadratic": Quadratic')
)
KEYS = ("response_id", "sentence_index")
INTO_MODULES = (FUNCTION, FUNCTION_LINE, SCORER, SCORER_LINE)


def _choices(field):
    return get_args(TrainConfig.model_fields[field].annotation)


def test_every_choice_is_explained():
    """Every label kind, aggregation, pooling, bag loss and scorer stands in a table or a sentence, in code type."""
    named = {*re.findall(r"`([^`\n]+)`", METHOD), *re.findall(r'= "(\w+)"', METHOD)}
    wanted = {*get_args(LabelKind), "min", "max", "avg", "auto"}
    for field in ("pooling", "bag_loss", "scorer"):
        wanted |= set(_choices(field))
    assert sorted(wanted - named) == []


def test_names_are_those_of_the_code():
    """Every module, configuration key and table column that the document names is there."""
    sections = "|".join(name for name in RunConfig.model_fields)
    for name in re.findall(rf"`((?:{sections})\.[a-z_]+)(?: = [^`]*)?`", METHOD):
        assert name in known_keys(RunConfig), name
    for name in re.findall(r"`(fractal_core/[\w/.]+|tests/[\w/.]+)`", METHOD):
        assert (ROOT / name).exists(), name
    for folder, section in (("priors", "Priors"), ("mil/scorers", "Scorer"), ("mil", "Pooling"), ("mil", "Bag loss")):
        text = METHOD.split(f"\n## {section}\n")[1].split("\n## ")[0]
        for name in re.findall(r"`(\w+\.py)`", text):
            assert (ROOT / "fractal_core" / folder / name).exists(), f"{folder}/{name}"
    listed = METHOD.split("| column | formula | module |")[1].split("\n\n")[0]
    names = {name for line in listed.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert names == {column.name for column in TABLES["priors"].columns} - {*KEYS, "best_chunk"}


@pytest.mark.parametrize("block", blocks(METHOD, "toml"), ids=lambda block: block.split("\n")[0])
def test_configurations(block, tmp_path):
    """Every configuration shown is one, once it has an input."""
    path = tmp_path / "fractal.toml"
    path.write_text(block, encoding="utf-8")
    config = load_config(path, [] if "path =" in block else ["input.path=answers.jsonl"])
    assert config != RunConfig.model_validate({"input": {"path": config.input.path}})


@pytest.fixture(scope="module")
def ran(sample):
    """The folder after every Python, TOML and shell block, what Python printed, and what the shell did."""
    folder, _ = sample
    found = fenced(METHOD)
    scripts = [(place, block) for place, (language, block) in enumerate(found) if language == "python"]
    scripts = [(place, block) for place, block in scripts if block not in INTO_MODULES]
    printed = python([block for _, block in scripts], folder)
    shown = [found[place + 1][1] if found[place + 1][0] == "text" else "" for place, _ in scripts]
    for block in blocks(METHOD, "toml"):
        if name := re.match(r"# (\S+\.toml)\n", block):
            (folder / name[1]).write_text(block, encoding="utf-8")
    return folder, list(zip(shown, printed, strict=True)), [shell(block, folder) for block in blocks(METHOD, "sh")]


@pytest.mark.slow
def test_python(ran):
    """Python blocks print what is shown after them."""
    _, outputs, _ = ran
    assert [printed for _, printed in outputs] == [shown for shown, _ in outputs]
    assert any(shown for shown, _ in outputs)


@pytest.mark.slow
def test_own_priors(ran):
    """The run with priors of one's own says what is shown, figures within 0.03."""
    _, _, (output,) = ran
    said = next(block for block in blocks(METHOD, "text") if "the sql prior" in block)
    _assert_close(figures(said), figures(output))
    assert re.search(r"hybrid prior from 162 gold sentence labels", output)
    assert "scores are those of: noisy and hard" in output


@pytest.mark.slow
def test_notes_of_the_sample(sample):
    """The notes that are explained are those of the main job, figures within 0.03."""
    _, output = sample
    said = next(block for block in blocks(METHOD, "text") if "round 1" in block)
    _assert_close(figures(said), figures(output))
    assert said.splitlines()[7] in output


def _assert_close(said, found):
    assert said
    assert said.keys() <= found.keys()
    assert all(abs(said[name] - found[name]) < 0.03 for name in said), (said, found)


@pytest.mark.slow
def test_queries(ran):
    """Every query is answered; the figures name the priors of one's own."""
    folder, _, _ = ran
    answers = [query(sql, folder) for sql in blocks(METHOD, "sql")]
    assert all(answers)
    assert {"column_prior", "sql_prior"} <= {row.split(",")[0] for row in answers[0]}


@pytest.mark.slow
def test_new_pooling_and_scorer(sample, tmp_path):
    """A pooling and a scorer registered as the document says train in a run."""
    folder, _ = sample
    for package in ("fractal_core", "flows", "tasks"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    mil = tmp_path / "fractal_core" / "mil"
    _insert(mil / "aggregations.py", FUNCTION + "\n\n", before="class Family(")
    _insert(mil / "aggregations.py", FUNCTION_LINE, before='    "hard": Family(')
    registry = mil / "scorers" / "registry.py"
    imports = "import torch\nfrom torch import Tensor\nfrom fractal_core.mil.scorers.parameters import Parameters\n"
    _insert(registry, f"{imports}\n{SCORER}\n\n", before="# evidence: ours.")
    _insert(registry, SCORER_LINE, before='    "evidence": Linear()')
    command = "-c 'from fractal_core.cli import main; main()' run data/factuality.toml --until pseudolabel"
    options = "--set train.scorer=quadratic --set train.pooling=geometric --set train.epochs=40"
    output = shell(f"python {command} {options}", folder, path=[tmp_path])
    found = figures(output)
    assert found["geometric"] < found["the context prior"]
    assert re.search(r"embed +reused", output)


def _insert(path, text, *, before):
    source = path.read_text(encoding="utf-8")
    assert source.count(before) == 1, (path, before)
    path.write_text(source.replace(before, text + before), encoding="utf-8")
