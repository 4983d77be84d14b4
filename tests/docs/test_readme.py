"""The README is true: its reference is the code's, and its commands and queries do what it says."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from doc_blocks import ROOT, blocks, python, query, read_document, shell

from fractal_core.cli import app
from fractal_core.config import RunConfig
from fractal_core.config_keys import known_keys
from fractal_core.initialise import write_template
from fractal_core.label_kinds import AGGREGATIONS
from fractal_core.reference import with_reference
from fractal_core.tables import TABLES

README = read_document("README.md")


def test_reference_is_current():
    """Commands, tables and configuration in the README are what the code has."""
    assert with_reference(README) == README, "run python -m fractal_core.reference"


def test_everything_is_documented():
    """Every command, table, column and key is in the README."""
    commands = [c.name or c.callback.__name__ for c in app.registered_commands]
    assert [name for name in commands if f"`fractal {name}" not in README] == []
    keys = [key for key in known_keys(RunConfig) if f"`{key}`" not in README and f"`{key}." not in README]
    assert keys == []
    assert [name for name in TABLES if f"**{name}**" not in README] == []
    assert [c.name for t in TABLES.values() for c in t.columns if f"`{c.name}`" not in README] == []


def test_label_kinds_are_those_of_the_code():
    """The table of label kinds has every kind, and the aggregations that go with it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line[:1] == "|"]
    found = {row[0].strip("`"): row[2] for row in rows if len(row) == 4 and row[0].strip("`") in AGGREGATIONS}
    every = ("min", "max", "avg", "auto")
    said = {kind: every if cell == "any" else tuple(re.findall(r"`(\w+)`", cell)) for kind, cell in found.items()}
    assert said == {kind: choices for kind, choices in AGGREGATIONS.items() if kind != "auto"}


def test_links_lead_somewhere():
    """Every relative link of README, CONTRIBUTING and docs is a file, and its heading is there."""
    for name in ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", read_document(name)):
            path = (ROOT / name).parent / target if target else ROOT / name
            assert path.exists(), f"{name} links to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
                assert anchor in slugs, f"{name} links to {target}#{anchor}"


def test_make_targets_exist():
    """The make commands of README and CONTRIBUTING are targets of the Makefile."""
    text = README + read_document("CONTRIBUTING.md")
    targets = set(re.findall(r"^(\w+):", read_document("Makefile"), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= targets


def test_rows_are_read(tmp_path):
    """A configuration can be made for each of the rows that the README shows, of the kind that it says."""
    kinds = []
    for number, row in enumerate(blocks(README, "json")):
        data = tmp_path / str(number) / "rows.jsonl"
        data.parent.mkdir()
        data.write_text(json.dumps(json.loads(row)) + "\n", encoding="utf-8")
        kinds.append('label_kind = "preference"\n' in write_template(data, None, None).read_text(encoding="utf-8"))
    assert kinds == [False, True]


@pytest.mark.slow
def test_first_result(sample):
    """The summary that the README shows is what a run prints; the sample's AUC is far above its priors."""
    _, output = sample
    shown = next(block for block in blocks(README, "text") if "responses" in block)
    counts, figures = shown.splitlines()[:2]
    assert counts in output
    auc = dict(re.findall(r"(\w+) ([0-9.]+)", next(line for line in output.splitlines() if "on test" in line)))
    said = dict(re.findall(r"(\w+) ([0-9.]+)", figures))
    assert auc.keys() == said.keys()
    assert all(abs(float(auc[name]) - float(said[name])) < 0.02 for name in said), (auc, said)
    assert float(auc["score"]) > max(float(auc[name]) for name in auc if name not in ("score", "posterior")) + 0.05


@pytest.mark.slow
def test_own_data_and_first_query(sample):
    """init, plan, run and query as the README writes them."""
    folder, _ = sample
    shutil.copy(folder / "data" / "factuality.jsonl", folder / "answers.jsonl")
    for split in ("train", "test"):
        steps = [{"completions": [{"text": "It is 2.", "rating": 1}]}]
        solution = {"question": {"problem": f"1 + 1 in {split}?"}, "label": {"steps": steps}}
        (folder / f"phase2_{split}.jsonl").write_text(json.dumps(solution) + "\n", encoding="utf-8")
    (folder / "new.jsonl").write_text(json.dumps({"response": "One. Two."}) + "\n", encoding="utf-8")
    for block in blocks(README, "sh"):
        if "fractal" in block:
            output = shell(block, folder)
            if "query" in block:
                shown = blocks(README, "text")[1].splitlines()
                assert sum(line.split("│")[1].strip() in output for line in shown) >= 3
    python(blocks(README, "python"), folder)


@pytest.mark.slow
def test_questions(sample):
    """Every query of the README is answered, with rows where the sample has any, and what it shows is what there is."""
    folder, _ = sample
    shown = [line.split("│")[2:5:2] for line in blocks(README, "text")[2].splitlines()]
    found = query(next(sql for sql in blocks(README, "sql") if "latest.contributions" in sql), folder)
    values = {row.split(",")[1]: float(row.split(",")[3]) for row in found}
    assert values == pytest.approx({feature.strip(): float(value) for feature, value in shown}, abs=0.1)
    # A second run with another setting and a bad row, so that every question has an answer.
    with (folder / "data" / "factuality.jsonl").open("a", encoding="utf-8") as file:
        file.write("not json\n")
    shell("fractal run data/factuality.toml --set train.learning_rate=0.01", folder)
    for sql in blocks(README, "sql"):
        assert query(sql, folder), sql


@pytest.mark.slow
@pytest.mark.parametrize("name", ["answers", "relevance"])
def test_other_samples(sample, name):
    """The other two configurations of the sample run and beat their best prior, on a quarter of the responses."""
    folder, _ = sample
    data = folder / "data" / f"{name}.jsonl"
    data.write_text("".join(data.read_text(encoding="utf-8").splitlines(keepends=True)[::4]), encoding="utf-8")
    output = shell(f"fractal run data/{name}.toml", folder)
    line = next(line for line in output.splitlines() if "on test" in line)
    auc = {key: float(value) for key, value in re.findall(r"(\w+) ([0-9.]+)", line)}
    assert auc["score"] > max(auc[key] for key in auc if key not in ("score", "posterior"))
