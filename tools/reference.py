"""The reference of the Python names and of the command line, from docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib import import_module
from typing import Any

import torch
import typer

import softknee
from softknee import catalogue, testing
from softknee.catalogue import Definition
from softknee.nn import beyond, initialise

#: what calls return, section by section, and what a docstring stands in for
RESULTS = ("softknee.analysis.facts:Facts", "softknee.analysis.kinks:Kink", "softknee.nn.swap:Swapped",
           "softknee.diagnose.records:Report", "softknee.diagnose.records:Finding", "softknee.diagnose.watch:Watch",
           "softknee.diagnose.timeline:Timeline", "softknee.compare.records:Comparison")  # fmt: skip
DELEGATES = {"softknee.compare": "softknee.compare.experiment:compare"}
_DOCTEST = re.compile(r"(^>>> .*?(?=\n\n|\Z))", re.MULTILINE | re.DOTALL)
_INDENTED = r"(?m)^    (?=\S)"


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def found(address: str) -> Any:
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)


def documented(name: str, value: Any, called: bool = True) -> str:
    """A heading, the signature (if one calls it) and the docstring; of a class, its fields, methods and attributes."""
    described = found(DELEGATES[name]) if name in DELEGATES else value
    parts = [f"### `{name}` {{ #{slug(name)} }}\n"]
    fields = tuple(f.name for f in dataclasses.fields(value)) if dataclasses.is_dataclass(value) else ()
    properties = (n for n, each in vars(value).items() if _computed(each)) if inspect.isclass(value) else ()
    parameters: Iterable[str] = (*fields, *properties)
    if callable(described) and called:
        parameters = inspect.signature(described).parameters
        text = f"{name}{shown_signature(described)}"
        if len(text) > 72:
            text = text.replace("(", "(\n    ", 1).replace(", ", ",\n    ")
        parts.append(f"```python\n{text}\n```\n")
    parts.append(laid_out(inspect.getdoc(described) or "", parameters) + "\n")
    if inspect.isclass(value):
        named = [f for f in fields if not f.startswith("_")]
        parts.append(f"Fields: {', '.join(f'`{f}`' for f in named)}.\n" if named else "")
        parts.append(members(value))
    return "\n".join(parts)


def _computed(member: object) -> bool:
    return isinstance(member, property | cached_property)


def members(value: type) -> str:
    rows = []
    for name, each in vars(value).items():
        doc = inspect.getdoc(each) if inspect.isfunction(each) or _computed(each) else None
        if doc and not name.startswith("_"):
            shown = name if _computed(each) else f"{name}{shown_signature(each)}"
            rows.append(f"| `{shown}` | {first_paragraph(doc)} |")
    return "| | |\n| --- | --- |\n" + "\n".join(rows) + "\n" if rows else ""


def laid_out(doc: str, parameters: Iterable[str]) -> str:
    """A docstring as Markdown: its parameters as a list, its doctests as blocks of code."""
    names = "|".join(re.escape(p) for p in parameters)
    parts = []
    for part in _DOCTEST.split(doc):
        if part.startswith(">>> "):
            parts.append(f"```pycon\n{part}\n```")
            continue
        for paragraph in re.split(r"\n\n+", part.strip("\n")):
            head, _, body = paragraph.partition("\n")
            if head in ("Args:", "Raises:", "Returns:"):
                parts.append(f"**{head.removesuffix(':')}**\n\n{_entries(body, _INDENTED)}")
            elif names and re.match(rf"(?:{names})(?:, (?:{names}))*: ", paragraph):
                flat = " ".join(paragraph.split())
                parts.append(_entries(flat, rf"(?:^|(?<=[.;:)] ))(?=(?:{names})(?:, (?:{names}))*: )"))
            else:
                parts.append(paragraph)
    return "\n\n".join(parts)


def _entries(text: str, start: str) -> str:
    entries = [" ".join(entry.split()).rstrip(";") for entry in re.split(start, text) if entry.strip()]
    return "\n".join(re.sub(r"^([\w*, ]+): ", lambda head: f"- `{head[1]}`: ", entry) for entry in entries)


def shown_signature(function: Any) -> str:
    signature = inspect.signature(function)
    kept = [
        p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name not in {"self", "cls"}
    ]
    shown = str(signature.replace(parameters=kept, return_annotation=signature.empty))
    return shown.replace("|", "\\|").replace("=<factory>", "=...")


def first_paragraph(doc: str) -> str:
    return " ".join(doc.split("\n\n")[0].split()).replace("|", "\\|")


def python() -> str:
    """The public names, and what they return."""
    parts = [
        "# Python\n",
        "`import softknee` loads nothing heavy; each name is loaded when it is first used. The modules have pages of "
        "their own: [functional](functional.md), [nn](nn.md), [init](init.md), [testing](testing.md).\n",
    ]
    for name in softknee.__all__:
        value = getattr(softknee, name)
        if not (inspect.ismodule(value) and not callable(value)) and not name.startswith("_"):
            parts.append(documented(f"softknee.{name}", value))
    parts.append("## What they return\n")
    parts += [documented(address.partition(":")[2], found(address), called=False) for address in RESULTS]
    return "\n".join(parts)


def functional() -> str:
    return "\n".join([
        "# softknee.functional\n",
        "`from softknee import functional as F`. What is not listed here is torch.nn.functional's own.\n",
        "## Activations\n",
        "Tensors of any shape; the page of each has its formula, its parameters and its source.\n",
        calls(lambda d: f"F.{d.name}{shown_signature(getattr(softknee.functional, d.name))}"),
        "## Gated units, normalisers and others\n",
        *(documented(f"softknee.functional.{n}", getattr(softknee.functional, n)) for n in sorted(beyond.FUNCTIONS)),
    ])  # fmt: skip


def modules() -> str:
    return "\n".join([
        "# softknee.nn\n",
        "`from softknee import nn`. What is not listed here is torch.nn's own.\n",
        "## Activations\n",
        "Each is called with the parameters of its function; those that are learned have torch's names.\n",
        calls(lambda d: f"nn.{d.module}{shown_signature(constructor(getattr(softknee.nn, d.module)))}"),
        "## Layers\n",
        *(documented(f"softknee.nn.{n}", getattr(softknee.nn, n)) for n in sorted(beyond.MODULES)),
    ])  # fmt: skip


def constructor(module: type) -> Any:
    """What makes a module; what has none of its own takes nothing."""
    return (lambda: None) if module.__init__ is torch.nn.Module.__init__ else module.__init__  # type: ignore[misc]


def calls(call: Callable[[Definition], str]) -> str:
    rows = [f"| `{call(d)}` | [{d.name}](../activations/{d.name}.md) |" for d in catalogue.all_definitions()]
    return "| call | |\n| --- | --- |\n" + "\n".join(sorted(rows, key=str.lower)) + "\n"


def initialisation() -> str:
    ours = [n for n, v in vars(initialise).items() if getattr(v, "__module__", "") == initialise.__name__]
    shown = sorted((n for n in ours if not n.startswith("_")), key=lambda n: (n[0].isupper(), n))
    return "\n".join([
        "# softknee.init\n",
        "Initial weights for any activation ([guide](../initialisation.md)). torch.nn.init's functions are here, too.\n",
        *(documented(f"softknee.init.{n}", getattr(initialise, n)) for n in shown),
    ])  # fmt: skip


def tests() -> str:
    shown = [n for n in testing.__all__ if callable(getattr(testing, n))]
    return "\n".join([
        "# softknee.testing\n",
        "The laws that the catalogue is held to, for activations of one's own ([guide](../defining.md)).\n",
        *(documented(f"softknee.testing.{n}", getattr(testing, n)) for n in shown),
    ])  # fmt: skip


def command_line() -> str:
    from softknee.cli import app

    command = typer.main.get_command(app)
    return "\n".join(["# Command line\n", (command.help or "") + "\n", *_commands(command, "softknee", "##")])


def _commands(group: Any, called: str, level: str) -> Iterable[str]:
    for name, each in sorted(getattr(group, "commands", {}).items()):
        if each.hidden:
            continue
        yield f"{level} {called} {name}\n\n{inspect.cleandoc(each.help or '')}\n"
        arguments = [p for p in each.params if p.param_type_name == "argument"]
        shown = [p.metavar or (p.name or "").upper() for p in arguments]
        shown = [s if p.required or s[0] == "[" else f"[{s}]" for p, s in zip(arguments, shown, strict=True)]
        yield f"```text\n{' '.join([called, name, *shown, '[options]'])}\n```\n"
        rows = [(f"`{s}`", p.help or "") for p, s in zip(arguments, shown, strict=True)]
        rows = [row for row in rows if row[1]]
        for p in each.params:
            if p.param_type_name == "option" and "--help" not in p.opts:
                names = ", ".join(f"`{o}`" for o in (*p.opts, *p.secondary_opts))
                default = "" if p.default in (None, False, "") or p.required else f" Default: `{p.default}`."
                help_ = p.help or ""
                rows.append((names, f"{help_}{'' if help_.endswith('.') else '.'}{default}"))
        if rows:
            yield "| | |\n| --- | --- |\n" + "\n".join(f"| {a} | {b} |" for a, b in rows) + "\n"
        yield from _commands(each, f"{called} {name}", "###")


PAGES: dict[str, Callable[[], str]] = {
    "reference/python.md": python,
    "reference/functional.md": functional,
    "reference/nn.md": modules,
    "reference/init.md": initialisation,
    "reference/testing.md": tests,
    "reference/command-line.md": command_line,
}
