"""What scorers of vectors read: the texts around a sentence, put together or compared."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
import torch

from fractal_core.encode.shards import cut_document
from fractal_core.errors import StoreError
from fractal_core.mil.scorers.comparison import Comparison
from fractal_core.mil.scorers.features import Joined, affine_of, dense
from fractal_core.mil.scorers.inputs import concat_features, mlp_features
from fractal_core.mil.scorers.perceptron import Perceptron
from fractal_core.mil.scorers.registry import SCORERS
from fractal_core.mil.scorers.texts import NONE, SentenceTexts, sentence_texts

DOCUMENTS = [
    "The glacier melts in summer. It grows again in the long winter. Caves form where water runs.",
    "Bread is baked from flour. Flour is milled from wheat in the old mill near the river bank.",
]


def tables(chunk_tokens):
    """Four responses: query and context; the same context twice; a blank query and no context; null for both."""
    responses = pa.table(
        {
            "response_id": ["a", "b", "c", "d"],
            "query": ["why?", "how", "  ", None],
            "context": pa.array([DOCUMENTS, [DOCUMENTS[1], "", DOCUMENTS[1]], [], None], pa.list_(pa.string())),
        }
    )
    sentences = pa.table(
        {"response_id": ["a", "a", "b", "c", "d"], "text": ["Ice melts.", "why?", "Ice melts.", "Bread.", "Nothing."]}
    )
    chunks = [chunk.text for document in DOCUMENTS for chunk in cut_document(document, chunk_tokens)]
    random = np.random.default_rng(0)
    every = ["Ice melts.", "why?", "how", "Bread.", "Nothing.", *chunks]
    vectors = random.normal(size=(len(every), 6)).astype(np.float32)
    hashes = [blake2b(text.encode(), digest_size=16).hexdigest() for text in every]
    embeddings = pa.table(
        {"text_hash": hashes, "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 6)}
    )
    unit = {text: v / np.linalg.norm(v) for text, v in zip(every, vectors.astype(np.float64), strict=True)}
    return responses, sentences, embeddings, unit


@pytest.mark.parametrize(("count", "block"), [(1, 1), (2, 3), (3, 10_000), (9, 4)])
def test_texts_around_a_sentence(monkeypatch, count, block):
    """Own text, query and nearest chunks are those a loop over responses finds."""
    monkeypatch.setattr("fractal_core.mil.scorers.texts._PAIRS_AT_ONCE", block)
    responses, sentences, embeddings, unit = tables(16)
    found = sentence_texts(responses, sentences, embeddings.to_batches(max_chunksize=3), 16, count)
    rows = {row["response_id"]: row for row in responses.to_pylist()}
    assert len(set(found.texts)) == len(found.texts) == len(found.vectors)
    for number, sentence in enumerate(sentences.to_pylist()):
        response = rows[sentence["response_id"]]
        assert found.texts[found.sentence[number]] == sentence["text"]
        query = response["query"]
        expected = query if query and query.strip() else None
        assert (found.texts[found.query[number]] if found.query[number] != NONE else None) == expected
        chunks = [c.text for document in response["context"] or [] for c in cut_document(document, 16)]
        chunks = sorted(chunks, key=lambda text: -float(unit[text] @ unit[sentence["text"]]))[:count]
        chunks += chunks[:1] * (count - len(chunks))
        actual = [found.texts[row] for row in found.chunks[number] if row != NONE]
        assert actual == chunks
    for text, vector in zip(found.texts, found.vectors, strict=True):
        np.testing.assert_allclose(vector, unit[text], atol=1e-6)


def test_missing_embedding_is_an_error():
    """A chunk cut otherwise than it was embedded has no vector, and that is said."""
    responses, sentences, embeddings, _ = tables(16)
    with pytest.raises(StoreError, match="no row in table embeddings"):
        sentence_texts(responses, sentences, embeddings.to_batches(), 64)


def random_texts(count=40, dimensions=7, chunks=2, seed=0):
    """Random unit vectors; sentence 3 has no query and sentence 5 no context."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(60, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query, chunk = random.integers(0, 60, count), random.integers(0, 60, (count, chunks))
    query[3], chunk[5] = NONE, NONE
    return SentenceTexts([str(t) for t in range(60)], vectors, random.integers(0, 60, count), query, chunk)


def test_concatenation_is_chunk_query_sentence():
    """The parts stand in FRACTAL's order, with zeros for what is missing; each text's vector is held once."""
    texts = random_texts()
    features = concat_features(texts)
    assert features.vectors.data_ptr() == texts.vectors.ctypes.data
    assert features.shape == (40, 2, 21)
    matrix = dense(features).numpy()
    assert matrix.shape == features.shape
    assert matrix.dtype == np.float32
    for n in (0, 3, 5):
        for c in range(2):
            chunk = texts.vectors[texts.chunks[n, c]] if n != 5 else np.zeros(7)
            query = texts.vectors[texts.query[n]] if n != 3 else np.zeros(7)
            expected = np.concatenate([chunk, query, texts.vectors[texts.sentence[n]]])
            np.testing.assert_array_equal(matrix[n, c], expected.astype(np.float32))
    single = concat_features(random_texts(chunks=1))
    assert single.shape == (40, 21)
    assert dense(single[torch.tensor([7, 2])]).shape == (2, 21)


