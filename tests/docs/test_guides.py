"""The guides are true: their commands, queries, configurations and Python do what they say."""

from __future__ import annotations

import re
import shutil

import pytest
from convert.made_files import (
    judged,
    passage,
    question,
    rows_and_bad,
    solution,
    step,
    write_json,
    write_lines,
    write_table,
)
from doc_blocks import blocks, fenced, python, query, read_document, shell

from fractal_core.config import RunConfig
from fractal_core.config_loading import load_config
from fractal_core.convert.formats import FORMATS

NAMES = ("python", "results", "choosing", "gpu", "cluster")
PYTHON, RESULTS, CHOOSING, GPU, CLUSTER = (read_document(f"docs/{name}.md") for name in NAMES)


@pytest.mark.slow
def test_python_prints_what_is_shown(sample):
    """The blocks of docs/python.md, one after the other in one process."""
    folder, _ = sample
    found = fenced(PYTHON)
    shown = [text for (language, _), (then, text) in zip(found, found[1:], strict=False)
             if (language, then) == ("python", "text")]  # fmt: skip
    assert len(shown) == len(blocks(PYTHON, "python")) == 5
    assert python(blocks(PYTHON, "python"), folder) == shown


@pytest.mark.slow
def test_results_are_read(sample):
    """Every query of docs/results.md is answered, with rows but where nothing was rejected; its commands run."""
    folder, _ = sample
    answers = [query(sql, folder) for sql in blocks(RESULTS, "sql")]
    assert [bool(rows) for rows in answers] == ["rejects" not in sql for sql in blocks(RESULTS, "sql")]
    first, second = [shell(block, folder) for block in blocks(RESULTS, "sh")]
    assert "inherited_label" in first
    # The gold that was taken out and given back is the gold that was there.
    assert second == first


@pytest.mark.slow
def test_a_cluster_scores_the_same(sample):
    """The commands of docs/cluster.md: a run that is current starts none, and scores are the same file (`cmp`)."""
    folder, _ = sample
    printed = shell("\n".join(blocks(CLUSTER, "sh")), folder)
    assert "nothing to do" in printed.lower() or "reused" in printed
    assert printed.count("of 20 responses") == 2
    assert not blocks(CLUSTER, "python")


def made_files(folder):
    """Small files of the known formats, under the names that docs/choosing.md has."""
    for split in ("train", "test"):
        steps = [solution(f"{n} + 1 in {split}?", step(("I add.", 1)), step((f"It is {n + 1}.", 0))) for n in range(4)]
        wrong = [solution(f"{n} + 2 in {split}?", step((f"It is {n}.", -1)), reason="found_error") for n in range(4)]
        write_lines(folder / f"phase2_{split}.jsonl", [*steps, *wrong])
    for name in ("train", "valid"):
        passages = [passage(f"{name}{n}", "A *b* c .", "D e .", "F *g* .", question=f"{name} {n}") for n in range(12)]
        write_json(folder / f"{name}.json", {"data": passages})
    for name in ("train", "dev"):
        answers = [("It is old. It is big.", [("Irrelevant", "big")]), ("It is old.", [])]
        records = [question(f"What is {n} in {name}?", *answer) for n in range(3) for answer in answers]
        write_json(folder / f"{name}_feedback.json", records)
    grades = ["3_PERFECT_ANSWER", "0_NOT_RELEVANT", "2_GOOD_ANSWER", "1_TOPIC_RELEVANT_DOES_NOT_ANSWER"]
    judgements = [(str(n), f"D{n}", grades[n % 4], "") for n in range(8)]
    documents, queries = ({f"D{n}": f"Tree {n}." for n in range(8)}, {str(n): f"what is {n}" for n in range(8)})
    shutil.move(judged(folder, documents, queries, judgements)[0], folder / "judgements.tsv")


@pytest.mark.slow
def test_the_four_tasks_are_converted(tmp_path):
    """Each task of the paper from the files of its authors to a configuration of the aggregation that is said."""
    made_files(tmp_path)
    expected = {"steps": "min", "answers": "max", "relevance": "avg", "grades": "max"}
    printed = "".join(shell(block, tmp_path) for block in blocks(CHOOSING, "sh"))
    for name, aggregation in expected.items():
        assert load_config(tmp_path / f"{name}.toml").aggregation == aggregation
    assert '(label_kind = "ordinal", grades = 3)' in printed
    found = load_config(tmp_path / "grades.toml").input
    assert (found.label_kind, found.grades) == ("ordinal", 3)
    assert {word for word in FORMATS if f"convert {word}" in CHOOSING} >= {"prm800k", "multispanqa", "fira"}


def test_raw_records_are_read(tmp_path):
    """The record that is shown of each known data set is one: every format of it makes rows of it, and none is bad."""
    sets = zip(("prm800k", "multispanqa", "qa-feedback"), blocks(CHOOSING, "json"), strict=True)
    for name, record in sets:
        path = tmp_path / f"{name}.jsonl"
        path.write_text(record, encoding="utf-8")
        for each in (each for each in FORMATS if each.startswith(name)):
            made, bad = rows_and_bad(FORMATS[each].read, [path])
            assert (len(made), bad) == (6 if each.endswith("preference") else 1, []), each
    table = CHOOSING[CHOOSING.index("| judgements |") :].split("\n\n")[0].splitlines()
    files = []
    for line in table:
        name, header, row = ([*re.findall("`(.*?)`", cell)] or cell.strip() for cell in line.strip("|").split("|"))
        files.append(write_table(tmp_path / f"{name}.tsv", header, [row]))
    made, bad = rows_and_bad(FORMATS["fira"].read, files)
    assert ([row["sentence_labels"] for row in made], bad) == ([[3, 3]], [])


@pytest.mark.parametrize(
    "block", [*blocks(CHOOSING, "toml"), *blocks(GPU, "toml"), *blocks(CLUSTER, "toml")], ids=lambda block: block[:20]
)
def test_configurations(block, tmp_path):
    """Every configuration shown is one, once it has an input, and says something."""
    path = tmp_path / "fractal.toml"
    path.write_text(block, encoding="utf-8")
    config = load_config(path, [] if "path =" in block else ["input.path=answers.jsonl"])
    assert config != RunConfig.model_validate({"input": {"path": config.input.path}})
