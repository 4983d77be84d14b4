"""Stage embed on small tables with a tiny encoder."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from fractal_core.encode import embedding
from fractal_core.encode.embedding import embed
from fractal_core.encode.encoder import Encoder
from fractal_core.encode.spool import text_hash
from fractal_core.errors import StoreError
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.store.stage import Runtime
from fractal_core.tables import EMBEDDINGS, EVIDENCE

DOCUMENT = "Milk has protein. A skin forms on hot milk at 50 degrees. Stir it often."
RESPONSES = [
    ("r1", "why does milk form a skin", [DOCUMENT, "Tea has no skin."], ["A skin forms on hot milk.", "Paris is big."]),
    ("r2", "why does milk form a skin", [DOCUMENT], ["Milk has protein.", "A skin forms on hot milk."]),
    ("r3", None, None, ["Nothing to compare."]),
    ("r4", "  ", ["  "], ["Nothing to compare.", "5 + 5 = 11"]),
    ("r5", "how many cats", [], ["There are 12 cats."]),
]


class FakeInputs:
    """Tables `responses` and `sentences` from a list, in batches of one row."""

    def __init__(self, rows, folder):
        self.folder = folder
        self.tables = {
            "responses": pa.table(
                {
                    "response_id": [row[0] for row in rows],
                    "query": pa.array([row[1] for row in rows], pa.string()),
                    "context": pa.array([row[2] for row in rows], pa.list_(pa.string())),
                }
            ),
            "sentences": pa.table(
                {
                    "response_id": [row[0] for row in rows for _ in row[3]],
                    "sentence_index": pa.array([i for row in rows for i in range(len(row[3]))], pa.int32()),
                    "text": [text for row in rows for text in row[3]],
                }
            ),
        }

    def batches(self, name, rows=65_536):
        return iter(self.tables[name].to_batches(max_chunksize=1))

    def rows(self, name):
        return self.tables[name].num_rows

    def sources(self, name):
        return sorted(self.folder.iterdir())

    def earlier(self):
        return []


class FakeOutputs:
    """Collects what is written."""

    def __init__(self, folder):
        self.folder = folder
        self.written = {}

    def write(self, name, rows):
        self.written.setdefault(name, []).append(rows)

    def scratch(self, name):
        return self.folder / name

    def file(self, name):
        return self.folder / name

    def reused(self, rows):
        assert rows == 0

    def table(self, name):
        return pa.concat_tables(self.written[name])


@contextmanager
def no_progress(description, total):
    """Show nothing."""
    yield SimpleNamespace(advance=lambda amount=1: None)


def run(tmp_path, folder, rows=RESPONSES, kind="transformer"):
    """Run the stage; return the tables evidence and embeddings, and the notes."""
    notes = []
    outputs = FakeOutputs(tmp_path)
    params = SimpleNamespace(model="tiny", kind=kind, max_tokens=64, chunk_tokens=16)
    embed(FakeInputs(rows, folder), params, outputs, Runtime("cpu", 512, no_progress, notes.append))
    return outputs.table("evidence"), outputs.table("embeddings"), notes


def test_schemas_are_the_declared_ones(tmp_path, tiny_encoder):
    """Both tables have exactly the columns tables.py declares."""
    evidence, embeddings, _ = run(tmp_path, tiny_encoder)
    assert evidence.schema.equals(EVIDENCE.schema)
    assert embeddings.schema.equals(EMBEDDINGS.schema_like(embeddings.schema))
    assert embeddings.schema.field("vector").type == pa.list_(pa.float32(), 32)


def test_evidence_has_the_rows_of_sentences_in_order(tmp_path, tiny_encoder):
    """One row a sentence, in the order of table sentences."""
    evidence, _, _ = run(tmp_path, tiny_encoder)
    expected = [(row[0], i) for row in RESPONSES for i in range(len(row[3]))]
    found = zip(evidence["response_id"].to_pylist(), evidence["sentence_index"].to_pylist(), strict=True)
    assert list(found) == expected


def test_null_where_there_is_nothing_to_compare(tmp_path, tiny_encoder):
    """Without context every context feature is null, without query every query feature; NaN is never written."""
    evidence, _, _ = run(tmp_path, tiny_encoder)
    rows = {(row["response_id"], row["sentence_index"]): row for row in evidence.to_pylist()}
    context = [f.name for f in FEATURES if f.against == "context"]
    query = [f.name for f in FEATURES if f.against == "query"]
    alone = [f.name for f in FEATURES if f.against == "response"]
    for key in (("r3", 0), ("r4", 0), ("r4", 1), ("r5", 0)):
        assert all(rows[key][name] is None for name in [*context, "best_chunk"])
    for key in (("r3", 0), ("r4", 0), ("r4", 1)):
        assert all(rows[key][name] is None for name in query)
    assert all(rows[key][name] is not None for key in rows for name in alone)
    assert rows["r5", 0]["cos_query"] is not None
    assert rows["r1", 0]["maxsim_last_context_mean"] is not None
    assert rows["r1", 0]["cos_chunk_best"] is not None
    assert rows["r4", 1]["equations_wrong"] == 1.0
    for name in evidence.column_names[3:]:
        assert not np.isnan(evidence[name].drop_null().to_numpy()).any()


def test_embeddings_are_the_distinct_texts(tmp_path, tiny_encoder):
    """Sentences, queries and chunks once each, sorted by hash, with the encoder's own vectors."""
    _, embeddings, _ = run(tmp_path, tiny_encoder)
    keys = embeddings["text_hash"].to_pylist()
    assert keys == sorted(set(keys))
    sentences = {text for row in RESPONSES for text in row[3]}
    queries = {row[1] for row in RESPONSES if row[1] and row[1].strip()}
    assert {text_hash(text) for text in sentences | queries} <= set(keys)
    assert set(embeddings["encoder"].to_pylist()) == {"tiny"}
    (alone,) = Encoder(tiny_encoder, 64).read(["Paris is big."])
    stored = embeddings["vector"].to_pylist()[keys.index(text_hash("Paris is big."))]
    assert np.dot(stored, alone.pooled) >= 0.9999


