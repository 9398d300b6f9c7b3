"""The links of the built documentation: no page, file or place on a page that is named is missing."""

from __future__ import annotations

import html
import re
from functools import cache
from os.path import normpath
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINK = re.compile(r'\s(?:href|src|srcset)="([^"]*)"')
_PLACE = re.compile(r'\s(?:id|name)="([^"]*)"')
#: its addresses say what it shows, and name no place
EXPLORER = "explorer.html"


def dead(site: Path) -> list[str]:
    """Every link that leads nowhere, with its page."""
    pages = [p for p in sorted(site.rglob("*.html")) if p.name not in (EXPLORER, "404.html")]
    return [
        f"{page.relative_to(site).as_posix()}: dead link {link}"
        for page in pages
        for link in dict.fromkeys(_LINK.findall(page.read_text(encoding="utf-8")))
        if not leads_somewhere(site, page, html.unescape(link))
    ]


def leads_somewhere(site: Path, page: Path, link: str) -> bool:
    """Whether what a link on a page names is there; of other hosts nothing is known."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    named = normpath(page.parent / unquote(parts.path)) if parts.path else str(page)
    target = _file(named)
    if target is None or not target.is_relative_to(site):
        return False
    place = unquote(parts.fragment)
    return not place or target.name == EXPLORER or target.suffix != ".html" or place in _places(target)


@cache
def _file(named: str) -> Path | None:
    """A folder stands for its index.html."""
    path = Path(named)
    path = path / "index.html" if path.is_dir() else path
    return path if path.is_file() else None


@cache
def _places(page: Path) -> frozenset[str]:
    return frozenset(map(html.unescape, _PLACE.findall(page.read_text(encoding="utf-8"))))
