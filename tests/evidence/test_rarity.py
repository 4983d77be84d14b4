"""Rarity from the rank in a vocabulary."""

from __future__ import annotations

from fractal_core.evidence.rarity import Rarity

VOCABULARY = {"[PAD]": 0, "a": 1, "##b": 2, "the": 3, "of": 4, "milk": 5, "##ing": 6, "protein": 7}


def pieces(words):
    """Whole words of the vocabulary are one piece, everything else two."""
    return [[VOCABULARY[word]] if word in VOCABULARY else [5, 6] for word in words]


def test_rank_decides_and_unknown_words_are_rarest():
    """Later entries weigh more, a word in several pieces most, single signs least; all are in (0, 1]."""
    rarity = Rarity(VOCABULARY, pieces)
    rarity.learn(["the", "of", "milk", "protein", "casein"])
    weights = [rarity[word] for word in ("the", "of", "milk", "protein", "casein")]
    assert weights == sorted(weights)
    assert weights[0] > 0.0
    assert weights[-1] == 1.0
    assert rarity.token_weights[1] == rarity.token_weights[2] == min(rarity.token_weights)
    assert 0.0 < min(rarity.token_weights) < max(rarity.token_weights) <= 1.0


def test_words_are_tokenised_once():
    """A word that is known is not looked up again."""
    asked = []
    rarity = Rarity(VOCABULARY, lambda words: asked.extend(words) or pieces(words))
    rarity.learn(["milk", "milk", "of"])
    rarity.learn(["milk", "protein"])
    assert asked == ["milk", "of", "protein"]
