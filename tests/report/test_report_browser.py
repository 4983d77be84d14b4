"""The page in headless Chromium: nothing executes or is loaded, and it can be used by pointer and by keyboard."""

from __future__ import annotations

import json
import re

import pytest
from memory_run import memory_run, response

from benchmarks.chromium import Chromium, find_chromium
from fractal_core.report.writing import make_report

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed (apt-get install chromium)")

READY = "document.documentElement?.dataset.ready === 'true'"
HOSTILE = (
    "<script>window.pwned = 1</script></script><img src=x onerror='window.pwned = 1'><svg onload=\"pwned=1\"> {{7*7}} "
    "\u202eright to left\u202c \u200f 😀👩‍👧 \0 \x1b[1m &amp; \u2028\u2029 <!-- --> ]]> javascript:pwned=1"
)
# Ids of the cards on the page, and what is said of how many there are.
IDS = "[...document.querySelectorAll('.card h3')].map((heading) => heading.textContent)"
COUNT = "document.getElementById('count').textContent"
TIP = "document.getElementById('tip').hidden ? null : document.getElementById('tip').innerText"
# The sentence that has the focus.
FOCUSED = "document.activeElement.localName === 'mark' ? document.activeElement.textContent : null"


@pytest.fixture(scope="module")
def browser():
    """A browser with a wide window."""
    with Chromium(1200, 900) as browser:
        yield browser


@pytest.fixture(scope="module")
def some_page(tmp_path_factory):
    """A page of 130 responses: scores fall with their number, every fourth has label 0, gold says what labels say."""
    folder = tmp_path_factory.mktemp("page")
    responses = []
    for at in range(130):
        score, label = 1 - at / 200, float(at % 4 > 0)
        sentences = [(f"Response {at} begins.", score, 1.0, label), (f"It ends by {at}.", 0.999, 1.0, 1.0, 0.123)]
        if at == 7:
            sentences.append(("A needle is here.", 0.998))
        split = ("train", "dev", "test")[at % 3]
        responses.append(
            response(f"r{at:03}", sentences, label, split=split, query=f"Why {at}?", context=["One.", "Two."])
        )
    return written(folder, memory_run(folder, responses)), responses


def written(folder, run):
    """Write the page of a run."""
    path = folder / "report.html"
    path.write_text(make_report(run, 1_000)[0], encoding="utf-8")
    return path


def opened(browser, path):
    """Open a page afresh; return what has been loaded and what was complained about since."""
    browser.events.clear()
    browser.open(path, READY)
    return browser


def requests(browser):
    """Return the addresses that were asked for."""
    return [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]


def complaints(browser):
    """Return what the browser wrote to its log, and exceptions."""
    return [e for e in browser.events if e.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]


def choose(browser, **values):
    """Set filters as a user would, and wait for the list."""
    for name, value in values.items():
        browser.value(
            f"(() => {{ const field = document.getElementById('{name}'); field.value = {json.dumps(value)}; "
            "field.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
    browser.value("new Promise((resolve) => setTimeout(resolve, 200))")


def test_hostile_texts_are_shown_and_do_nothing(browser, tmp_path):
    """Texts full of markup, script, marks of direction and NUL are on the page letter by letter; nothing acts."""
    sentences = [(HOSTILE, 0.1, 0.0, 1.0), ("😀 Second.", 0.9)]
    responses = [response("id " + HOSTILE, sentences, 0.0, query="q " + HOSTILE, context=["d " + HOSTILE, "x"])]
    opened(browser, written(tmp_path, memory_run(tmp_path, responses)))
    browser.value("document.querySelector('.material').open = true")
    browser.wait_for("document.querySelectorAll('.document').length === 2")
    shown = "(selector) => document.querySelector(selector).textContent"
    assert browser.value(f"({shown})('.card h3')") == "id " + HOSTILE
    assert browser.value(f"({shown})('.card summary bdi')") == "q " + HOSTILE
    assert browser.value(f"({shown})('.document')") == "d " + HOSTILE
    assert browser.value(f"({shown})('.card .text')") == HOSTILE + " 😀 Second."
    assert browser.value("[...document.querySelectorAll('.card mark')].map((mark) => mark.textContent)") == [
        HOSTILE, "😀 Second.",
    ]  # fmt: skip
    assert browser.value("typeof window.pwned") == "undefined"
    assert browser.value("document.querySelectorAll('img, iframe, .card script, .card svg').length") == 0
    assert requests(browser) == [(tmp_path / "report.html").as_uri()]
    assert complaints(browser) == []


@pytest.mark.parametrize(
    "injected",
    [
        "<script>window.pwned = 1</script>",
        "<img src=x onerror='window.pwned = 1'>",
        "<iframe srcdoc='<script>parent.pwned = 1</script>'></iframe>",
        "<link rel=stylesheet href=other.css><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>",
    ],
)
def test_the_policy_blocks_what_is_not_ours(browser, some_page, tmp_path, injected):
    """Even if markup got into the page, the browser would refuse to act on it, and says so."""
    path = tmp_path / "injected.html"
    path.write_text(some_page[0].read_text(encoding="utf-8").replace("<main>", "<main>" + injected), encoding="utf-8")
    opened(browser, path)
    browser.wait_for("document.readyState === 'complete'")
    assert browser.value("typeof window.pwned") == "undefined"
    assert any("Content Security Policy" in json.dumps(each) for each in complaints(browser))
    assert browser.value("[...document.images].every((image) => image.naturalWidth === 0)")


def test_nothing_is_loaded(browser, some_page):
    """Opening a page asks for that page alone, and nothing is complained about."""
    opened(browser, some_page[0])
    assert requests(browser) == [some_page[0].as_uri()]
    assert complaints(browser) == []


def test_cards_are_made_when_they_are_needed(browser, some_page):
    """Forty at first, more as the page is scrolled, all in the end; none twice."""
    opened(browser, some_page[0])
    assert len(browser.value(IDS)) == 40
    while browser.value("!document.getElementById('more').hidden"):
        before = browser.value("shown")
        browser.value("document.getElementById('more').scrollIntoView()")
        browser.wait_for(f"shown > {before}")
    found = browser.value(IDS)
    assert sorted(found) == [f"r{at:03}" for at in range(130)]


def test_more_cards_are_made_when_several_changes_are_told_at_once(browser, some_page):
    """The button out of sight and back in it, which a busy page hears of together, are in sight."""
    source = """window.IntersectionObserver = class {
        constructor(heard) { window.heard = heard; } observe() {} unobserve() {}
    };"""
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=source)
    opened(browser, some_page[0])
    browser.call("Page.removeScriptToEvaluateOnNewDocument", **script)
    for changes, shown in (([True, False], 40), ([False, True], 80)):
        entries = json.dumps([{"isIntersecting": change} for change in changes])
        browser.value(f"heard({entries})")
        assert browser.value("shown") == shown


