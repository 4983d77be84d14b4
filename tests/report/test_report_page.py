"""The page without a browser: what stands in it, that it needs nothing else, and that texts stay texts."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from memory_run import memory_run, response, stage

from fractal_core.report.figures import headline, read_figures
from fractal_core.report.overview import changed_settings, describe
from fractal_core.report.writing import make_report

HOSTILE = "</td></script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>\"&amp;{{ 7 * 7 }}\0"


class Elements(HTMLParser):
    """The elements of a page, with their attributes and the text directly in them."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self._open = [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))
        self._open = True

    def handle_endtag(self, tag):
        self._open = False

    def handle_data(self, data):
        self.text += data
        if self._open:
            self.found[-1][2].append(data)

    def named(self, tag):
        """Return attributes and text of the elements of a name."""
        return [(attributes, "".join(text)) for name, attributes, text in self.found if name == tag]


def figure_row(method, metric, value, *, split="test", level="sentence", rows=10):
    """Return a row of table metrics."""
    return {"split": split, "level": level, "method": method, "metric": metric, "value": value, "rows": rows}


METRICS = [
    figure_row("score", "auc_roc", 0.8), figure_row("score", "ece", 0.1), figure_row("posterior", "auc_roc", 0.9),
    figure_row("query_similarity", "auc_roc", 0.6), figure_row("context_evidence", "auc_roc", 0.7),
    figure_row("score", "auc_roc", 0.75, split="train"), figure_row("score", "auc_roc", 0.5, level="response", rows=3),
]  # fmt: skip


def some_run(folder, text="plain", **options):
    """Return a run of which every free text is `text`."""
    sentences = [(text + ".", 0.2, 0.0, 0.0), ("Second.", 0.9, 1.0, 1.0)]
    responses = [
        response("a" + text, sentences, 0.0, query=text, context=[text]),
        response("b", [("Only.", 0.6, 1.0, 1.0)], 1.0, split="test", source=text),
        response("c", [("Other.", 0.7)], None, split="dev"),
    ]
    rejects = [{"source": text, "line": 3, "reason": text, "detail": text, "raw": text}]
    notes = [text, "WARNING: " + text]
    stages = [stage("read"), stage("train", notes=notes, reason=text, reused=True)]
    history = [(text, 0, 0.1, 0.7), (text, 1, 0.1, 0.6)]
    metrics = [*METRICS, figure_row(text, "auc_roc", 0.4)]
    run = memory_run(folder, responses, rejects=rejects, stages=stages, history=history, metrics=metrics, **options)
    run.record.config["priors"] = {"sql": text}
    return run


