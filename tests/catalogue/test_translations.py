"""A translation may lack an entry, but has none for what does not exist."""

from __future__ import annotations

from importlib.resources import files

import pytest

from softknee import catalogue
from softknee.analysis import facts
from softknee.catalogue.translations import LANGUAGES, translations
from softknee.explorer.data import record
from softknee.show.words import normal_rows, shape_rows


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_is_known_and_every_entry_says_something(language: str) -> None:
    table = translations(language)
    assert set(table) == {"name", "labels", "families", "use"}
    assert set(table["families"]) <= set(catalogue.FAMILIES)
    assert set(table["use"]) <= set(catalogue.names())
    web = files("softknee.explorer") / "web"
    page = "".join(f.read_text(encoding="utf-8") for f in web.iterdir())
    said = {word for d in catalogue.all_definitions()[::7] for word in record(d)["traits"]}
    for d in catalogue.all_definitions()[::7]:
        known = facts(d, **{p.name: p.example for p in d.parameters if p.default is None})
        said |= {label for row in (shape_rows(known), normal_rows(known)) for label, _ in row}
    for label in table["labels"]:
        assert label in said or f'"{label}"' in page or f">{label}<" in page, label
    assert all(text.strip() for part in ("labels", "families", "use") for text in table[part].values())


def test_an_unknown_language_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ValueError, match="one of ko, ru, zh"):
        translations("xx")