def test_orders(browser, some_page):
    """Each order is that of the numbers it is named after; equals stay in the order of the input."""
    opened(browser, some_page[0])
    responses = some_page[1]
    score = {each["response_id"]: each["sentences"][0][1] for each in responses}
    label = {each["response_id"]: each["label"] for each in responses}
    names = sorted(score)
    keys = {
        "labelGap": lambda name: -round(abs(label[name] - score[name]), 4),
        "pseudolabelGap": lambda name: -round(1 - score[name], 4),
        "goldGap": lambda name: -round(abs(label[name] - score[name]), 4),
        "lowest": lambda name: score[name],
        "highest": lambda name: -score[name],
        "input": lambda name: name,
    }
    for sort, key in keys.items():
        choose(browser, sort=sort)
        assert browser.value(IDS) == sorted(names, key=key)[:40], sort


def test_filters_and_search(browser, some_page):
    """Split, label, disagreement and words, alone and together; Reset shows all again."""
    opened(browser, some_page[0])
    choose(browser, sort="input", search="A NEEDLE is")
    assert browser.value(IDS) == ["r007"]
    assert browser.value(COUNT) == "1 of 130 responses"
    assert browser.value("CSS.highlights.get('found').size") == 1
    choose(browser, search="Why 12?")
    assert browser.value(IDS) == ["r012"]
    choose(browser, search="", split="1", group="0")
    assert browser.value(IDS) == [f"r{at:03}" for at in range(130) if at % 3 == 1 and at % 4 == 0]
    choose(browser, show="labelGap")
    assert browser.value(IDS) == [f"r{at:03}" for at in range(100) if at % 3 == 1 and at % 4 == 0]
    choose(browser, split="", group="1")
    assert browser.value(IDS) == [f"r{at:03}" for at in range(101, 130) if at % 4 > 0]
    choose(browser, search="nothing has this")
    assert (
        browser.value("document.getElementById('list').innerText")
        == "No response is like that. Reset shows all of them."
    )
    browser.value("document.querySelector('#controls button').click()")
    browser.wait_for(f"{COUNT} === '130 responses'")
    assert browser.value("wanted.sort") == "labelGap"


def test_the_keyboard_reaches_every_sentence(browser, some_page):
    """Tab goes from response to response, arrows from sentence to sentence; the details follow; Escape hides them."""
    opened(browser, some_page[0])
    choose(browser, sort="input")
    browser.value("document.getElementById('beside').focus()")
    browser.press("Tab")
    browser.press("Tab")
    assert browser.value("document.activeElement.localName") == "summary"
    browser.press("Tab")
    assert browser.value(FOCUSED) == "Response 0 begins."
    browser.press("ArrowRight")
    assert browser.value(FOCUSED) == "It ends by 0."
    told = browser.value(TIP)
    for words in (
        "Sentence 2 of 2",
        "score",
        "0.999",
        "posterior",
        "0.123",
        "pseudo-label",
        "gold label",
        "document similarity",
    ):
        assert words in told
    assert browser.value("document.activeElement.getAttribute('aria-describedby')") == "tip"
    browser.press("Escape")
    assert browser.value(TIP) is None
    browser.press("ArrowDown")
    assert browser.value(FOCUSED) == "Response 1 begins."
    browser.press("End")
    assert browser.value(FOCUSED) == "It ends by 1."
    browser.press("ArrowRight")
    assert browser.value(FOCUSED) == "It ends by 1."
    browser.press("Home")
    browser.press("ArrowUp")
    assert browser.value(FOCUSED) == "Response 0 begins."
    browser.press("Tab")
    browser.press("Tab")
    assert browser.value(FOCUSED) == "Response 1 begins."


