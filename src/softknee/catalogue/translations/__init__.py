"""What readers of other languages see: labels, families, and what an activation is for.

One TOML file a language; what is missing there is shown in English.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

__all__ = ["LANGUAGES", "translations"]

#: Python's own from 3.11 on
_toml: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

#: those there is a file for, by their code
LANGUAGES = ("ko", "ru", "zh")


@cache
def translations(language: str) -> dict[str, Any]:
    """name: of the language, in itself; labels, families, phrases (of facts): English -> its words there;
    names, use: of a function."""
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    text = (files("softknee.catalogue.translations") / f"{language}.toml").read_text(encoding="utf-8")
    return dict(_toml.loads(text))
