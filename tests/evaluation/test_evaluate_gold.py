"""Stage `evaluate` with gold labels of a file of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from evaluated import make_tables, run, with_column

from fractal_core.errors import InputError


@pytest.mark.parametrize("form", ["responses", "sentences", "csv", "lists", "joined"])
def test_gold_of_a_file(form: str, tmp_path: Path) -> None:
    """It takes the place of all gold of the input, whichever way it is written."""
    tables = make_tables()
    rows = [dict(row, gold=float(number % 2)) for number, row in enumerate(tables["sentences"].to_pylist())]
    rows[3]["gold"] = None
    path = tmp_path / ("gold.csv" if form in ("csv", "lists") else "gold.jsonl")
    if form == "csv":
        lines = [f"{r['response_id']},{r['sentence_index']},{'' if r['gold'] is None else r['gold']}" for r in rows]
        path.write_text("\n".join(["response_id,sentence_index,gold", *lines]))
    elif form == "joined":
        # What a data frame makes of both kinds of rows: every column in each, whole numbers as floats.
        wide = [{"id": None, "sentence_labels": None, **r, "sentence_index": float(r["sentence_index"])} for r in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in wide))
    elif form == "sentences":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        labels: dict[str, list[object]] = {}
        for row in rows:
            labels.setdefault(row["response_id"], []).append(row["gold"])
        if form == "lists":
            cells = [f'{name},"{json.dumps(given)}"' for name, given in labels.items()]
            path.write_text("\n".join(["id,sentence_labels", *cells]))
        else:
            path.write_text("".join(json.dumps({"id": i, "sentence_labels": g}) + "\n" for i, g in labels.items()))
    found = run(tables, gold=path)
    with_column(tables, "sentences", "gold", [row["gold"] for row in rows], pa.float64())
    assert found == run(tables)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "nobody", "sentence_labels": [1]}, r"no such response in the run \(id = nobody\)"),
        ({"sentence_labels": [1]}, r"missing id \(neither id nor response_id\)"),
        ({"id": "r1", "sentence_labels": [1] * 9}, r"not one label a sentence \(9 sentence labels for \d sentences\)"),
        ({"id": "r1", "sentence_index": 9, "gold": 1}, r"no such sentence in the run \(sentence_index = 9, r1 has"),
        (
            {"id": "r1", "sentence_index": "\u00b2", "gold": 1},
            r"no such sentence in the run \(sentence_index = \u00b2, r1",
        ),
        ({"id": "r1", "sentence_index": 0.5, "gold": 1}, r"no such sentence in the run \(sentence_index = 0.5, r1 has"),
        ({"id": "r1", "sentence_index": 0, "gold": 7}, r"sentence label outside its range \(label 0 is 7"),
        ({"id": "r1", "labels": [1]}, r"no gold labels \(neither sentence_labels nor sentence_index and gold\)"),
    ],
)
def test_gold_that_does_not_fit(row: dict[str, object], message: str, tmp_path: Path) -> None:
    """The first bad row stops the stage, with file, line and what is wrong."""
    path = tmp_path / "gold.jsonl"
    path.write_text("\n" + json.dumps(row))
    with pytest.raises(InputError, match=rf"gold.jsonl:2: {message}"):
        run(make_tables(), gold=path)


def test_gold_that_contradicts_itself(tmp_path: Path) -> None:
    """Two labels for a sentence are no gold: neither is taken for the other; no label takes none away."""
    path = tmp_path / "gold.jsonl"
    row = {"response_id": "r1", "sentence_index": 0}
    path.write_text("".join(json.dumps({**row, "gold": gold}) + "\n" for gold in (1, 1, None)))
    once = tmp_path / "once.jsonl"
    once.write_text(json.dumps({**row, "gold": 1}))
    assert run(make_tables(), gold=path) == run(make_tables(), gold=once)
    path.write_text("".join(json.dumps({**row, "gold": gold}) + "\n" for gold in (1, 0)))
    words = r"gold.jsonl:2: two gold labels for one sentence \(0 for sentence 0 of r1, and 1 before\)"
    with pytest.raises(InputError, match=words):
        run(make_tables(), gold=path)
