"""The page put together: one HTML file with everything in it, that asks the network for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import softknee
from softknee import catalogue
from softknee.catalogue.translations import LANGUAGES, translations
from softknee.explorer.data import GATED, claims, functions, gates, language, record
from softknee.lang.javascript import operations, runtime
from softknee.show.plot import STYLES

__all__ = ["page", "write"]

#: in this order, in one function, so that nothing leaks into the page
_SCRIPTS = ("mathematics.js", "formula.js", "drawing.js", "functions.js", "laboratory.js", "app.js")


def page(tell: Callable[[int, int], None] = lambda done, total: None, site: str | None = None) -> str:
    """The page as text. Facts are computed anew, some 50 ms an activation; `tell` hears how far it is.

    site: where the documentation stands, seen from the page: then it links to the activations' and the claims' pages.
    """
    definitions = catalogue.all_definitions()
    records, code = [], []
    for done, definition in enumerate(definitions):
        tell(done, len(definitions))
        records.append(record(definition))
        code.append(f"{json.dumps(definition.name)}:{functions(definition)}")
    for one, definition in gates():
        records.append(one)
        code.append(f"{json.dumps(definition.name)}:{functions(definition, definition.parameters[0].name)}")
    data = {
        "version": softknee.__version__,
        "families": [[name, about] for name, about in _families(records).items()],
        "records": records,
        "language": language(),
        "claims": claims(),
        "site": site,
        "translations": {name: _words(name) for name in LANGUAGES},
    }
    script = "\n".join(
        [
            '(()=>{"use strict";',
            runtime(),
            f"const OPERATIONS={operations()};",
            f"const FUNCTIONS={{{','.join(code)}}};",
            f"const DATA={_json(data)};",
            *(_file(name) for name in _SCRIPTS),
            "})();",
        ]
    )
    filled = {
        "<!-- style -->": f"<style>\n{_palette()}\n{_file('style.css')}</style>",
        "<!-- script -->": f"<script>\n{script}\n</script>",
    }
    text = _file("index.html")
    for mark, content in filled.items():
        text = text.replace(mark, content)
    return text


def write(path: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The page as a file; a folder gets an index.html."""
    if path.is_dir():
        path = path / "index.html"
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    path.write_text(page(tell), encoding="utf-8")
    return path


def _families(records: list[dict[str, object]]) -> dict[str, str]:
    known = {
        **catalogue.FAMILIES,
        GATED: "Two inputs: one, passed through an activation, multiplies the other.",
    }
    used = [str(r["family"]) for r in records]
    return {name: known.get(name, "") for name in dict.fromkeys([*known, *used]) if name in used}


def _words(language: str) -> dict[str, Any]:
    return {part: words for part, words in translations(language).items() if part != "pages"}


def _json(data: object) -> str:
    """JSON that may stand in a script."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def _palette() -> str:
    """The colours of the curves, those of the pictures, as custom properties."""
    light, dark = (
        "".join(f"--curve-{i}:{colour};" for i, colour in enumerate(STYLES[style].curves))
        for style in ("light", "dark")
    )
    return f":root{{{light}}}\n:root[data-theme=dark]{{{dark}}}"


def _file(name: str) -> str:
    return (files("softknee.explorer") / "web" / name).read_text(encoding="utf-8")
