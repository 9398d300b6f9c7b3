"""A dead link in the built documentation is found, also one that is not written in Markdown."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "links.py"


@pytest.mark.parametrize(
    ("link", "alive"),
    [
        ("guide/", True), ("guide/index.html#there", True), ("#here", True), ("a%20b.png", True), ("explorer.html#f=relu", True),
        ("https://example.org/x", True), ("mailto:a@b.c", True), ("guide/#nowhere", False), ("#nowhere", False),
        ("missing/", False), ("ab.png", False), ("../outside.html", False),
    ],
)  # fmt: skip
def test_what_leads_somewhere(link: str, alive: bool, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("links", TOOL)
    assert spec is not None
    assert spec.loader is not None
    links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(links)
    site = tmp_path / "site"
    (site / "guide").mkdir(parents=True)
    (site / "guide" / "index.html").write_text('<h2 id="there">', encoding="utf-8")
    for name in ("a b.png", "explorer.html"):
        (site / name).touch()
    (tmp_path / "outside.html").touch()
    (site / "index.html").write_text(f'<p id="here"><a class="x" href="{link}">', encoding="utf-8")
    found = links.dead(site)
    assert found == ([] if alive else [f"index.html: dead link {link}"])
