"""A translation may lack an entry, but has none for what does not exist."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from softknee import catalogue
from softknee.analysis import facts
from softknee.catalogue.translations import LANGUAGES, translations
from softknee.claims.record import VERDICTS
from softknee.explorer.data import GATED, record
from softknee.show.language import reader
from softknee.show.words import normal_rows, shape_rows


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_is_known_and_every_entry_says_something(language: str) -> None:
    table = translations(language)
    assert set(table) == {"name", "labels", "phrases", "families", "names", "use"}
    assert set(table["families"]) <= {*catalogue.FAMILIES, GATED}
    assert set(table["names"]) <= set(catalogue.names())
    assert set(table["use"]) <= set(catalogue.names())
    web = files("softknee.explorer") / "web"
    pictures = files("softknee.show") / "plot.py"
    page = "".join(f.read_text(encoding="utf-8") for f in (*web.iterdir(), pictures))
    said = {*VERDICTS} | {word for d in catalogue.all_definitions()[::7] for word in record(d)["traits"]}
    for d in catalogue.all_definitions()[::7]:
        known = facts(d, **{p.name: p.example for p in d.parameters if p.default is None})
        said |= {label for row in (shape_rows(known), normal_rows(known)) for label, _ in row}
    for label in table["labels"]:
        assert label in said or any(f"{mark}{label}" in page for mark in ("'", '"', ">")), label
    assert all(
        text.strip()
        for part in ("labels", "phrases", "families", "names", "use")
        for text in table[part].values()
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_facts_are_told_in_the_language(language: str) -> None:
    """No English word is left in the facts but mathematics; formulas and numbers are untouched."""
    told = reader(language)
    for d in catalogue.all_definitions()[::7]:
        known = facts(d, **{p.name: p.example for p in d.parameters if p.default is None})
        for label, text in (*shape_rows(known), *normal_rows(known)):
            said = told.phrases(text)
            assert set(re.findall(r"−?\d[\d.]*", text)) <= set(re.findall(r"−?\d[\d.]*", said))
            if label != "identity":
                assert not re.search(r"\b[a-z]{2,}\b", said), (d.name, text, said)


def test_an_unknown_language_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match="one of ko, ru, zh"):
        translations("xx")


def test_what_is_missing_is_english() -> None:
    russian = reader("ru")
    assert russian.word("use", "relu", "English") == translations("ru")["use"]["relu"]
    assert russian.word("use", "a new one", "English") == "English"
    assert russian.curve("sigmoid") == "сигмоида"  # without what stands behind it in brackets
    assert russian.curve("elu(alpha=2)") == "ELU(alpha=2)"
    assert russian.curve("a new one") == "a new one"
    assert reader("en").label("range") == "range"
