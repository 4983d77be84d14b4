"""New, edited and deleted responses: what was made of the others is taken from earlier results, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clean_runs import check_clean

from fractal_core.encode import opening
from fractal_core.encode.encoder import Encoder

ROW_STAGES = ("read", "segment", "embed")


def computed(runner):
    """Rows of the row-local stages that were computed in the last run, by table; reused rows are left out."""
    artefacts = runner.last.artefacts
    rows = {stage: sum(artefacts[stage].rows_out.values()) for stage in ROW_STAGES}
    return {stage: rows[stage] - artefacts[stage].manifest.rows_reused for stage in ROW_STAGES}


def new_row(**changes):
    """A response about a new thing: two sentences, a query and a context of its own."""
    row = {
        "id": "new-1",
        "query": "what do herons eat",
        "context": ["Herons eat fish. They wade."],
        "response": "Herons eat fish. They build no cars.",
        "response_label": 0,
        "split": "train",
    }
    return {**row, **changes}


def like(runner, row):
    """The row with the columns that the project's input has."""
    columns = runner.rows()[0]
    return {name: row.get(name) for name in columns} | {"id": row["id"]}


def test_appending_computes_the_new_rows(runner, runner_in, tmp_path):
    """One row is judged; two sentences are cut, compared and embedded, with their query and one chunk of context."""
    runner.run(until="priors")
    sentences = runner.table("segment", "sentences").num_rows
    runner.edit(lambda rows: rows.append(like(runner, new_row())))
    assert runner.run(until="priors") == ["read", "segment", "embed", "priors"]
    assert runner.table("segment", "sentences").num_rows == sentences + 2
    assert computed(runner) == {"read": 1, "segment": 2, "embed": 2 + 4}
    check_clean(runner, runner_in, tmp_path / "clean")


def test_a_static_encoder_is_made_once(runner, runner_in, tmp_path, monkeypatch):
    """New responses are computed alone, with the vectors that the first run made."""
    made = []
    distil = opening.distil
    monkeypatch.setattr(opening, "distil", lambda *given: made.append(len(made)) or distil(*given))
    runner.run("encoder.kind=static", until="embed")
    runner.edit(lambda rows: rows.append(like(runner, new_row())))
    assert runner.run("encoder.kind=static", until="embed") == ["read", "segment", "embed"]
    assert (computed(runner), made) == ({"read": 1, "segment": 2, "embed": 2 + 4}, [0])
    incremental = runner.bytes()
    shutil.copytree(runner.folder, tmp_path / "clean", ignore=shutil.ignore_patterns("ws"))
    clean = runner_in(tmp_path / "clean")
    clean.run("encoder.kind=static", until="embed")
    assert (clean.bytes(), made) == (incremental, [0, 1])
    assert runner.run(until="embed") == ["embed"]
    assert runner.run("encoder.kind=static", until="embed") == []


@pytest.fixture
def texts_read(monkeypatch):
    """The texts that the encoder itself has read, in order."""
    texts = []
    read = Encoder.read
    monkeypatch.setattr(Encoder, "read", lambda self, some, advance: texts.extend(some) or read(self, some, advance))
    return texts


def test_a_text_is_read_by_the_encoder_once(runner, runner_in, tmp_path, texts_read):
    """A known sentence beside a new query, in this data set or another one, is not read again; nor is a document."""
    runner.run(until="priors")
    assert len(texts_read) == len(set(texts_read))
    old = runner.rows()[0]
    again = new_row(query="who says so", context=old["context"], response=f"{old['sentences'][0]} So they say.")
    runner.edit(lambda rows: rows.append(like(runner, again)))
    texts_read.clear()
    runner.run(until="priors")
    assert sorted(texts_read) == ["So they say.", "who says so"]
    assert computed(runner)["embed"] == 2 + 2
    other = [like(runner, {**row, "id": f"other-{row['id']}", "query": "who says so"}) for row in runner.rows()[:6]]
    runner.give(other)
    texts_read.clear()
    runner.run(until="priors")
    assert texts_read == []
    check_clean(runner, runner_in, tmp_path / "clean")


def test_what_was_remembered_may_be_lost(runner, runner_in, tmp_path, texts_read):
    """Without the shelf, or with one that is damaged, texts are read again, and the result is the same."""
    runner.run(until="embed")
    first = list(texts_read)
    old = runner.rows()[0]
    for number, spoil in enumerate((Path.unlink, lambda path: path.write_bytes(b"no database" * 999))):
        spoil(runner.workspace.root / "shelf.sqlite")
        response = f"{old['sentences'][0]} New {number}."
        runner.edit(lambda rows, n=number, text=response: rows.append(like(runner, new_row(id=f"n{n}", response=text))))
        texts_read.clear()
        runner.run(until="priors")
        assert set(texts_read) & set(first) == {old["sentences"][0]}
    texts_read.clear()
    assert runner.run(until="priors", force=("embed",)) == ["embed"]
    assert set(first) <= set(texts_read)
    check_clean(runner, runner_in, tmp_path / "clean")


