"""The pages of the claims ledger: one for each claim, made of its script's docstring and its record, and the tables."""

from __future__ import annotations

import inspect
import re
import sys
from functools import cache, partial
from pathlib import Path

from softknee import catalogue
from softknee.claims import TOPICS, Entry, Record, entries, records
from softknee.claims.record import kind
from softknee.show import claims as drawing
from softknee.show.claims import cell, dark, picture
from softknee.show.words import typeset

sys.path.insert(0, str(Path(__file__).parent))
from picture import kept

_MARKS = {
    "holds": "holds",
    "refuted": "refuted",
    "holds only if": "depends",
    "not distinguishable": "undecided",
}


@cache
def ledger() -> tuple[tuple[Entry, Record], ...]:
    """Every claim that has a record."""
    known = records()
    return tuple((one, known[one.name]) for one in entries() if one.name in known)


def about(name: str) -> list[tuple[Entry, Record]]:
    """The claims that concern an activation."""
    return [(one, record) for one, record in ledger() if name in one.about]


def badge(verdict: str) -> str:
    """The verdict, coloured, without its condition."""
    found = kind(verdict)
    return f'<span class="sk-verdict sk-{_MARKS[found]}">{found}{" …" if found == "holds only if" else ""}</span>'


def formatted(text: str) -> str:
    """Prose of a docstring as Markdown: what it says of itself, but no accidental emphasis or HTML."""
    return re.sub(r"(?<!\w)([A-Za-z]*\([^()`]*\*[^()`]*\))", r"`\1`", typeset(text).replace("<", "&lt;"))


def pages() -> dict[str, str]:
    found = {}
    for one, record in ledger():
        found[f"claims/{one.name}.md"] = page(one, record)
        for i, figure in enumerate(record.figures, 1):
            drawn = kept(partial(picture, figure), figure, inspect.getsource(drawing))
            found[f"claims/{one.name}-{i}-light.svg"] = drawn
            found[f"claims/{one.name}-{i}-dark.svg"] = dark(drawn)
    return found


def page(one: Entry, record: Record) -> str:
    where = ", ".join(f"{k} {v}" for k, v in record.environment.items())
    parts = [
        f"---\ntitle: {one.name}\n---\n",
        f"# {formatted(one.claim)}\n",
        f"{badge(record.verdict)}{_condition(record.verdict)}\n",
        f"*Taught: {formatted(one.taught.rstrip('.'))}.*\n",
    ]
    if one.erratum:
        parts += [
            f'!!! success "Right"\n    {_indented(one.right)}\n',
            f'!!! failure "What the error does"\n    {_indented(one.effect)}\n',
        ]
    parts += ["## Measured\n", *(f"{formatted(text)}\n" for text in record.said)]
    if record.parts:
        parts.append("| | verdict |\n| --- | --- |")
        parts += [f"| {formatted(s)} | {badge(v)}{_condition(v)} |" for s, v in record.parts]
        parts.append("")
    for i, figure in enumerate(record.figures, 1):
        alt = figure["title"].replace("[", "(").replace("]", ")")
        images = (f"![{alt}]({one.name}-{i}-{shade}.svg#only-{shade})" for shade in ("light", "dark"))
        parts.append('<div class="sk-plot" markdown>\n' + "\n".join(images) + "\n</div>\n")
    parts.append(_key(record))
    for each in record.tables:
        parts += [f"**{typeset(each['title'])}**\n", _table(each["columns"], each["rows"])]
    parts += ["## How, and why\n", f"{formatted(one.text)}\n"] if one.text else []
    parts += ["## In practice\n", f"{formatted(one.practice)}\n"]
    if one.about:
        links = ", ".join(f"[{n}](../activations/{catalogue.get(n).name}.md)" for n in one.about)
        parts.append(f"About {links}.\n")
    source = one.script.read_text(encoding="utf-8").split('"""', 2)[2].lstrip()
    parts += [
        "## Do it again\n",
        f"```bash\nsoftknee claims run {one.name}\n```\n",
        f"Recorded in {max(1, round(record.seconds))} s on one core with {where}.\n",
        f'??? example "`examples/claims/{one.script.name}`"\n\n    ```python\n    {_indented(source.rstrip())}\n    ```\n',
    ]
    return "\n".join(parts)


def _condition(verdict: str) -> str:
    return "" if verdict == kind(verdict) else f" {formatted(verdict.removeprefix('holds only if'))}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ").replace("\n    \n", "\n\n")


def _table(columns: list[str], rows: list[list[object]]) -> str:
    head = "| " + " | ".join(_escaped(typeset(c)).replace(" %]", "&nbsp;%]") for c in columns) + " |"
    rule = "| --- |" + " ---: |" * (len(columns) - 1)
    body = ("| " + " | ".join(_spread(_escaped(cell(c))) for c in row) + " |" for row in rows)
    return "\n".join([head, rule, *body, ""])


def _spread(text: str) -> str:
    """A number with its interval: this smaller, and on a phone below, as in the tables of measurements."""
    return re.sub(r"(?<=\d) (\[[^\]]+\].*)", r" <small>\1</small>", text)


def _key(record: Record) -> str:
    """What is drawn, where that does not speak for itself."""
    kinds = {
        f["kind"]
        for f in record.figures
        if any("low" in s and s["low"] != s["high"] for s in f.get("series", f.get("rows", ())))
    }
    said = {
        "lines": "Lines are means over the seeds, bands their 10th to 90th percentile.",
        "points": "Points are means, bars their 95&nbsp;% intervals.",
    }
    return " ".join(text for name, text in said.items() if name in kinds) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def index() -> str:
    """The ledger by topic."""
    counts = {name: sum(kind(r.verdict) == name for _, r in ledger()) for name in _MARKS}
    parts = [
        f"{len(ledger())} claims: " + ", ".join(f"{n} {badge(v)}" for v, n in counts.items() if n) + ".\n"
    ]
    for topic in TOPICS:
        rows = [(one, record) for one, record in ledger() if one.topic == topic]
        if rows:
            parts += [f"## {topic}\n", "| claim | verdict |\n| --- | --- |"]
            parts += [
                f"| [{formatted(o.claim)}]({o.name}.md) | {badge(r.verdict)}{_condition(r.verdict)} |"
                for o, r in rows
            ]
            parts.append("")
    return "\n".join(parts)


def errata() -> str:
    """Wrong constants, formulas and ranges."""
    rows = [
        '<div class="sk-stacked" markdown>\n',
        "| it says | right | what the error does |\n| --- | --- | --- |",
    ]
    for one, _ in ledger():
        if one.erratum:
            cells = (f"[{formatted(one.claim)}]({one.name}.md)", *map(formatted, (one.right, one.effect)))
            rows.append("| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in cells) + " |")
    return "\n".join([*rows, "\n</div>\n"])


def tested(name: str) -> str:
    """For an activation's page: what was claimed of it, and the verdicts."""
    rows = about(name)
    if not rows:
        return ""
    parts = ["## Claims, tested\n", "| claim | verdict |\n| --- | --- |"]
    parts += [f"| [{formatted(o.claim)}](../claims/{o.name}.md) | {badge(r.verdict)} |" for o, r in rows]
    return "\n".join([*parts, ""])