def test_needs_nothing_but_itself(tmp_path):
    """No address of anything: not in markup, style or script, but for places in the page itself."""
    page, _ = make_report(some_run(tmp_path), 100)
    elements = Elements(page)
    for tag, attributes, _ in elements.found:
        for name in ("src", "href", "srcset", "action", "style", "data", "poster", "background"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
        assert [name for name in attributes if name.startswith("on")] == []
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
    for word in (
        "://",
        "url(",
        "@import",
        "fetch(",
        "import(",
        "XMLHttpRequest",
        "eval(",
        "innerHTML",
        "insertAdjacent",
    ):
        assert word not in page


def test_only_our_script_and_style_may_act(tmp_path):
    """The policy allows nothing but the one script and the one style sheet, by their digests."""
    elements = Elements(make_report(some_run(tmp_path), 100)[0])
    (policy,) = (a["content"] for a, _ in elements.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["base-uri"], rules["form-action"]) == ("'none'", "'none'", "'none'")
    for name, texts in (
        ("style-src", [text for _, text in elements.named("style")]),
        ("script-src", [text for attributes, text in elements.named("script") if "type" not in attributes]),
    ):
        (text,) = texts
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_texts_are_no_markup(tmp_path):
    """With markup for every text of a run the page has the same elements, and the texts are in it as they are."""
    plain, hostile = (Elements(make_report(some_run(tmp_path, text), 100)[0]) for text in ("plain", HOSTILE))
    assert [tag for tag, _, _ in hostile.found] == [tag for tag, _, _ in plain.found]
    assert hostile.text.count(HOSTILE) >= 8


def test_the_same_run_gives_the_same_bytes(tmp_path):
    """Nothing of the moment or the machine is in a page: not the path of the data, nor the host."""
    run = some_run(tmp_path)
    first, second = make_report(run, 100)[0], make_report(run, 100)[0]
    assert first == second
    assert "somewhere" not in first
    assert run.record.host not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", first, flags=re.DOTALL)


def test_what_is_not_there_leaves_no_trace(tmp_path):
    """Without labels, gold, figures, rejects, losses and evidence there is a page, and nothing about them in it."""
    run = memory_run(tmp_path, [response("a", [("One.", 0.5), ("Two.", 0.5)])])
    elements = Elements(make_report(run, 100)[0])
    ids = {attributes["id"] for _, attributes, _ in elements.found if "id" in attributes}
    assert {"scores", "run", "responses"} <= ids
    assert not {"figures", "training", "rejects"} & ids
    options = [attributes["value"] for attributes, _ in elements.named("option")]
    assert not {"labelGap", "goldGap", "gold"} & set(options)
    headings = [text for _, text in elements.named("h3")]
    assert "Reliability" not in headings
    assert "Agreement with response labels" not in headings


@pytest.mark.parametrize(
    ("kind", "aggregation"),
    [("binary", "max"), ("share", "avg"), ("count", "avg"), ("ordinal", "min"), ("real", "avg"), ("preference", "min")],
)
def test_every_kind_of_label_has_a_page(tmp_path, kind, aggregation):
    """A page of each kind of label names its groups and says how responses get their scores."""
    paired = kind == "preference"
    responses = [
        response(
            f"p{at // 2}#{'ab'[at % 2]}", [("One.", 0.25 * at), ("Two.", 0.5)], None if paired else float(at % 2),
            pair=f"p{at // 2}" if paired else None, preferred=float(at % 2) if paired else None,
        )
        for at in range(4)
    ]  # fmt: skip
    page, _ = make_report(memory_run(tmp_path, responses, kind=kind, aggregation=aggregation), 100)
    assert ("not preferred" if paired else '<option value="1">label') in page
    assert {"min": "lowest score", "max": "highest score", "avg": "mean score"}[aggregation] in page
    assert 'value="labelGap"' in page


def test_a_page_says_what_it_leaves_out(tmp_path):
    """How many of how many are listed, how they were chosen, and that figures are of all; nothing if all are there."""
    responses = [response(f"r{at}", [("One.", 0.01 * at, 0.0)], 1.0, query="x" * 9_000) for at in range(50)]
    run = memory_run(tmp_path, responses)
    page, count = make_report(run, 10)
    said = " ".join(re.sub(r"<[^>]+>", "", page.split('id="data"')[0]).split())
    assert count == 10
    assert (
        "10 of 50 responses are listed: 2 whose score and response label are furthest apart, and 8 drawn evenly by a "
        "hash of their id." in said
    )
    assert "1 long query or document is cut after 8,000 characters." in said
    assert "responses are listed" not in make_report(run, 50)[0]


def test_figures_put_scores_beside_priors(tmp_path):
    """Sentences before responses, test before train, what was learned before priors; the best prior to compare with."""
    found = read_figures(some_run(tmp_path))
    assert [(part.level, part.split) for part in found] == [
        ("sentence", "test"), ("sentence", "train"), ("response", "test"),
    ]  # fmt: skip
    assert found[0].metrics == ["auc_roc", "ece"]
    assert [(row.method, row.learned, row.values) for row in found[0].rows][:3] == [
        ("score", True, [0.8, 0.1]), ("posterior", True, [0.9, None]), ("context_evidence", False, [0.7, None]),
    ]  # fmt: skip
    first = headline(found)
    assert (first.title, first.value, first.versus) == ("AUC-ROC of sentences, test", 0.8, ("context_evidence", 0.7))
    assert headline([]) is None


def test_errors_are_better_the_smaller(tmp_path):
    """The best prior by mean absolute error is the one with the least."""
    rows = [figure_row(name, "mae", value) for name, value in (("score", 0.2), ("a_prior", 0.4), ("b_prior", 0.3))]
    run = memory_run(tmp_path, [response("a", [("S.", 0.5)])], metrics=rows)
    assert headline(read_figures(run)).versus == ("b_prior", 0.3)


def test_overview_of_a_run(tmp_path):
    """Name, times, notes apart from warnings, rejects by reason, settings that are not defaults, and no folder."""
    run = some_run(tmp_path)
    rejected = [("bad", "f", 1), ("worse", "f", 2), ("worse", "g", 1), ("worse", "g", 2), ("worse", "g", 3)]
    rows = [{"source": s, "line": n, "reason": r, "detail": f"{r}{n}", "raw": ""} for r, s, n in rejected]
    run.tables["rejects"] = memory_run(tmp_path, [], rejects=rows).tables["rejects"]
    found = describe(run)
    assert (found.name, found.started, found.seconds) == ("answers", "2026-01-02 03:04 UTC", 20.0)
    assert (found.notes, found.warnings) == ({"train": ["plain"]}, {"train": ["plain"]})
    assert [(each.reason, each.rows, each.examples) for each in found.rejected] == [
        ("worse", 4, [("f:2", "worse2"), ("g:1", "worse1"), ("g:2", "worse2")]),
        ("bad", 1, [("f:1", "bad1")]),
    ]
    settings = {setting.key: (setting.value, setting.default) for setting in changed_settings(run.record)}
    assert settings == {"input.path": ('"answers.jsonl"', None), "priors.sql": ('"plain"', '""')}


def test_a_key_that_is_no_more_is_shown(tmp_path):
    """A run of an older version may have keys that are unknown today."""
    run = some_run(tmp_path)
    run.record.config["train"] = {"magic": 3, "epochs": 200, "folds": 7}
    settings = {setting.key: (setting.value, setting.default) for setting in changed_settings(run.record)}
    assert settings["train.magic"] == ("3", None)
    assert settings["train.folds"] == ("7", "5")
    assert "train.epochs" not in settings
