"""Diagnoses on the terminal, and as SARIF."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from softknee import __version__
from softknee.diagnose.records import Finding, LayerRow, Report
from softknee.diagnose.rules import RULES, Rule

__all__ = ["render", "render_rule", "render_rules", "sarif"]

_STYLE = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_MARK = {"error": "✗", "warning": "!", "note": "·"}


def render(report: Report) -> RenderableType:
    """What was measured, layer by layer; the findings, the gravest last, where the eye is; the verdict."""
    parts: list[RenderableType] = []
    if report.layers:
        parts += [Padding(_layers(report.layers), (1, 0, 0, 1)), Padding(Text(_LEGEND, style="dim"), (0, 1))]
    for finding in reversed(report.findings):
        parts.append(Padding(_finding(finding), (1, 1, 0, 1)))
    parts += [Padding(Text(f"? {text}", style="dim"), (0, 1)) for text in ("", *report.unseen) if text]
    if report.repair is not None:
        parts.append(Padding(_repair(report), (1, 1, 0, 1)))
    parts.append(Padding(_verdict(report), 1))
    return Group(*parts)


_LEGEND = (
    "q: second moment of the input; f²: of the output, / what theory expects for normal input; flat: share of values "
    "without slope, / expected; gradient: norm at the input."
)


class _layers:
    """The table, with as many columns as there is room for."""

    def __init__(self, rows: tuple[LayerRow, ...]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        wide = options.max_width >= 100
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("layer", overflow="fold")
        table.add_column("activation", overflow="fold")
        for name in (
            "units",
            *(("mean", "q") if wide else ()),
            "f² / theory",
            "flat / theory",
            "dead",
            "gradient",
        ):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(
                row.layer or "(model)", row.activation, str(row.units),
                *((number(row.mean), number(row.second_moment)) if wide else ()),
                f"{number(row.output_second_moment)} / {number(row.expected_output_second_moment)}",
                f"{share(row.flat)} / {share(row.expected_flat)}", str(row.dead) if row.dead else "",
                number(row.gradient),
            )  # fmt: skip
        yield table


def _finding(finding: Finding) -> Text:
    style = _STYLE[finding.severity]
    text = Text()
    text.append(f"{_MARK[finding.severity]} {finding.severity} ", style)
    text.append(f"{finding.code} {finding.rule_name}", "bold")
    text.append(f"  {finding.layer or '(the model)'}\n", "blue")
    text.append(f"  {finding.message[:1].upper()}{finding.message[1:]}.\n")
    for evidence in finding.evidence:
        text.append(f"    {evidence}\n", "dim")
    text.append("  cause: ", "dim").append(f"{finding.cause}\n")
    text.append("  fix:   ", "dim").append(finding.fix)
    return text


def _repair(report: Report) -> Text:
    assert report.repair is not None
    text = Text("On a copy:\n", "bold")
    for line in report.repair.applied or ("nothing that is safe to do",):
        text.append(f"  {line}\n")
    before, after = (
        {(f.code, f.layer) for f in findings if f.severity != "note"}
        for findings in (report.repair.before, report.repair.after)
    )
    text.append(f"  before: {_count(len(before), 'fault')}, after: {len(after)}", "bold")
    for code, layer in sorted(after):
        text.append(f"\n    left: {code} {RULES[code].name} {layer}", "yellow")
    return text


def _verdict(report: Report) -> Text:
    e, w = len(report.errors), len(report.warnings)
    notes = len(report.findings) - e - w
    text = Text()
    if report.healthy:
        text.append("healthy", "bold green")
        text.append(": no error, no warning" + (f", {_count(notes, 'note')}" if notes else ""))
    else:
        text.append(f"{_count(e, 'error')}, {_count(w, 'warning')}", "bold red" if e else "bold yellow")
        text.append(f", {_count(notes, 'note')}" if notes else "")
        text.append(f"; softknee rule {report.findings[0].rule_name} explains the first", "dim")
    loss = "" if report.loss is None else f", loss {report.loss:.4g}"
    text.append(f"\n{report.model}: {report.did}{loss}", "dim")
    return text


def _count(n: int, of: str) -> str:
    return f"{n} {of}{'s' * (n != 1)}"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}" if abs(value) < 1e4 else f"{value:.1e}"


def share(value: float | None) -> str:
    return (
        "–" if value is None else "0" if value < 5e-4 else f"{100 * value:.2g}%" if value < 0.995 else "100%"
    )


# Rules


def render_rule(rule: Rule) -> RenderableType:
    text = Text()
    text.append(f"{rule.code} {rule.name}", "bold").append(f"\n{rule.title}.\n\n")
    for head, body in (("why", rule.why), ("reported", rule.limit), ("fix", rule.remedy)):
        text.append(f"{head:<9}", "dim").append(f"{body}\n")
    for head, code in (("fails", rule.example.failing), ("repaired", rule.example.repaired)):
        text.append(f"\n{head}\n", "dim").append(code_of(code) + "\n")
    return Padding(text, 1)


def render_rules() -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("code", "rule", "what it finds"):
        table.add_column(name, no_wrap=name != "what it finds")
    for rule in RULES.values():
        table.add_row(rule.code, rule.name, rule.title)
    return table


def code_of(code: str) -> str:
    import textwrap

    return textwrap.dedent(code).strip("\n")


# For other tools


def sarif(report: Report, uri: str = "") -> str:
    """SARIF 2.1.0, as code-scanning services read it. uri: the file the model is in."""
    place: dict[str, Any] = {}
    if uri:
        address = quote(uri.replace("\\", "/"))
        place["physicalLocation"] = {"artifactLocation": {"uri": address}, "region": {"startLine": 1}}
    results = [
        {
            "ruleId": f.code,
            "level": f.severity,
            "message": {"text": f"{f.layer or 'the model'}: {f.message}. {f.cause} {f.fix}"},
            "locations": [
                place
                | {"logicalLocations": [{"fullyQualifiedName": f.layer or report.model, "kind": "module"}]}
            ],
            "properties": {"evidence": [str(e) for e in f.evidence]},
        }
        for f in report.findings
    ]
    rules = [
        {
            "id": r.code,
            "name": "".join(word.capitalize() for word in r.name.split("-")),
            "shortDescription": {"text": r.title},
            "fullDescription": {"text": r.why},
            "help": {"text": r.remedy},
        }
        for r in RULES.values()
    ]
    tool = {"driver": {"name": "softknee", "version": __version__, "rules": rules}}
    made = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": tool, "results": results}],
    }
    return json.dumps(made, indent=2, ensure_ascii=False)
