"""The catalogue and the whole extraction on a real, tiny encoder."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.encode.encoder import Encoder
from fractal_core.evidence import alone, lexical_context, lexical_query, similarity, token_features
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.evidence.extract import extract
from fractal_core.evidence.material import ContextChunk, Material
from fractal_core.evidence.rarity import Rarity

CHUNKS = (
    ContextChunk("Milk has protein. Skin forms at 50 degrees.", ((0, 17), (18, 43))),
    ContextChunk("Tea has none.", ((0, 13),)),
)
MATERIALS = [
    Material(
        "a", ("Skin forms at 50 degrees.", "Anna Kern likes 7 dogs."), "at how many degrees does skin form", CHUNKS
    ),
    Material("b", ("...", "Tea has none."), None, CHUNKS),
    Material("c", ("There are 12 cats.",), "how many cats", ()),
]
COLUMN = {feature.name: index for index, feature in enumerate(FEATURES)}


@pytest.fixture(scope="module")
def reading(tiny_encoder):
    """An encoder and its rarity."""
    encoder = Encoder(tiny_encoder, 64)
    return encoder, Rarity(encoder.tokeniser.vocabulary, encoder.tokeniser.piece_ids)


def evidence_of(reading, materials):
    """Extract after reading every distinct text."""
    encoder, rarity = reading
    texts = sorted({text for material in materials for text in material.texts})
    return extract(materials, dict(zip(texts, encoder.read(texts), strict=True)), rarity)


def test_catalogue_names_every_extracted_feature_once():
    """Every feature that is computed is described, and every described one is computed."""
    computed = [
        *similarity.NAMES, *token_features.NAMES, *lexical_context.NAMES, *lexical_query.NAMES, *alone.NAMES,
    ]  # fmt: skip
    assert len(set(computed)) == len(computed)
    assert sorted(computed) == sorted(COLUMN)


def test_catalogue_is_readable():
    """Every feature has a sentence, a sign in {-1, 0, 1} and something it is compared with."""
    for feature in FEATURES:
        assert feature.doc.endswith(".")
        assert feature.sign in (-1, 0, 1)
        assert feature.against in ("query", "context", "response")
    assert len({feature.doc for feature in FEATURES}) == len(FEATURES)


def test_a_copied_sentence_has_the_best_evidence(reading):
    """A sentence that stands in the context matches it token by token and points to its chunk."""
    found = evidence_of(reading, MATERIALS)
    copied, foreign, _, tea, _ = found.values
    assert copied[COLUMN["rare_cover"]] == 1.0 > foreign[COLUMN["rare_cover"]]
    assert tea[COLUMN["maxsim_last_context_best_sentence"]] > foreign[COLUMN["maxsim_last_context_best_sentence"]]
    assert tea[COLUMN["cos_chunk_best"]] == pytest.approx(1.0, abs=1e-5)
    assert tea[COLUMN["maxsim_last_context_mean"]] == pytest.approx(1.0, abs=2e-3)
    assert found.best_chunk[3] == 1
    assert found.best_chunk[4] == -1


def test_nothing_to_compare_is_nan(reading):
    """No query, no context, no number or name in the sentence: NaN, and nowhere else in these rows."""
    values = evidence_of(reading, MATERIALS).values
    for feature, column in COLUMN.items():
        against = FEATURES[column].against
        if against == "context":
            assert np.isnan(values[4, column]), feature
        if against == "query":
            assert np.isnan(values[2:4, column]).all(), feature
        if against == "response":
            assert not np.isnan(values[:, column]).any(), feature
    assert not np.isnan(values[1, COLUMN["maxsim_mid_context_number_min"]])
    assert np.isnan(values[3, COLUMN["maxsim_mid_context_number_min"]])


def test_token_statistics_equal_a_loop(reading):
    """Mean, minimum and weak share of the context matches equal a loop over single tokens in float64."""
    encoder, _ = reading
    values = evidence_of(reading, MATERIALS).values
    context = np.concatenate([r.tokens for r in encoder.read([chunk.text for chunk in CHUNKS])], axis=1).astype(
        np.float64
    )
    (sentence,) = encoder.read(["Anna Kern likes 7 dogs."])
    for layer, name in enumerate(("mid", "last")):
        nearest = [max(float(x @ y) for y in context[layer]) for x in sentence.tokens[layer].astype(np.float64)]
        row = {stat: values[1, COLUMN[f"maxsim_{name}_context_{stat}"]] for stat in ("mean", "min")}
        assert row["mean"] == pytest.approx(sum(nearest) / len(nearest), abs=2e-3)
        assert row["min"] == pytest.approx(min(nearest), abs=2e-3)
        if name == "mid":
            weak = values[1, COLUMN["maxsim_mid_context_weak_share"]]
            assert weak == pytest.approx(sum(v < 0.7 for v in nearest) / len(nearest), abs=1e-6)


def test_order_of_responses_does_not_matter(reading):
    """The same response has the same evidence whatever stands before it."""
    forward, backward = evidence_of(reading, MATERIALS), evidence_of(reading, MATERIALS[::-1])
    np.testing.assert_allclose(forward.values[:2], backward.values[3:], atol=2e-3)
    np.testing.assert_allclose(forward.values[4], backward.values[0], atol=2e-3)


def test_place_in_the_response_does_not_matter(reading):
    """Swapping sentences swaps their evidence: nothing depends on position or neighbours."""
    swapped = Material("a", MATERIALS[0].sentences[::-1], MATERIALS[0].query, CHUNKS)
    np.testing.assert_allclose(
        evidence_of(reading, [swapped]).values[::-1], evidence_of(reading, MATERIALS[:1]).values, atol=2e-3
    )
