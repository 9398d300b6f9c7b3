"""The scripts of the documentation's pages: languages, and tables that scroll by keyboard. A report on a phone."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from softknee.show import comparison

PATIENCE = 120_000
ASSETS = Path(__file__).parents[2] / "docs" / "assets"
Open = Callable[..., Any]

ACTIVATION = """<!doctype html><html lang="en"><meta charset="utf-8"><article>
<h1>relu<a class="headerlink">#</a></h1>
<div class="sk-languages" data-folder="" data-words='{"ko": "한국어", "ru": "Русский"}'></div>
<h2>Derivative</h2><a class="sk-name">Derivative</a><p>Nothing of this is known.</p><p>constructor</p><code>Derivative</code>
<p><b>1</b> Derivative <b>2</b></p><p>a kink elsewhere</p>
<div class="sk-facts"><p>zero-centred, 3 kinks, kinked, 1 kink, kink at 0</p></div></article>
<nav class="md-nav--secondary"><a href="#">Derivative</a></nav><script src="words.js"></script></html>"""
WORDS = """globalThis.softkneeWords = {exact: {Derivative: "Производная"}, names: {relu: "линейный выпрямитель"},
phrases: {"zero-centred": "центрирована", kink: "излом", "kink at": "излом при", kinks: "изломы"}};"""

WIDE = (
    '<div class="md-typeset__scrollwrap" style="overflow-x: auto"><div style="width: 700px">wide</div></div>'
)
TABLE = f"""<!doctype html><html lang="en"><article><div class="sk-formula">narrow</div>{WIDE}
<nav class="md-code__nav"><button>Copy</button></nav></article>
<script src="scrolling.js"></script></html>"""

CHAPTER = """<!doctype html><html lang="{0}"><article><a href="en.html" data-language="en">English</a>
<a href="ru.html" data-language="ru">Русский</a><p>{0}</p></article><script src="language.js"></script></html>"""


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """opened(name, text, locale, also): a page for a reader of these languages, beside the documentation's scripts. Any message on its console is a failure."""
    contexts, said = [], []
    for script in ASSETS.glob("*.js"):
        shutil.copy(script, tmp_path)

    def go(name: str, text: str, locale: str = "en-GB", *also: str) -> Any:
        (tmp_path / name).write_text(text, encoding="utf-8")
        context = browser.new_context(locale=locale, viewport={"width": 360, "height": 600}, offline=True)
        context.set_default_timeout(PATIENCE)
        read = json.dumps([locale, *also])
        context.add_init_script(f"Object.defineProperty(navigator, 'languages', {{ get: () => {read} }})")
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto((tmp_path / name).as_uri())
        return tab

    yield go
    for context in contexts:
        context.close()
    assert not said


def test_an_activation_in_the_readers_language(opened: Open, tmp_path: Path) -> None:
    """What is translated is; text without a translation, code and the address stay; the choice is kept."""
    (tmp_path / "words-ru.js").write_text(WORDS, encoding="utf-8")
    tab = opened("relu.html", ACTIVATION, "ru-RU")
    expect(tab.locator("html")).to_have_attribute("data-words", "ru")
    heading = tab.locator("h2")
    assert (heading.inner_text(), heading.get_attribute("lang")) == ("Производная", "ru")
    assert tab.locator("h1").inner_text() == "relu линейный выпрямитель#"
    assert tab.locator(".sk-facts").inner_text() == "центрирована, 3 изломы, kinked, 1 излом, излом при 0"
    assert tab.locator("code").inner_text() == "Derivative"
    assert tab.locator(".sk-name").inner_text() == "Derivative"  # a function may be called like a label
    assert tab.locator("p").all_inner_texts()[:4] == [
        "Nothing of this is known.", "constructor", "1 Производная 2", "a kink elsewhere",
    ]  # fmt: skip
    assert tab.locator(".md-nav--secondary").inner_text() == "Производная"
    tab.get_by_role("button", name="English").click()
    expect(tab.locator("h2")).to_have_text("Derivative")
    expect(tab.locator(".sk-languages strong")).to_have_text(
        "English"
    )  # a choice, against the browser's language
    tab.get_by_role("button", name="Русский").click()
    expect(tab.locator("h2")).to_have_text("Производная")


def test_a_language_that_is_not_there(opened: Open) -> None:
    for read in (("fr-FR",), ("en-GB", "ru")):
        tab = opened("relu.html", ACTIVATION, *read)
        expect(tab.locator(".sk-languages strong")).to_have_text("English")
        assert tab.locator("script[src^=words-]").count() == 0


def test_a_chapter_is_sent_on_to_the_readers_language(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "ru.html").write_text(CHAPTER.format("ru"), encoding="utf-8")
    tab = opened("en.html", CHAPTER.format("en"), "ru-RU")
    expect(tab.locator("p")).to_have_text("ru")
    tab.get_by_role("link", name="English").click()
    expect(tab.locator("p")).to_have_text("en")
    tab = opened("en.html", CHAPTER.format("en"), "fr-FR", "ru-RU")  # the first language that there is
    expect(tab.locator("p")).to_have_text("ru")
    tab = opened("ru.html", CHAPTER.format("ru"), "ko-KR", "en-GB")  # who opens a translation wants it
    assert tab.locator("p").inner_text() == "ru"


def test_what_is_wider_than_the_page_scrolls_by_keyboard(opened: Open) -> None:
    """Also what the theme puts there late; what fits is no stop of the Tab key."""
    tab = opened("table.html", TABLE)
    first = tab.locator(".md-typeset__scrollwrap")
    expect(first).to_have_attribute("tabindex", "0")
    assert tab.locator(".sk-formula").get_attribute("tabindex") is None
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "md-typeset__scrollwrap"
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("document.activeElement.scrollLeft > 0")
    assert tab.locator("nav").get_attribute("role") == "none"  # else each is a landmark
    tab.locator(".sk-formula").evaluate(
        "e => { e.style.overflowX = 'auto'; e.innerHTML = '<p style=\"width: 700px\">wide</p>'; }"
    )
    tab.set_viewport_size({"width": 359, "height": 600})  # it is looked at when its size changes
    expect(tab.locator(".sk-formula")).to_have_attribute("tabindex", "0")
    tab.evaluate("late => document.querySelector('article').insertAdjacentHTML('beforeend', late)", WIDE)
    expect(tab.locator("[tabindex]")).to_have_count(3)
    tab.set_viewport_size({"width": 1280, "height": 600})
    expect(tab.locator("[tabindex]")).to_have_count(0)


def test_names_in_a_report_on_a_phone_cover_each_other_nowhere(opened: Open, tmp_path: Path) -> None:
    found = comparison.compare(
        "iris", "relu,tanh,gelu,sigmoid,elu,mish", seeds=2, width=4, epochs=1, lr=0.01, progress=False
    )
    found.save(tmp_path / "found")
    tab = opened("report.html", (tmp_path / "found" / "report.html").read_text(encoding="utf-8"))
    plot = tab.locator(".scatter").first
    assert plot.bounding_box()["height"] >= 200
    boxes = [name.bounding_box() for name in plot.locator(":scope > span").all()]
    assert len(boxes) >= 3
    for a, b in itertools.combinations(boxes, 2):
        beside = a["x"] + a["width"] <= b["x"] + 1 or b["x"] + b["width"] <= a["x"] + 1
        assert beside or abs(a["y"] - b["y"]) >= min(a["height"], b["height"]) - 3