def test_static_encoder_fills_the_same_tables(tmp_path, tiny_encoder):
    """The rows, texts and nulls are those of the transformer, the vectors are not, and the encoder's name says so."""
    evidence, embeddings, _ = run(tmp_path, tiny_encoder, kind="static")
    other_evidence, other_embeddings, _ = run(tmp_path, tiny_encoder)
    assert evidence.schema.equals(EVIDENCE.schema)
    assert embeddings["text_hash"].equals(other_embeddings["text_hash"])
    assert set(embeddings["encoder"].to_pylist()) == {"tiny (static)"}
    assert not embeddings["vector"].equals(other_embeddings["vector"])
    for feature in FEATURES:
        one, other = evidence[feature.name], other_evidence[feature.name]
        assert one.is_null().equals(other.is_null())
        if feature.name.startswith(("cos_", "maxsim_")) and one.null_count < len(one):
            assert not one.equals(other), feature.name
        elif not feature.name.startswith(("cos_", "maxsim_")):
            assert one.equals(other)
    copied = evidence.to_pylist()[0]
    assert copied["maxsim_last_context_mean"] == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("shard_characters", [1, 10**6])
def test_each_distinct_text_is_encoded_once(tmp_path, tiny_encoder, monkeypatch, shard_characters):
    """Texts shared by responses are read once, whether the responses share a shard or not."""
    seen = []
    read = Encoder.read
    monkeypatch.setattr(Encoder, "read", lambda self, texts, advance: seen.extend(texts) or read(self, texts, advance))
    monkeypatch.setattr(embedding, "SHARD_CHARACTERS", shard_characters)
    _, embeddings, notes = run(tmp_path, tiny_encoder)
    assert len(seen) == len(set(seen)) == embeddings.num_rows
    assert notes == []


def test_texts_read_again_are_reported(tmp_path, tiny_encoder, monkeypatch):
    """Without room for recurring token vectors the result stands and the user is told."""
    monkeypatch.setattr(embedding, "SHARD_CHARACTERS", 1)
    monkeypatch.setattr(embedding, "HELD_BYTES", 0)
    _, embeddings, notes = run(tmp_path, tiny_encoder)
    assert len(set(embeddings["text_hash"].to_pylist())) == embeddings.num_rows
    assert "encoded again" in notes[0]


def test_same_input_gives_the_same_bytes(tmp_path, tiny_encoder):
    """Two runs with the same settings write equal tables."""
    first, second = (run(tmp_path, tiny_encoder) for _ in range(2))
    assert first[0].equals(second[0])
    assert first[1].equals(second[1])


def test_a_response_does_not_depend_on_the_others(tmp_path, tiny_encoder):
    """The evidence of a response is the same alone as among others: rows can be reused."""
    together, _, _ = run(tmp_path, tiny_encoder)
    alone, _, _ = run(tmp_path, tiny_encoder, RESPONSES[1:2])
    for name in together.column_names[2:]:
        expected = np.array(together[name].to_pylist()[2:4], dtype=float)
        np.testing.assert_allclose(np.array(alone[name].to_pylist(), dtype=float), expected, atol=2e-3, err_msg=name)


def test_tables_that_do_not_fit_are_reported(tmp_path, tiny_encoder):
    """A sentence of an unknown response is an error that names it."""
    inputs = FakeInputs(RESPONSES, tiny_encoder)
    inputs.tables["responses"] = inputs.tables["responses"].slice(1)
    params = SimpleNamespace(model="tiny", kind="transformer", max_tokens=64, chunk_tokens=16)
    with pytest.raises(StoreError, match="'r1'"):
        embed(inputs, params, FakeOutputs(tmp_path), Runtime("cpu", 512, no_progress, print))
