"""What a claim's script says of itself, read without running it."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TOPICS", "Entry", "entries", "entry", "folder"]

#: The ledger's chapters, in the order of teaching.
TOPICS = (
    "Formulas and constants",
    "Derivatives and kinks",
    "Dying units and sparsity",
    "Depth and gradients",
    "Starting values and inputs",
    "Self-normalisation",
    "Slopes, fixed and learned",
    "Maxout, gates and shrinkage",
    "Speed and precision",
    "Choosing",
    "Published comparisons, repeated",
)
_LABELS = ("Taught", "Right", "Effect", "Practice")


@dataclass(frozen=True)
class Entry:
    """A claim. `taught`: where it is met; `text`: what to know of it; `practice`: what follows; of an error in
    teaching material also what is `right` and its `effect`. `about`: the activations it concerns."""

    name: str
    claim: str
    taught: str
    text: str
    practice: str
    right: str
    effect: str
    topic: str
    about: tuple[str, ...]
    script: Path
    digest: str

    @property
    def erratum(self) -> bool:
        """An error in a constant, formula or range, not a matter of experience."""
        return bool(self.right)


def folder() -> Path:
    """`examples/claims` of the working folder or of the checkout this package is in."""
    for root in (Path.cwd(), Path(__file__).parents[3]):
        if (root / "examples" / "claims").is_dir():
            return root / "examples" / "claims"
    raise FileNotFoundError(
        "the claims' scripts are in examples/claims of the repository: run this in a clone of it"
    )


def entries() -> list[Entry]:
    """Every claim, topic by topic."""
    found = [entry(path) for path in folder().glob("*.py")]
    return sorted(found, key=lambda e: (TOPICS.index(e.topic), not e.erratum, e.name))


def entry(script: Path) -> Entry:
    """The claim of one script."""
    source = script.read_text(encoding="utf-8")
    tree = ast.parse(source)
    topic, about = next((ast.literal_eval(node.value) for node in tree.body if _heading(node)), ("", ()))
    claim, *paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(ast.get_docstring(tree) or ""))
    labelled = dict.fromkeys(_LABELS, "")
    text = []
    for paragraph in paragraphs:
        label, _, rest = paragraph.partition(": ")
        if label in labelled:
            labelled[label] = rest
        else:
            text.append(paragraph)
    if missing := [label for label in ("Taught", "Practice") if not labelled[label]]:
        raise ValueError(f"{script.name}: the docstring needs a paragraph that starts with {missing[0]!r}")
    if topic not in TOPICS:
        raise ValueError(
            f"{script.name}: it needs a line TOPIC, ABOUT = topic, (activations...), the topic one of: {'; '.join(TOPICS)}"
        )
    return Entry(
        name=script.stem.replace("_", "-"),
        claim=" ".join(claim.split()).removesuffix("."),
        taught=labelled["Taught"],
        text="\n\n".join(text),
        practice=labelled["Practice"],
        right=labelled["Right"],
        effect=labelled["Effect"],
        topic=topic,
        about=tuple(about),
        script=script,
        digest=_digest(tree),
    )


def _digest(tree: ast.Module) -> str:
    """Of what the script does: prose and layout may change without making a measurement stale."""
    code = ast.Module([node for node in tree.body if not _prose(node) and not _heading(node)], [])
    return hashlib.sha256(ast.unparse(code).encode()).hexdigest()[:16]


def _prose(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _heading(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).strip("()") == "TOPIC, ABOUT"
