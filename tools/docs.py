"""The generated part of the documentation, as a hook of mkdocs.

A page for each activation, their overview, the reference of the Python names and of the command line, and
the tables that stand in hand-written pages as `<!-- generated: NAME -->`. Nothing is written into docs/.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from softknee import catalogue, explorer
from softknee.analysis.facts import Facts, facts
from softknee.catalogue import Definition, Parameter, Reference
from softknee.catalogue.elsewhere import ELSEWHERE, called_elsewhere
from softknee.catalogue.gates import GATES, Gate
from softknee.catalogue.translations import LANGUAGES, translations
from softknee.diagnose.rules import RULES, Rule
from softknee.explorer.data import GATED
from softknee.lang.differentiate import derivative
from softknee.lang.latex import name_to_latex, to_latex
from softknee.lang.mathml import latex_to_mathml, shortened
from softknee.lang.nodes import Node, rebuild, substitute, walk
from softknee.nn import functional
from softknee.show import plot, words
from softknee.show.facts import printed as shown_formula
from softknee.testing import BOUNDS

sys.path.insert(0, str(Path(__file__).parent))
import chapters
import claims_pages
import exercises
import links
import picture
import reference
import tables
from reference import slug

# Mathematics


def inline(latex: str) -> str:
    return shortened(latex_to_mathml(latex, display=False))


def displayed(latex: str) -> str:
    return f'<div class="sk-formula">{shortened(latex_to_mathml(latex))}</div>\n'


def in_a_cell(text: str) -> str:
    """With bars that do not end a cell of a table."""
    return text.replace("|", "&#124;")


def value(number: object) -> str:
    if isinstance(number, float):
        return {"inf": "∞", "-inf": "−∞"}.get(str(number), f"{number:.12g}".replace("-", "−"))
    return str(number)


# One activation


def bibtex(reference: Reference) -> str:
    """A BibTeX entry; the authors are separated by commas in the catalogue."""
    authors = " and ".join(re.split(r",\s*(?!(?:Jr|Sr)\.)", reference.authors))
    surname = re.split(r",\s*", reference.authors)[0].split()[-1]
    plain = unicodedata.normalize("NFKD", surname).encode("ascii", "ignore").decode().lower()
    key = f"{re.sub(r'[^a-z]', '', plain)}{reference.year}"
    fields = {"title": f"{{{reference.title}}}", "author": authors, "year": str(reference.year)}
    if reference.arxiv:
        fields |= {"eprint": reference.arxiv, "archivePrefix": "arXiv"}
    if reference.doi:
        fields["doi"] = reference.doi
    if reference.url:
        fields["url"] = reference.url
    width = max(map(len, fields))
    body = "".join(f"  {name:<{width}} = {{{text}}},\n" for name, text in fields.items())
    return f"@{'misc' if reference.arxiv and not reference.doi else 'article'}{{{key},\n{body}}}"


def link(reference: Reference) -> str:
    where = f", {reference.where}" if reference.where else ""
    if reference.arxiv:
        target = f"[arXiv:{reference.arxiv}](https://arxiv.org/abs/{reference.arxiv})"
    elif reference.doi:
        target = f"[doi:{reference.doi}](https://doi.org/{reference.doi})"
    elif reference.url:
        target = f"[link]({reference.url})"
    else:
        target = ""
    return f"{reference.authors} ({reference.year}). *{reference.title}*{where}. {target}".strip()


def parameter_row(p: Parameter) -> str:
    default = "required" if p.default is None else value(p.default)
    if p.spelled is not None:
        default += f" (torch writes {value(p.spelled)})"
    if p.learnable:
        default += ", <span>learnable</span>"
    default = re.sub(r"(\d+\.\d{5})\d{3,}", r"\1…", default)
    return f"| `{p.name}` | {inline(name_to_latex(p.name))} | {default} | {in_a_cell(p.doc)} |"


def choice_name(d: Definition, key: Any) -> str:
    chosen = key if isinstance(key, tuple) else (key,)
    return ", ".join(f"{name}={each!r}" for name, each in zip(d.choices, chosen, strict=False))


def _never(node: Node) -> Node | None:
    """Cases that need something to be above infinity."""
    if node.op == "where" and node.args[0].op in ("gt", "ge"):
        bound = node.args[0].args[1]
        if bound.op == "number" and bound.payload == math.inf:
            return node.args[2]
    return None


def printed(d: Definition, expression: Node) -> Node:
    """Without the cases that only a parameter brings that is infinite unless given (softplus: threshold)."""
    infinite = {p.name: p.default for p in d.parameters if p.default in (math.inf, -math.inf)}
    return rebuild(substitute(expression, infinite), _never) if infinite else expression


#: functions that formulas name, and what they are
NAMED = {
    "sigmoid": r"\sigma(x) = 1 / (1 + e^{-x})",
    "softplus": r"\operatorname{softplus}(x) = \ln(1 + e^x)",
    "normal_cdf": r"\Phi(x) = (1 + \operatorname{erf}(x / \sqrt{2})) / 2",
    "normal_pdf": r"\varphi(x) = e^{-x^2 / 2} / \sqrt{2 \pi}",
}


def formulas(d: Definition, name: str, change: Callable[[Node], Node]) -> str:
    default, *others = (
        (key, displayed(f"{name} = {to_latex(change(printed(d, e)))}"))
        for key, e in sorted(d.expression.items(), key=lambda item: item[0] != d.default_choice)
    )
    plain = printed(d, d.expression[d.default_choice])
    shown = change(plain)
    used, known = ({n.op for n in walk(e)} for e in (shown, plain))
    new = [inline(text) for op, text in NAMED.items() if op in used and (shown is plain or op not in known)]
    formula = default[1] + (f"\n<span>where</span> {', '.join(new)}.\n" if new else "")
    if not others:
        return formula
    folded = "\n\n".join(f"`{choice_name(d, key)}`\n\n{formula}" for key, formula in others)
    return f'{formula}\n??? note "With other arguments"\n\n{textwrap.indent(folded, "    ")}\n'


def page(d: Definition) -> str:
    also = f"Also called {', '.join(f'`{a}`' for a in d.aliases)}. " if d.aliases else ""
    parts = [
        f"---\ntitle: {d.name}\nsearch:\n  boost: 4\n---\n",  # before what mentions it
        f"# {d.name} {{ .sk-name }}\n",
        languages_offered("../"),
        f"{also}<span>Family:</span> [{d.family}](index.md#{slug(d.family)}).\n",
        formulas(d, "f(x)", lambda e: e),
        '<div class="sk-plot" markdown>\n'
        f"![{d.name} and its derivative]({d.name}-light.svg#only-light)\n"
        f"![{d.name} and its derivative]({d.name}-dark.svg#only-dark)\n</div>\n",
    ]
    parts.append(f"[In the explorer](../explorer.html#f={d.name}){{ .md-button }}\n")
    if d.note:
        parts.append(f'!!! note ""\n    {d.note}\n')
    parts += [
        "## Use\n",
        f"```python\nfrom softknee import nn, functional as F\n\n{usage(d)}\n```\n",
    ]
    if d.parameters:
        parts += [
            "| parameter | symbol | default | meaning |\n| --- | --- | --- | --- |",
            "\n".join(map(parameter_row, d.parameters)) + "\n",
        ]
    parts += ["## Derivative\n", formulas(d, "f'(x)", lambda e: derivative(e, "x"))]
    for place, slope in d.kinks.items():
        side = {"left": "the slope from the left", "right": "the slope from the right",
                "mean": "the mean of both one-sided slopes"}.get(slope) if isinstance(slope, str) else None  # fmt: skip
        used = side or f"the slope {inline(to_latex(slope) if isinstance(slope, Node) else str(slope))}"
        parts.append(f"At the kink at {inline(f'x = {to_latex(place)}')}, {used} is used.\n")
    if d.training is not None:
        noise = "; ".join(f"{inline(name_to_latex(n.name))} {DRAWN[n.distribution]}" for n in d.noise)
        parts += ["## In training\n"]
        parts += [displayed(f"f(x) = {to_latex(e)}") for e in list(d.training.values())[:1]]
        parts.append(f"with {noise}, drawn anew for every element.\n" if noise else "")
    parts += [facts_table(d), not_for(d), accuracy(d), speed(d), elsewhere(d), claims_pages.tested(d.name)]
    if d.reference is not None:
        parts += ["## Source\n", link(d.reference) + "\n", f"```bibtex\n{bibtex(d.reference)}\n```\n"]
    return "\n".join(parts)


def gate_page(gate: Gate) -> str:
    """A gated unit: a function of two inputs."""
    d = gate.definition
    shown = shown_formula(d, {}, d.defaults)
    order = d.inputs if gate.gate_first else d.inputs[::-1]
    halves = "the gate, then the other input" if gate.gate_first else "the other input, then the gate"
    arguments = "x" if gate.torch else ", ".join(order)
    parts = [
        f"---\ntitle: {d.name}\nsearch:\n  boost: 4\n---\n",  # before what mentions it
        f"# {d.name} {{ .sk-name }}\n",
        languages_offered("../"),
        f"<span>Family:</span> [{GATED}](index.md#{slug(GATED)}).\n",
        displayed(f"f({', '.join(map(name_to_latex, order))}) = {to_latex(shown)}"),
        f'<iframe class="sk-live" style="height: 46rem" src="../../explorer.html#f={d.name}&embed=1" '
        'title="A live picture" loading="lazy"></iframe>\n',
        f"[In the explorer](../explorer.html#f={d.name}){{ .md-button }}\n",
        "## Use\n",
        f"```python\nfrom softknee import nn, functional as F\n\ny = F.{d.name}({arguments})\nlayer = nn.{d.module}()\n```\n",
        f"The halves of one tensor are {halves}; how else they may lie, and layers with weights: [gates](../gates.md).\n",
        "| parameter | symbol | default | meaning |\n| --- | --- | --- | --- |",
        "\n".join(parameter_row(replace(p, learnable=False)) for p in d.parameters) + "\n",
        "## Derivative\n",
        *(
            displayed(
                rf"\frac{{\partial f}}{{\partial {name_to_latex(n)}}} = {to_latex(derivative(shown, n))}"
            )
            for n in order
        ),
        f"## When to use it, and when not\n\n{d.use}\n",
        f"## Accuracy\n\nThat of [{gate.activation}]({gate.activation}.md#accuracy), and of a product; large factors: [gates](../gates.md).\n",
        "## Speed\n\nMeasured against what one writes with torch in [gates](../gates.md).\n",
        elsewhere(d) if d.torch else "",
        claims_pages.tested(d.name),
        f"## Source\n\n{link(gate.reference)}\n",
        f"```bibtex\n{bibtex(gate.reference)}\n```\n",
    ]
    return "\n".join(parts)


def languages_offered(folder: str) -> str:
    """For the head of a page that words.js translates; folder: where the words are, seen from the page."""
    names = json.dumps({code: translations(code)["name"] for code in LANGUAGES}, ensure_ascii=False)
    return f"""<div class="sk-languages" data-folder="{folder}" data-words='{names}'></div>\n"""


#: what stands in it is told phrase by phrase in other languages
TOLD = '<div class="sk-facts" markdown>\n\n'


def words_of(language: str) -> str:
    """For words.js: what the pages of activations say, in another language."""
    table = translations(language)
    exact = {**table["labels"], **table["families"], **table["parameters"], **table["pages"]}
    exact |= {f[:1].upper() + f[1:]: said[:1].upper() + said[1:] for f, said in table["families"].items()}
    exact |= {g.use: table["use"].get(g.name, g.use) for g in GATES}
    for d in catalogue.all_definitions():
        exact |= {d.use: table["use"].get(d.name, d.use), d.note: table["notes"].get(d.name, d.note)}
    spoken = {"exact": exact, "phrases": table["phrases"], "names": table["names"]}
    return f"globalThis.softkneeWords = {json.dumps(spoken, ensure_ascii=False)};\n"


def known(d: Definition) -> Facts:
    """What is known of it with its defaults (or its example values, where it has none)."""
    return facts(d, None, **{p.name: p.example for p in d.parameters if p.default is None})


def facts_table(d: Definition) -> str:
    f = known(d)
    parts = [
        f"## Facts\n\n{TOLD}{words.precision(f).capitalize()}{settings_of(f.parameters)}.\n",
        rows(words.shape_rows(f)),
    ]
    parts += ["For a standard normal input z:\n", rows(words.normal_rows(f))]
    parts.append(
        "<span>What the last rows say of deep networks:</span> [gain and χ](../learn/initialisation.md), "
        "[Q′(1)](../learn/self-normalisation.md#a-fixed-point-that-attracts), [C(0)](../learn/bias-shift.md#what-it-does-in-depth).\n"
    )
    parts += (f'!!! warning ""\n    {remark}\n' for remark in f.remarks)
    return "\n".join([*parts, "</div>\n"])


def not_for(d: Definition) -> str:
    found = list(words.cautions(known(d)))
    if d.training is not None:
        found.append("Where training and evaluation must agree: in training it draws at random.")
    parts = ["## When to use it, and when not\n", f"{d.use}\n"]
    if found:
        parts += ["Not, as its facts say:\n", TOLD, *(f"- {caution}" for caution in found), "\n</div>\n"]
    return "\n".join(parts)


def accuracy(d: Definition) -> str:
    """The largest errors of all inputs where these were tried, and the bounds that the tests hold it to."""
    lines = [
        "## Accuracy\n",
        "| type | order | largest error, in ULP | over |\n| --- | --- | ---: | --- |",
    ]
    tried = tables.largest_errors()
    for dtype, bounds in BOUNDS.items():
        for order, bound in zip(("value", "derivative"), bounds, strict=True):
            measured = tried.get((d.name, dtype, order))
            if measured is None:
                within = "correctly rounded" if bound == 0.5 else f"≤ {bound:g}"
                lines.append(f"| {dtype} | {order} | {within} | the tests' points |")
            else:
                lines.append(f"| {dtype} | {order} | {measured:.3g} | every {dtype} number |")
    return "\n".join([*lines, "", "Units, points and exceptions: [accuracy](../accuracy.md).\n"])


def elsewhere(d: Definition) -> str:
    """What it is called in other libraries."""
    lines = ["## Elsewhere\n", "| library | its name | here |\n| --- | --- | --- |"]
    if d.torch:
        lines.append(f"| torch.nn.<wbr>functional, torch.nn | `{d.torch}`, `{d.module}` | `{d.name}` |")
    for library, names in called_elsewhere(d.name).items():
        shown = library.replace(".", ".<wbr>")
        lines += [f"| {shown} | `{theirs}` | `{ours}` |" for theirs, ours in names]
    for theirs in d.elsewhere:
        lines.append(f"| modules that `softknee.swap` recognises | `{theirs}` | `{d.name}` |")
    if len(lines) == 2:
        return "## Elsewhere\n\nNo other library that was compared has it.\n"
    return "\n".join([*lines, ""])


def elsewhere_table() -> str:
    """What has another name in other libraries, or other defaults; names that are the same are counted."""
    lines = ["| library | its name | here |", "| --- | --- | --- |"]
    same = 0
    for library, names in ELSEWHERE.items():
        for theirs, ours in sorted(names.items()):
            name = ours.partition("(")[0]
            if plain(theirs) == plain(ours):
                same += 1
                continue
            shown = f"`{ours}`" if "(" in ours else f"[`{name}`](activations/{name}.md)"
            lines.append(f"| {library.replace('.', '.<wbr>')} | `{theirs}` | {shown} |")
    return "\n".join([f"{same} names are the same there and here. The others:\n", *lines])


def plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def speed(d: Definition) -> str:
    """What was measured of it against torch, at the largest size."""
    _, *measured = tables.records("forward-cpu") or [{}]
    mine = [r for r in measured if r["function"] == d.name]
    if not mine:
        return f"## Speed\n\nNot among those measured for [performance](../performance.md); `softknee bench {d.name}` measures it here.\n"
    largest = max(r["size"] for r in mine)
    shown = [
        (f"{r['passes'].replace('+', ' and ')}, {r['dtype']}", f"{r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f})")
        for r in mine if r["size"] == largest
    ]  # fmt: skip
    return (
        "## Speed\n\n<span>How many times as fast as torch (median and quartiles), for</span> "
        f"{largest:,} <span>values</span> ([performance](../performance.md)):\n\n{rows(shown)}"
    )


def rows(shown: Iterable[tuple[str, str]]) -> str:
    escaped = ((label, text.replace("|", "\\|")) for label, text in shown)
    return "\n".join(["| | |\n| --- | --- |", *(f"| {label} | {text} |" for label, text in escaped), ""])


def settings_of(parameters: Any) -> str:
    shown = ", ".join(f"{name}&nbsp;=&nbsp;{words.number(v)}" for name, v in parameters.items())
    return f"; {shown}" if shown else ""


DRAWN = {"uniform": "uniform between 0 and 1", "normal": "standard normal"}


def usage(d: Definition) -> str:
    called = inspect.signature(getattr(functional, d.name)).parameters
    known = {p.name: value(p.example if p.default is None else p.default) for p in d.parameters}
    computed = {p.name for p in d.parameters if p.computed}  # by its module
    required = [n for n, p in called.items() if n in known and (p.default is p.empty or n in computed)]
    call = ", ".join(["x", *(f"{n}={known[n]}" for n in required)])
    asked = [f"{p.name}={known[p.name]}" for p in d.parameters if p.default is None]
    made = ["64"] if computed else asked
    return f"y = F.{d.name}({call})\nlayer = nn.{d.module}({', '.join(made)})"


def overview() -> str:
    count = len(catalogue.names())
    parts = [
        f"# Activations\n\n{languages_offered('')}\n<span>{count}</span> <span>functions, from one definition each.</span>\n"
    ]
    for family, members in by_family().items():
        parts += [
            f"## {family[:1].upper()}{family[1:]} {{ #{slug(family)} }}\n",
            catalogue.FAMILIES.get(family, "") + "\n",
        ]
        parts.append('<div class="sk-overview" markdown>\n')
        parts.append("| | f(x) | when to use it |\n| --- | --- | --- |")
        parts += [
            f"| [{d.name}]({d.name}.md){{ .sk-name }} | {in_a_cell(inline(to_latex(printed(d, d.chosen({})))))} | {in_a_cell(d.use)} |"
            for d in members
        ]
        parts.append("\n</div>\n")
    parts += [
        f"## {GATED[:1].upper()}{GATED[1:]} {{ #{slug(GATED)} }}\n",
        '<div class="sk-overview" markdown>\n',
        "| | f(gate, up) | when to use it |\n| --- | --- | --- |",
    ]
    for gate in GATES:
        formula = inline(to_latex(shown_formula(gate.definition, {}, gate.definition.defaults)))
        parts.append(
            f"| [{gate.name}]({gate.name}.md){{ .sk-name }} | {in_a_cell(formula)} | {in_a_cell(gate.use)} |"
        )
    return "\n".join([*parts, "\n</div>\n"])


@cache
def by_family() -> dict[str, list[Definition]]:
    found: dict[str, list[Definition]] = {family: [] for family in catalogue.FAMILIES}
    for d in catalogue.all_definitions():
        found.setdefault(d.family, []).append(d)
    return {family: members for family, members in found.items() if members}


# Rules of the diagnosis


def rule_page(rule: Rule) -> str:
    return "\n".join([
        f"# {rule.name}\n",
        f"**{rule.code}.** {rule.title}.\n",
        f"{rule.why}\n",
        f"## When it is reported\n\n{rule.limit}\n",
        f"## What to do\n\n{rule.remedy}\n",
        "## Example\n\nWith `torch`, `nn` and `F` imported. This fails:\n",
        fenced(rule.example.failing),
        "What `softknee.check` says of it:\n",
        "```text\n" + finding_of(rule) + "\n```\n",
        "This is repaired:\n",
        fenced(rule.example.repaired),
    ])  # fmt: skip


def fenced(code: str) -> str:
    return "```python\n" + textwrap.dedent(code).strip("\n") + "\n```\n"


def finding_of(rule: Rule) -> str:
    from softknee.diagnose.examples import run

    found = next(f for f in run(rule.example.failing).findings if f.code == rule.code)
    lines = [
        f"{found.severity} {found.code} {found.rule_name} in {found.layer!r}: {found.message}.",
        *(f"  {evidence}" for evidence in found.evidence),
        f"cause: {found.cause}",
        f"fix: {found.fix}",
    ]
    return "\n".join(
        textwrap.fill(
            line, 78, initial_indent=line[: len(line) - len(line.lstrip())], subsequent_indent="    "
        )
        for line in lines
    )


def rules_overview() -> str:
    return "\n".join([
        "# Rules\n",
        "What [`softknee.check`](../diagnosis.md) looks for. Each page has an example that fails, and its repair.\n",
        "| code | rule | what it finds |\n| --- | --- | --- |",
        *(f"| {r.code} | [{r.name}]({r.name}.md) | {r.title} |" for r in RULES.values()),
        "",
    ])  # fmt: skip


# The hook

#: how each picture of a command is drawn; a phone shows the one for a column
_DRAWN = {
    "light": "",
    "dark": " --dark",
    "phone-light": " --size paper",
    "phone-dark": " --size paper --dark",
}
_COMMANDED = re.compile(r"<!-- picture: (.+?) -->")


def commanded() -> dict[str, str]:
    """The pictures of the commands that docs/pictures.md shows, where these stand."""
    found = {}
    source = (Path(__file__).parents[1] / "docs" / "pictures.md").read_text(encoding="utf-8")
    for number, arguments in enumerate(_COMMANDED.findall(source), 1):
        for name, options in _DRAWN.items():
            said = f"{arguments}{options}"
            found[f"pictures-{number}-{name}.svg"] = picture.kept(
                partial(picture.of_command, said), said, inspect.getsource(plot)
            )
    return found


def shown(path: str, words: str, kind: str = "sk-plot") -> str:
    """A picture of which there are four: for light and dark pages, and for a phone."""
    images = (
        f'<picture><source media="(max-width: 44em)" srcset="{path}-phone-{s}.svg">'
        f'<img src="{path}-{s}.svg#only-{s}" alt="{words}"></picture>'
        for s in ("light", "dark")
    )
    return f'<div class="{kind}">{"".join(images)}</div>\n'


def shown_command(number: int, arguments: str) -> str:
    name = arguments.replace('"', "")
    whole = re.sub(
        r" (?!--)", "\N{NO-BREAK SPACE}", f"softknee plot {arguments}"
    )  # an option stays with its value
    lines = textwrap.wrap(whole, 76, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
    return f"```bash\n{f' {chr(92)}{chr(10)}'.join(lines)}\n```\n\n{shown(f'../pictures-{number}', f'softknee plot {name}')}"


def shown_experiment(match: re.Match[str]) -> str:
    return shown(f"../assets/examples/{match[1]}", match[2], "sk-experiment")


def pages() -> dict[str, str]:
    found = {"activations/index.md": overview()}
    found |= {f"activations/{d.name}.md": page(d) for d in catalogue.all_definitions()}
    found |= {f"activations/{g.name}.md": gate_page(g) for g in GATES}
    drawing = inspect.getsource(picture)
    for d in catalogue.all_definitions():
        drawn = picture.kept(partial(picture.one, d), d.name, d.expression, d.parameters, d.kinks, drawing)
        found |= {
            f"activations/{d.name}-light.svg": drawn,
            f"activations/{d.name}-dark.svg": picture.dark(drawn),
        }
    found |= {f"activations/words-{code}.js": words_of(code) for code in LANGUAGES}
    found |= commanded()
    found["rules/index.md"] = rules_overview()
    found |= {f"rules/{r.name}.md": rule_page(r) for r in RULES.values()}
    found |= claims_pages.pages()
    found |= chapters.pages()
    found |= notebooks()
    found |= {path: write() for path, write in reference.PAGES.items()}
    found["explorer.html"] = explorer.page(site="")
    return found


NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def notebooks() -> dict[str, str]:
    """A page for each notebook, with its code, and the notebook itself to take along."""
    found = {}
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        parts = []
        for cell in json.loads(text)["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] != "code":
                parts.append(source.replace("<details>", "<details markdown>"))
            elif parts[-1].endswith("</details>"):  # the code of a solution is folded with it
                parts[-1] = f"{parts[-1].removesuffix('</details>')}{fenced(source)}\n</details>"
            else:
                parts.append(fenced(source))
        parts.insert(1, f"[Take the notebook along]({path.name}){{ .md-button }}")
        found |= {f"notebooks/{path.stem}.md": "\n\n".join(parts) + "\n", f"notebooks/{path.name}": text}
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    families = [
        {f[:1].upper() + f[1:]: [f"activations/{d.name}.md" for d in members]}
        for f, members in by_family().items()
    ]
    families.append({GATED[:1].upper() + GATED[1:]: [f"activations/{g.name}.md" for g in GATES]})
    filled = {"activations": {"Activations": ["activations/index.md", *families]}}
    topics = [
        {topic: [f"claims/{one.name}.md" for one, _ in claims_pages.ledger() if one.topic == topic]}
        for topic in claims_pages.TOPICS
        if any(one.topic == topic for one, _ in claims_pages.ledger())
    ]
    filled["claims"] = {"Claims": ["claims/index.md", "claims/errata.md", "claims/questions.md", *topics]}
    filled["rules"] = {"Rules": ["rules/index.md", *(f"rules/{r.name}.md" for r in RULES.values())]}
    filled["reference"] = {"Reference": list(reference.PAGES)}
    for entry in config.nav or []:
        if isinstance(entry, dict) and "Learn" in entry:
            entry["Learn"].append({"Notebooks": [f"notebooks/{path.stem}.md" for path in NOTEBOOKS]})
            entry["Learn"].append(chapters.navigation())
    config.nav = [
        filled.get(next(iter(entry.values())), entry)
        if isinstance(next(iter(entry.values())), str)
        else entry
        for entry in config.nav or []
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, content in pages().items():
        if (translated := files.get_file_from_path(path)) is not None:
            files.remove(translated)  # a chapter, whose blocks are filled in now
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    def fill(match: re.Match[str]) -> str:
        return GENERATED[match[1]]()

    def live(match: re.Match[str]) -> str:
        """A view of the explorer; its address is relative to the page."""
        address = f"{'../' * page.url.count('/')}explorer.html#{match[2]}&embed=1"
        return f'<iframe class="sk-live" style="height: {match[1]}" src="{address}" title="A live picture" loading="lazy"></iframe>'

    if page.file.src_uri.startswith("learn/"):
        links = chapters.languages_of(page.file.src_uri)
        markdown = re.sub(
            r"^# .*\n", lambda head: f"{head[0]}\n{links}", markdown, count=1, flags=re.MULTILINE
        )
    for number, found in enumerate(_COMMANDED.findall(markdown), 1):
        markdown = markdown.replace(f"<!-- picture: {found} -->", shown_command(number, found))
    markdown = re.sub(r"<!-- experiment (\w+): (.+?) -->", shown_experiment, markdown)
    markdown = re.sub(r"<!-- live ([0-9]+rem): (\S+) -->", live, markdown)
    markdown = joined(re.sub(r"<!-- generated: ([a-z0-9-]+) -->", fill, markdown))
    if problems := [*_UNFILLED.findall(markdown), *ragged(markdown)]:
        raise PluginError(
            "\n".join([f"{page.file.src_uri}: not understood, or with too many cells:", *problems])
        )
    return markdown


_WIDE = r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"


def joined(markdown: str) -> str:
    """Chinese lines without the space that a browser makes of their ends."""
    return re.sub(rf"(?<={_WIDE})\n(?={_WIDE})", "", markdown)


def on_page_content(html: str, **_: object) -> str:
    """Code in a line breaks, where its style lets it, between the parts of its names; never in `--option`."""
    return re.sub(r"(<pre\b.*?</pre>)|(<code>)(.*?)(</code>)", _breakable, html, flags=re.DOTALL)


def _breakable(match: re.Match[str]) -> str:
    block, start, code, end = match.groups()
    if block:
        return block
    option, joint = (
        r"(?<![\w-])--?[a-z][\w-]*",
        r"(?<=\w)[_/](?=[A-Za-z])|(?<=\w)\.(?=[A-Za-z]\w{4})|[=(,](?=[\w&])",
    )
    parts = re.sub(rf"{option}|({joint}|(?<=[a-z])(?=[A-Z][a-z]))", _part, code)
    return f"{start}{parts}{end}"


def _part(found: re.Match[str]) -> str:
    return f'<span class="sk-whole">{found[0]}</span>' if found[1] is None else f"{found[0]}<wbr>"


_UNFILLED = re.compile(r"<!-- (?:live|generated|picture|experiment|block)\b.*")


def ragged(markdown: str) -> Iterator[str]:
    """Rows of tables with more or fewer cells than their head: what is too much would not be shown."""
    wanted = 0
    for line in re.sub(r"^ *```.*?^ *```", "", markdown, flags=re.MULTILINE | re.DOTALL).splitlines():
        cells = re.sub(r"`[^`]*`|\\\|", "", line).count("|") if line.lstrip().startswith("|") else 0
        if wanted and cells and cells != wanted:
            yield line
        wanted = (wanted or cells) if cells else 0


def language_of(page: Page | None) -> str:
    found = re.match(r"learn/([a-z]{2})/", page.file.src_uri) if page else None
    return found[1] if found else "en"


def on_page_context(context: Any, page: Page, config: MkDocsConfig, **_: object) -> Any:
    """A translated chapter has the theme's own words in its language; what is written in another is no next page, and
    no previous one."""
    config.theme["language"] = language_of(page)
    page.next_page, page.previous_page = (
        other if language_of(other) == language_of(page) else None
        for other in (page.next_page, page.previous_page)
    )
    return context


def on_post_page(output: str, **_: object) -> str:
    """A name for the theme's search."""
    return output.replace('role="dialog">', 'role="dialog" aria-label="Search">', 1)


def on_post_build(config: MkDocsConfig) -> None:
    """No link is dead, also of those that are not written in Markdown."""
    if found := links.dead(Path(config.site_dir)):
        raise PluginError("\n".join(["dead links:", *found]))


GENERATED: dict[str, Callable[[], str]] = {
    **tables.TABLES,
    "elsewhere": elsewhere_table,
    "exercises": exercises.by_function,
    "backward-step": exercises.backward_step,
    **{f"exercises-{code}": partial(exercises.by_function, code) for code in LANGUAGES},
    **{f"backward-step-{code}": partial(exercises.backward_step, code) for code in LANGUAGES},
}
