"""The chapters of docs/learn in other languages.

A translation is prose. Its code, live pictures and generated parts are those of the English chapter, by their
number there: `<!-- block 2 -->`. A chapter that is not translated is shown in English.
"""

from __future__ import annotations

import re
from pathlib import Path

from softknee.catalogue.translations import LANGUAGES, translations

LEARN = Path(__file__).parents[1] / "docs" / "learn"
CHAPTERS = tuple(p.stem for p in sorted(LEARN.glob("*.md")))
_BLOCK = re.compile(r"^```.*?^```$|^<!-- .*? -->$", re.MULTILINE | re.DOTALL)


def blocks(english: str) -> list[str]:
    return _BLOCK.findall(english)


def chapter(name: str, language: str) -> str:
    """Its Markdown, with what it has from the English one."""
    english = (LEARN / f"{name}.md").read_text(encoding="utf-8")
    translated = LEARN / language / f"{name}.md"
    if not translated.exists():
        return english.replace("](../", "](../../")
    shared = blocks(english)

    def block(match: re.Match[str]) -> str:
        number = int(match[1])
        if not 1 <= number <= len(shared):
            raise ValueError(
                f"learn/{language}/{name}.md asks for block {number}; the English has {len(shared)}"
            )
        found = shared[number - 1]
        found = re.sub(r"(<!-- live \S+ \S+)", rf"\1&lang={language}", found)
        return re.sub(r"<!-- generated: (exercises|backward-step)", rf"<!-- generated: \1-{language}", found)

    return re.sub(r"<!-- block (\d+) -->", block, translated.read_text(encoding="utf-8"))


def pages() -> dict[str, str]:
    return {f"learn/{code}/{name}.md": chapter(name, code) for code in LANGUAGES for name in CHAPTERS}


def navigation() -> dict[str, list[dict[str, list[str]]]]:
    """The section of the other languages, chapter by chapter in the order of the English ones."""
    ordered = ("index", "kinks", "saturation", "dying-units", "bias-shift", "self-normalisation", "initialisation",
               "choosing", "exercises")  # fmt: skip
    found = [*(n for n in ordered if n in CHAPTERS), *(n for n in CHAPTERS if n not in ordered)]
    return {"Other languages": [{translations(code)["name"]: [f"learn/{code}/{n}.md" for n in found]} for code in LANGUAGES]}  # fmt: skip


def languages_of(address: str) -> str:
    """For a chapter's head: the chapter in each language. address: of its source, learn/(xx/)name.md."""
    *_, language, file = ["", *address.removeprefix("learn/").split("/")][-2:]
    up = "../" if language else ""
    links = []
    for code, name in [("en", "English"), *((c, translations(c)["name"]) for c in LANGUAGES)]:
        here = code == (language or "en")
        target = f"{up}{'' if code == 'en' else f'{code}/'}{file}"
        links.append(f"**{name}**" if here else f'[{name}]({target}){{ lang="{code}" hreflang="{code}" data-language="{code}" }}')  # fmt: skip
    return f'<div class="sk-languages" markdown>\n{" · ".join(links)}\n</div>\n\n'