def test_arrows_go_on_past_what_is_there(browser, some_page):
    """The arrow key at the last card makes more; what has the focus is never behind the filters."""
    opened(browser, some_page[0])
    # At once: to focus it brings it into sight, which makes more by itself a moment later.
    last = browser.value("(document.querySelector('.card:last-child mark').focus(), shown)")
    for _ in range(3):
        browser.press("ArrowDown")
    assert browser.value("shown") > last
    for key in ["ArrowUp"] * 12 + ["ArrowDown"] * 12:
        browser.press(key)
        top, bottom = browser.value(
            "((mark) => [mark.top, mark.bottom])(document.activeElement.getBoundingClientRect())"
        )
        assert top >= browser.value("controls.getBoundingClientRect().bottom")
        assert bottom <= browser.value("innerHeight")


def test_details_follow_the_pointer(browser, some_page):
    """They are there while a sentence is pointed at, stay while the pointer is on them, and go when it leaves."""
    opened(browser, some_page[0])
    browser.value("document.querySelector('.card mark').scrollIntoView({ block: 'center', behavior: 'instant' })")
    box = browser.value(
        "(() => { const b = document.querySelector('.card mark').getBoundingClientRect(); return [b.x, b.y]; })()"
    )
    browser.point(box[0] + 5, box[1] + 8)
    browser.wait_for(f"({TIP}) !== null")
    place = browser.value(
        "(() => { const b = document.getElementById('tip').getBoundingClientRect(); return [b.x, b.y]; })()"
    )
    browser.point(place[0] + 20, place[1] + 20)
    browser.value("new Promise((resolve) => setTimeout(resolve, 400))")
    assert browser.value(TIP) is not None
    browser.point(5, 5)
    browser.wait_for(f"({TIP}) === null")


def test_numbers_beside_sentences(browser, some_page):
    """Score, pseudo-label, posterior or gold label can be shown behind each sentence, and are no part of its text."""
    opened(browser, some_page[0])
    for name, wanted in (("score", "0.999"), ("posterior", "0.123"), ("pseudolabel", "1"), ("gold", "1")):
        choose(browser, beside=name)
        mark = browser.value(
            "(([, mark]) => [mark.dataset.beside, mark.textContent])(document.querySelectorAll('.card mark'))"
        )
        assert mark[0] == wanted
        assert re.fullmatch(r"It ends by \d+\.", mark[1])


def test_shades_are_those_of_the_scores(browser, tmp_path):
    """Seven shades over the range of the scores, both ends included."""
    scores = [0.0, 0.14, 0.15, 0.5, 0.85, 0.86, 1.0]
    run = memory_run(tmp_path, [response("a", [(f"S{n}.", score) for n, score in enumerate(scores)], 1.0)])
    opened(browser, written(tmp_path, run))
    shades = browser.value("[...document.querySelectorAll('.card mark')].map((mark) => mark.className)")
    assert shades == [f"shade-{number}" for number in (0, 0, 1, 3, 5, 6, 6)]


def test_printing_shows_more_than_has_been_scrolled_to(browser, some_page):
    """A printed page has up to three hundred responses."""
    opened(browser, some_page[0])
    browser.value("dispatchEvent(new Event('beforeprint'))")
    assert len(browser.value(IDS)) == 130


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_window_holds_the_page(some_page, dark):
    """At 360 pixels nothing is wider than the window, the filters can be folded, details fit and come by a tap."""
    with Chromium(360, 740, dark=dark) as browser:
        browser.open(some_page[0], READY)
        assert browser.value("document.documentElement.scrollWidth") == 360
        assert browser.value("document.getElementById('filters').open") is False
        browser.value("document.querySelector('.card mark').focus()")
        browser.wait_for(f"({TIP}) !== null")
        box = browser.value("JSON.parse(JSON.stringify(document.getElementById('tip').getBoundingClientRect()))")
        assert box["left"] >= 0
        assert box["right"] <= 360
        assert 0 <= box["top"] < box["bottom"] <= 740
        browser.press("Escape")
        browser.value("document.activeElement.blur()")
        place = browser.value(
            "((box) => [box.x + 20, box.y + 8])(document.querySelector('.card mark').getBoundingClientRect())"
        )
        browser.tap(*place)
        browser.value("new Promise((resolve) => setTimeout(resolve, 500))")
        assert "Sentence 1 of" in browser.value(TIP)
        browser.tap(5, 735)
        browser.wait_for(f"({TIP}) === null")
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in re.findall(r"\d+", ground)) < 200) is dark
