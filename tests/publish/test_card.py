"""The card of a data set: what it says where there is no gold, of each kind of label, and of odd names."""

from __future__ import annotations

import pytest
import yaml
from made_results import MadeResults, one

from fractal_core.publish.balance import balances
from fractal_core.publish.card import write_card
from fractal_core.publish.contents import Contents, Options, Part


def _of(aggregation, kind):
    return {"aggregation": aggregation, "input": {"path": "x", "label_kind": kind}}


def _card(tmp_path, results, form="hf", **options):
    part = Part("data", "a row", {"train": 1_234}, {"column": "One | two <b>three</b>."})
    contents = Contents((part,), ("A rule.",), {"ties": 1_000})
    write_card(tmp_path / "README.md", form, results, contents, Options(**options), "a folder")
    return (tmp_path / "README.md").read_text(encoding="utf-8")


def test_no_gold(tmp_path):
    """Where no sentence has a gold label, the card says so instead of figures."""
    text = _card(tmp_path, MadeResults([{"label": 1.0, "sentences": one(0.9)}]))
    assert "No gold: " in text
    assert "against gold labels" not in text


def test_rules_and_what_was_left_out(tmp_path):
    """Rules and counts of what was left out are in the card, and the command with the options that were given."""
    text = _card(tmp_path, MadeResults([{"sentences": one(0.9)}]), "preference", with_context=True, pairs_per_query=3)
    assert "- A rule." in text
    assert "- Left out: 1,000 ties." in text
    assert "fractal export made.toml --to preference --with-context --pairs-per-query 3 --output 'a folder'" in text
    assert "trl" in yaml.safe_load(text.split("---\n")[1])["tags"]


def test_text_stays_text(tmp_path):
    """What stands in tables and in the front matter cannot end a cell, open a tag or break the YAML."""
    text = _card(tmp_path, MadeResults([{"sentences": one(0.9)}]), license='x"\n- y: {')
    assert "| `column` | One \\| two &lt;b>three&lt;/b>. |" in text
    assert yaml.safe_load(text.split("---\n")[1])["license"] == 'x"\n- y: {'


@pytest.mark.parametrize(
    ("config", "labels", "words"),
    [
        ({"aggregation": "min"}, [1.0, 1.0, 0.0, None], "66.7% are 1"),
        ({"aggregation": "avg"}, [0.25, 0.75, None, 0.5], "mean 0.5, from 0.25 to 0.75"),
        (_of("max", "ordinal"), [2.0, 0.0, 2.0, 1.0], "1 x 0, 1 x 1, 2 x 2"),
        (_of("avg", "real"), [-1.0, None, 4.0, 0.0], "mean 1, from -1 to 4"),
        ({"aggregation": "min"}, [None, None, None, None], "none"),
    ],
)
def test_balance(config, labels, words):
    """The balance of labels is said in words that fit their kind; the unlabelled are not in it."""
    results = MadeResults([{"label": label, "split": "dev", "sentences": one(0.9)} for label in labels], **config)
    (balance,) = balances(results)
    assert balance[:5] == ("dev", 4, sum(label is not None for label in labels), 4, words)


def test_balance_of_pairs():
    """Of pairs it is said how many have a better response, and how many are ties."""
    preferred = [1.0, 0.0, 0.5, 0.5, None, None, 0.0, 1.0]
    results = MadeResults(
        [{"pair": f"p{n // 2}", "preferred": value, "sentences": one(0.9)} for n, value in enumerate(preferred)],
        **_of("auto", "preference"),
    )
    (balance,) = balances(results)
    assert balance.labels == "2 pairs with a better response, 1 ties"
    assert balance.pseudolabels == "100.0% are 1"
