"""Reasons name what changed, with both values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fractal_core.store.recipe import Recipe

RECIPE = Recipe(
    stage="train",
    params={"train": {"epochs": 5}, "seed": 0},
    code={"fractal_core.mil.losses": "a"},
    inputs={"sentences.text": "t"},
    sources={"input": ["1", "2"]},
    libraries={"torch": "2.13.0"},
    schemas={"scores": "x int"},
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"params": {"train": {"epochs": 9}, "seed": 0}}, "train.epochs changed from 5 to 9"),
        ({"code": {"fractal_core.mil.losses": "b"}}, "module fractal_core.mil.losses changed"),
        ({"inputs": {"sentences.text": "u"}}, "input sentences.text changed"),
        ({"sources": {"input": ["1", "3", "4"]}}, "input files: 2 new or changed, 1 no longer there"),
        ({"sources": {"input.csv": ["1"], "input": ["2"]}}, "input files: 1 new or changed, 1 no longer there"),
        ({"sources": {"input": ["1", "2", "2"]}}, "input files: 1 new or changed, 0 no longer there"),
        ({"libraries": {"torch": "2.14.0"}}, "torch 2.13.0 became 2.14.0"),
        ({"libraries": {"torch": "none"}}, "torch 2.13.0 became not installed"),
        ({"libraries": {"torch": "2.13.0", "numpy": "2.4.0"}}, "numpy 2.4.0 counts now"),
        ({"libraries": {}}, "torch counts no more"),
        ({"schemas": {"scores": "x int, y int"}}, "columns of table scores changed"),
    ],
)
def test_differences_name_the_change(change, words):
    """One change gives one reason in words a user knows, and another fingerprint."""
    changed = replace(RECIPE, **change)
    assert changed.differences(RECIPE) == [words]
    assert changed.fingerprint != RECIPE.fingerprint


def test_same_recipe_same_fingerprint():
    """Order of keys does not matter."""
    twin = replace(RECIPE, params={"seed": 0, "train": {"epochs": 5}})
    assert twin.fingerprint == RECIPE.fingerprint
    assert twin.differences(RECIPE) == []


def test_what_is_continued_counts_and_the_mode_is_named():
    """A result that goes on from an earlier one is another; if nothing else differs, the reason is the mode."""
    kept = replace(RECIPE, continues={"on_new_data": "freeze", "scorer.safetensors": "1"})
    other = replace(kept, continues={"on_new_data": "freeze", "scorer.safetensors": "2"})
    assert len({RECIPE.fingerprint, kept.fingerprint, other.fingerprint}) == 3
    assert kept.anew == RECIPE
    assert RECIPE.differences(kept) == ["on_new_data changed from 'freeze' to 'retrain'"]
    assert replace(kept, inputs={"sentences.text": "u"}).differences(RECIPE) == ["input sentences.text changed"]
    assert kept.made_like(replace(RECIPE, inputs={}))
    assert not kept.made_like(replace(RECIPE, sources={}))
