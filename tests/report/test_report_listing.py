"""The listed responses as data: texts cut where JavaScript cuts them, numbers short, nothing of the others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from memory_run import memory_run, response

from fractal_core.report.choosing import Choice
from fractal_core.report.gaps import measure_gaps
from fractal_core.report.groups import label_groups
from fractal_core.report.listing import listing
from fractal_core.report.numbers import read_numbers
from fractal_core.report.page import as_data


def listed(run, rows=None):
    """Return the data of some rows of a run, and its texts."""
    numbers = read_numbers(run)
    total = len(numbers.label)
    chosen = np.arange(total) if rows is None else np.array(rows)
    return listing(
        run, numbers, measure_gaps(numbers), label_groups(numbers), Choice(chosen, total, 0, total, full=False)
    )


def sentences_of(data):
    """Cut the texts as the page does, in UTF-16 code units; return the sentences of each response."""
    found, at = [], 0
    for text, count in zip(data["responses"]["text"], data["responses"]["sentences"], strict=True):
        units, place, own = text.encode("utf-16-le"), 0, []
        for sentence in range(at, at + count):
            start = place + data["sentences"]["before"][sentence]
            place = start + data["sentences"]["length"][sentence]
            own.append(units[2 * start : 2 * place].decode("utf-16-le"))
        found.append(own)
        at += count
    return found


def test_sentences_are_cut_exactly(tmp_path):
    """Offsets count code points in the tables and UTF-16 code units in the page: emoji, Hebrew, gaps, no sentence."""
    texts = [["One.", "Two."], ["😀 one.", "שלום.", "𝔘 two 😀", "e\u0301."], [], ["Last."]]
    responses = [
        response(f"r{at}", [(text, 0.5) for text in own], gap=[" ", " 🌊 ", " ", "--"][at])
        for at, own in enumerate(texts)
    ]
    data, _ = listed(memory_run(tmp_path, responses))
    assert sentences_of(data) == texts


def test_only_the_chosen_are_in_the_page(tmp_path):
    """Columns of the chosen responses, in the order of the table, and none of the others' texts."""
    responses = [
        response(
            f"r{at}", [(f"Text {at}.", at / 8, 1.0, None, 0.5), (f"More {at}.", 1.0)], float(at % 2), query=f"q{at}"
        )
        for at in range(7)
    ]
    data, _ = listed(memory_run(tmp_path, responses), rows=[1, 4, 5])
    assert data["responses"]["id"] == ["r1", "r4", "r5"]
    assert data["responses"]["score"] == [0.125, 0.5, 0.625]
    assert data["responses"]["labelGap"] == [0.875, 0.5, 0.375]
    assert data["responses"]["pseudolabelGap"] == [0.875, 0.5, 0.375]
    assert data["responses"]["goldGap"] == [None] * 3
    assert data["responses"]["line"] == [2, 5, 6]
    assert data["sentences"]["posterior"] == [0.5, 1, 0.5, 1, 0.5, 1]
    assert [data["groups"][group] for group in data["responses"]["group"]] == ["label 1", "label 0", "label 1"]
    assert [data["texts"][number] for number in data["responses"]["query"]] == ["q1", "q4", "q5"]
    assert sentences_of(data) == [[f"Text {at}.", f"More {at}."] for at in (1, 4, 5)]
    assert "Text 2." not in json.dumps(data)


def test_equal_texts_are_there_once_and_long_ones_cut(tmp_path):
    """Documents that responses share take no room twice; a long one is cut, and counted."""
    long = "x" * 8_001
    responses = [
        response("a", [("S.", 0.5)], query="why", context=["one", long]),
        response("b", [("S.", 0.5)], query="one", context=[long, "two"]),
        response("c", [("S.", 0.5)], context=None),
    ]
    data, texts = listed(memory_run(tmp_path, responses))
    assert data["texts"] == ["why", "one", "x" * 8_000 + " …", "two"]
    assert data["responses"]["documents"] == [[1, 2], [2, 3], []]
    assert data["responses"]["query"] == [0, 1, -1]
    assert texts.cut == 1


def test_reasons_are_the_first_three(tmp_path):
    """Of the chosen sentences, by rank, whatever the order of the rows; none where a sentence has none."""
    rows = [
        {"response_id": name, "sentence_index": at, "rank": rank, "feature": f"f{rank}", "z": 0, "contribution": value}
        for name, at, rank, value in (
            ("a", 0, 1, 9.0), ("b", 1, 3, 0.5), ("b", 1, 1, -2.0), ("b", 1, 4, 7.0), ("b", 0, 1, 1.0), ("c", 0, 2, 3.0),
        )
    ]  # fmt: skip
    responses = [response(name, [("S.", 0.5), ("S.", 0.5)]) for name in "abc"]
    data, _ = listed(memory_run(tmp_path, responses, contributions=rows), rows=[1, 2])
    names = [data["reasons"]["names"][code] if code >= 0 else None for code in data["reasons"]["feature"]]
    found = list(zip(names, data["reasons"]["contribution"], strict=True))
    nothing = (None, None)
    assert found == [
        ("f1", 1), nothing, nothing, ("f1", -2), nothing, ("f3", 0.5), nothing, ("f2", 3), *[nothing] * 4,
    ]  # fmt: skip
    assert listed(memory_run(tmp_path, responses))[0]["reasons"] is None


@pytest.mark.parametrize("text", ["</script>", "<!--", "\u2028\u2029", 'a"b\\', "\0\x1b", "&lt;", "😀", "\u202e"])
def test_data_cannot_end_its_element(text):
    """Whatever a text holds, it comes back as it was, and the JSON has nothing that HTML or a script could act on."""
    written = as_data({"text": text})
    assert json.loads(written) == {"text": text}
    assert not set(written) & set("<>&\u2028\u2029\0")
    with pytest.raises(ValueError, match="JSON compliant"):
        as_data({"number": float("nan")})
