"""A translation may lack an entry, but has none for what does not exist."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from softknee import catalogue
from softknee.analysis import facts
from softknee.bench import PASSES
from softknee.catalogue.gates import GATES
from softknee.catalogue.translations import LANGUAGES, translations
from softknee.claims.record import VERDICTS
from softknee.explorer.data import GATED, record
from softknee.show.language import reader
from softknee.show.words import cautions, normal_rows, precision, shape_rows

PARTS = ("labels", "phrases", "families", "names", "use", "notes", "parameters", "pages")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_is_known_and_every_entry_says_something(language: str) -> None:
    table = translations(language)
    definitions = [*catalogue.all_definitions(), *(g.definition for g in GATES)]
    assert set(table) == {"name", *PARTS}
    assert set(table["families"]) <= {*catalogue.FAMILIES, GATED}
    named = {*catalogue.names(), *(g.name for g in GATES)}
    assert set(table["names"]) <= named
    assert set(table["use"]) <= named
    drawn = [reader(language).curve(name) for name in table["names"]]
    assert len({*drawn}) == len(drawn), "two curves of one name"
    assert set(table["notes"]) <= {d.name for d in catalogue.all_definitions() if d.note}
    assert set(table["parameters"]) <= {p.doc for d in definitions for p in d.parameters} | {
        "the other input"
    }
    web = files("softknee.explorer") / "web"
    show = files("softknee.show")
    told = (*web.iterdir(), show / "plot.py", show / "facts.py")
    page = "".join(f.read_text(encoding="utf-8") for f in told)
    documentation = (Path(__file__).parents[2] / "tools" / "docs.py").read_text(encoding="utf-8")
    documentation += (Path(__file__).parents[2] / "tools" / "claims_pages.py").read_text(encoding="utf-8")
    said = {*VERDICTS} | {word for d in catalogue.all_definitions()[::7] for word in record(d)["traits"]}
    for d in catalogue.all_definitions()[::7]:
        known = facts(d, **{p.name: p.example for p in d.parameters if p.default is None})
        said |= {label for row in (shape_rows(known), normal_rows(known)) for label, _ in row}
    said |= {f"{p.replace('+', ' and ')}, {t}" for p in PASSES for t in ("float32", "bfloat16")}  # of speed
    for label in table["labels"]:
        assert label in said or any(f"{mark}{label}" in page for mark in ("'", '"', ">")), label
    assert set(catalogue.FAMILIES.values()) <= set(table["pages"])
    said |= {*catalogue.FAMILIES.values()}
    for text in table["pages"]:
        assembled = re.sub(r"^, | is used\.$|b?float\d+ number$| …$", "", text)
        assert assembled in documentation or assembled in said, text
    assert all(text.strip() for part in PARTS for text in table[part].values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_facts_are_told_in_the_language(language: str) -> None:
    """No English word is left in the facts but mathematics; formulas and numbers are untouched."""
    told = reader(language)
    for d in catalogue.all_definitions()[::7]:
        known = facts(d, **{p.name: p.example for p in d.parameters if p.default is None})
        told_besides = [("", text) for text in (*cautions(known), *known.remarks, precision(known))]
        for label, text in (*shape_rows(known), *normal_rows(known), *told_besides):
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