@pytest.mark.parametrize(("of_queries", "chunks"), [(60, 1), (60, 2), (3, 1)])
def test_joined_vectors_are_read_as_the_matrix_they_stand_for(monkeypatch, of_queries, chunks):
    """Logits and gradients of a perceptron, with texts that many rows have and texts that hardly two have."""
    texts = random_texts(chunks=chunks)
    texts = replace(texts, query=np.where(texts.query == NONE, NONE, texts.query % of_queries))
    joined = concat_features(replace(texts, sentence=np.arange(40)))
    monkeypatch.setattr("fractal_core.mil.scorers.features._MULTIPLIED_AT_ONCE", 4)
    monkeypatch.setattr("fractal_core.mil.scorers.features._ADDED_AT_ONCE", 3)
    scorer, prior = Perceptron((5, 3)), torch.linspace(-1, 1, 40)
    found = []
    for features in (joined, dense(joined)):
        generator = torch.Generator().manual_seed(0)
        parameters = scorer.start(2, 21, generator)
        parameters["weights"] = torch.randn(2, 3, generator=generator)
        for tensor in parameters.values():
            tensor.requires_grad_()
        logits = scorer.logits(parameters, features, prior)
        (logits * torch.linspace(1, 2, 40)).sum().backward()
        with torch.no_grad():
            again = scorer.logits(parameters, features[torch.arange(30, 40)], prior[30:])
        torch.testing.assert_close(again, logits[:, 30:])
        found.append([logits.detach(), *(tensor.grad for tensor in parameters.values())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_text_that_many_rows_have_is_multiplied_once(monkeypatch):
    """Forward and backward: as many columns as there are distinct chunks, queries and sentences."""
    texts = replace(random_texts(chunks=1), chunks=np.zeros((40, 1), np.int64), query=np.arange(40) % 3)
    columns = []

    def counted(left, right):
        columns.append(right.shape[1])
        return left @ right

    monkeypatch.setattr("fractal_core.mil.scorers.features.multiply", counted)
    weights = torch.randn(5, 21, requires_grad=True)
    rows = concat_features(replace(texts, sentence=np.arange(40)))
    affine_of(torch.zeros(5), weights, rows).sum().backward()
    assert columns == [1, 3, 40, 7, 7, 7]
    torch.testing.assert_close(weights.grad, dense(rows).sum(0).expand(5, 21))


def test_no_sentences_have_no_logits():
    """Of nothing there is nothing to say, with vectors or without."""
    for vectors in (torch.zeros(0, 4), torch.ones(2, 4)):
        nothing = Joined(vectors, torch.zeros(0, 3, dtype=torch.int64))
        parameters = SCORERS["concat"].start(2, 12, torch.Generator().manual_seed(0))
        assert SCORERS["concat"].logits(parameters, nothing, torch.zeros(0)).shape == (2, 0)
        with torch.no_grad():
            assert SCORERS["concat"].logits(parameters, nothing, torch.zeros(0)).shape == (2, 0)


def test_comparison_with_all_directions_keeps_distances():
    """With as many directions as dimensions, squared differences sum to the squared distance of the vectors."""
    texts = random_texts()
    rows = np.ones(40, dtype=np.bool_)
    comparison = Comparison.fit(texts, rows, directions=7)
    np.testing.assert_allclose(comparison.directions @ comparison.directions.T, np.eye(7), atol=1e-10)
    raw = comparison.features(texts).astype(np.float64) * comparison.scale + comparison.mean
    own = texts.vectors[texts.sentence[0]].astype(np.float64)
    clipped = np.abs(comparison.features(texts)[0]) >= 4
    assert not clipped.any()
    for block, other in ((0, texts.query[0]), (2, texts.chunks[0, 0])):
        there = texts.vectors[other].astype(np.float64)
        difference, product = raw[0, 7 * block : 7 * block + 7], raw[0, 7 * block + 7 : 7 * block + 14]
        np.testing.assert_allclose((difference**2).sum(), ((own - there) ** 2).sum(), atol=1e-5)
        centre = comparison.centre
        np.testing.assert_allclose(product.sum(), (own - centre) @ (there - centre), atol=1e-5)


def test_comparison_is_standardised_and_zero_where_there_is_nothing():
    """Fitted rows have mean 0 and deviation 1 over the sentences that have the feature; missing ones are 0."""
    texts = random_texts()
    rows = np.arange(40) < 30
    comparison = Comparison.fit(texts, rows, directions=3)
    features = comparison.features(texts)
    assert features.shape == (40, 12)
    assert not features[3, :6].any()
    assert not features[5, 6:].any()
    with_query = rows & (texts.query != NONE)
    assert np.abs(features[with_query, :6].mean(0)).max() < 0.2
    np.testing.assert_allclose(features[with_query, :6].std(0), 1, atol=0.2)
    again = Comparison.from_arrays(comparison.arrays()).features(texts)
    np.testing.assert_array_equal(again, features)
    evidence = np.ones((40, 2), dtype=np.float32)
    both = mlp_features(evidence, texts, comparison)
    np.testing.assert_array_equal(both, np.concatenate([evidence, features], axis=1))


def test_comparison_sees_its_rows_alone():
    """Sentences outside the fitted rows change neither directions nor scales."""
    texts = random_texts()
    rows = np.arange(40) < 30
    sentence = texts.sentence.copy()
    sentence[30:] = 0
    other = SentenceTexts(texts.texts, texts.vectors, sentence, texts.query, texts.chunks)
    one, two = Comparison.fit(texts, rows).arrays(), Comparison.fit(other, rows).arrays()
    assert all(np.array_equal(one[name], two[name]) for name in one)
