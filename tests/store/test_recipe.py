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
        ({"libraries": {"torch": "2.14.0"}}, "torch 2.13.0 became 2.14.0"),
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
