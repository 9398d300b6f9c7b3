"""What other libraries call a function names one that is here, with settings it takes."""

from __future__ import annotations

import pytest

from softknee import catalogue
from softknee.analysis.function import function_of
from softknee.catalogue.elsewhere import ELSEWHERE, called_elsewhere
from softknee.compare.specification import parse


@pytest.mark.parametrize("library", ELSEWHERE)
def test_every_name_is_known(library: str) -> None:
    for theirs, ours in ELSEWHERE[library].items():
        (one,) = parse(ours)
        name, bracket, _ = ours.partition("(")
        assert str(one) == ours
        assert (theirs, ours) in called_elsewhere(name)[library]
        called = theirs.partition("(")[0]
        if called in known() and called != "swish" and not bracket:  # swish's beta is learned here
            assert catalogue.get(called).name == name, theirs


def known() -> set[str]:
    return {n for d in catalogue.all_definitions() for n in (d.name, *d.aliases)}


def test_settings_differ_from_the_defaults() -> None:
    for ours in {o for names in ELSEWHERE.values() for o in names.values() if "(" in o}:
        (one,) = parse(ours)
        settings = dict(one.settings)
        d = catalogue.get(ours.partition("(")[0])
        chosen = {n: v for n, v in settings.items() if n in d.choices}
        values = {n: v for n, v in settings.items() if n not in d.choices}
        assert function_of(d, chosen, **values).exact(-1.0, 0, 15) != function_of(d).exact(-1.0, 0, 15)