def test_rows_before_and_between_are_found_too(runner, runner_in, tmp_path):
    """Where the new response sorts does not matter, nor whether there are many."""
    runner.run(until="priors")
    first, second = (like(runner, new_row(id=name, query=name)) for name in ("!first", "m-middle"))
    runner.edit(lambda rows: rows.extend([second, first]))
    runner.run(until="priors")
    assert computed(runner) == {"read": 2, "segment": 4, "embed": 4 + 5}
    check_clean(runner, runner_in, tmp_path / "clean")


def test_an_edit_computes_its_own_rows(runner, runner_in, tmp_path):
    """One response gets another last sentence: its rows are computed again, and nothing else."""
    runner.run(until="priors")
    length = []

    def change(rows):
        rows[0]["response"] = rows[0]["response"] + " A heron was seen."
        for name in ("spans", "sentence_labels", "sentences"):
            rows[0].pop(name, None)
        length.append(rows[0]["id"])

    runner.edit(change)
    runner.run(until="priors")
    owners = runner.table("segment", "sentences").column("response_id").to_pylist()
    assert computed(runner)["read"] == 1
    assert computed(runner)["segment"] == owners.count(length[0])
    evidence = owners.count(length[0])
    assert evidence < computed(runner)["embed"] < evidence + 20
    check_clean(runner, runner_in, tmp_path / "clean")


def test_a_deleted_response_is_gone_everywhere(runner, runner_in, tmp_path):
    """Nothing is computed, and no table of the run knows the response or a text that only it had."""
    runner.edit(lambda rows: rows.append(like(runner, new_row())))
    runner.run(until="priors")
    runner.edit(lambda rows: rows.pop())
    runner.run(until="priors")
    assert computed(runner) == {"read": 0, "segment": 0, "embed": 0}
    for stage, table in (("read", "responses"), ("segment", "sentences"), ("embed", "evidence"), ("priors", "priors")):
        assert "new-1" not in runner.table(stage, table).column("response_id").to_pylist()
    check_clean(runner, runner_in, tmp_path / "clean")


def test_a_renamed_response_keeps_what_was_made_of_it(runner):
    """Its row is judged anew; sentences and vectors are found by what they are made from, not by its id."""
    runner.run(until="embed")
    runner.edit(lambda rows: rows[3].update(id="renamed"))
    assert runner.run(until="embed") == ["read", "segment", "embed"]
    assert computed(runner) == {"read": 1, "segment": 0, "embed": 0}
    assert "renamed" in runner.table("embed", "evidence").column("response_id").to_pylist()


def test_another_data_set_of_the_workspace_shares_rows(runner, project):
    """A second input with half of the responses, and one new one, computes the new one."""
    runner.run(until="embed")
    kept = runner.rows()[::2]
    runner.give([*kept, like(runner, new_row())])
    runner.run(until="embed")
    assert computed(runner) == {"read": 1, "segment": 2, "embed": 6}


def test_other_parameters_share_nothing(runner):
    """Rows made with another setting are other rows."""
    runner.run(until="embed")
    runner.run("encoder.max_tokens=24", until="embed")
    assert computed(runner)["embed"] == sum(runner.last.artefacts["embed"].rows_out.values())


def test_force_computes_all(runner):
    """Who forces a stage does not want what was made before."""
    runner.run(until="embed")
    assert runner.run(until="embed", force=("embed",)) == ["embed"]
    assert runner.last.artefacts["embed"].manifest.rows_reused == 0


def flip_bit(path):
    """Change one bit in the middle of a file, and so when it was written."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip_bit, Path.unlink])
@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("read", "responses"), ("read", "keys.parquet"), ("read", "repeated.parquet"),
        ("embed", "evidence"), ("embed", "embeddings"), ("embed", "keys.parquet"),
    ],
)  # fmt: skip
def test_damaged_earlier_results_are_not_used(runner, stage, name, damage):
    """Rows come from whole artefacts alone."""
    runner.run("runtime.remember_mb=0", until=stage)
    damage(runner.last.artefacts[stage].path(name))
    runner.edit(lambda rows: rows.append(like(runner, new_row())))
    runner.run("runtime.remember_mb=0", until=stage)
    assert runner.last.artefacts[stage].manifest.rows_reused == 0


@pytest.mark.parametrize("stage", ROW_STAGES)
def test_the_record_says_how_many_rows_were_computed(runner, stage):
    """Column rows_computed of table stages: all rows, then the new ones, then none."""
    runner.run(until="embed")
    rows = sum(runner.last.artefacts[stage].rows_out.values())
    assert record(runner, stage).rows_computed == rows
    runner.edit(lambda rows: rows.append(like(runner, new_row())))
    runner.run(until="embed")
    assert record(runner, stage).rows_computed == computed(runner)[stage] < rows
    runner.run(until="embed")
    assert record(runner, stage).rows_computed == 0


def record(runner, stage):
    """What the last run says of a stage."""
    return next(record for record in runner.last.record.stages if record.stage == stage)
