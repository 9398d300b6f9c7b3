"""What a diagnosis found: plain values, complete enough that showing them needs no computing."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

__all__ = ["ERROR", "NOTE", "WARNING", "Evidence", "Finding", "LayerRow", "Repair", "Report", "Severity"]

Severity = Literal["error", "warning", "note"]
ERROR: Severity = "error"
WARNING: Severity = "warning"
NOTE: Severity = "note"
_ORDER = {ERROR: 0, WARNING: 1, NOTE: 2}


@dataclass(frozen=True)
class Evidence:
    """One measurement beside what was expected; `text` is both in words."""

    text: str
    measured: float
    expected: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Finding:
    """One fault: where it is, what shows it, what causes it and what to do.

    layer: the qualified name of a module, as `named_modules` has it; the whole model is "".
    units: which of the layer's units, where it is about some of them.
    """

    code: str
    rule_name: str
    severity: Severity
    layer: str
    message: str
    evidence: tuple[Evidence, ...]
    cause: str
    fix: str
    units: tuple[int, ...] = ()
    repairable: bool = False

    def __str__(self) -> str:
        shown = "; ".join(map(str, self.evidence))
        return f"{self.code} {self.rule_name} [{self.severity}] {self.layer or '(the model)'}: {self.message} ({shown})"


@dataclass(frozen=True)
class LayerRow:
    """What was measured at one activation, over all samples.

    mean, second_moment: of the input z. output_mean, output_second_moment: of f(z), and what theory
    expects of it for normal z with the same second moment. flat: the share of values with a slope
    below 1 % of the steepest. zero: the share of outputs that are exactly 0; expected_zero beside it.
    gradient: the root mean square, over samples, of the gradient's norm at z; None without backward.
    """

    layer: str
    activation: str
    units: int
    samples: int
    mean: float
    second_moment: float
    output_mean: float
    output_second_moment: float
    expected_output_second_moment: float | None
    flat: float
    expected_flat: float | None
    zero: float
    expected_zero: float | None
    dead: int
    gradient: float | None


@dataclass(frozen=True)
class Repair:
    """What `fix` did to a copy of the model: the findings before and after."""

    applied: tuple[str, ...]
    before: tuple[Finding, ...]
    after: tuple[Finding, ...]


@dataclass(frozen=True)
class Report:
    """What a check or a watch found, the gravest first.

    unseen: what could not be looked at, and why. did: what was run. repair: of `--fix`.
    """

    model: str
    findings: tuple[Finding, ...]
    layers: tuple[LayerRow, ...] = ()
    unseen: tuple[str, ...] = ()
    did: str = ""
    loss: float | None = None
    timeline: Any = None
    repair: Repair | None = None
    repaired: Any = None  # the repaired copy of the model

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", tuple(sorted(self.findings, key=lambda f: _ORDER[f.severity])))

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == WARNING)

    @property
    def healthy(self) -> bool:
        """No error and no warning; notes are allowed."""
        return not (self.errors or self.warnings)

    @property
    def exit_status(self) -> int:
        """0 where the model is healthy, 1 where it is not: what the command line returns."""
        return 0 if self.healthy else 1

    def only(self, select: Collection[str] = (), ignore: Collection[str] = ()) -> Report:
        """The report with the findings of these rules alone, and without those; codes or names."""

        def named(f: Finding, words: Collection[str]) -> bool:
            return f.code in words or f.rule_name in words

        kept = [f for f in self.findings if (not select or named(f, select)) and not named(f, ignore)]
        return replace(self, findings=tuple(kept))

    def to_dict(self) -> dict[str, Any]:
        """Everything that was found, as JSON has it."""
        made = {
            k: v
            for k, v in asdict(replace(self, repaired=None, timeline=None)).items()
            if k not in ("repaired", "timeline")
        }
        made["healthy"] = self.healthy
        if self.timeline is not None:
            made["timeline"] = self.timeline.to_dict()
        return made

    def to_json(self) -> str:
        return json.dumps(_finite(self.to_dict()), indent=2, ensure_ascii=False)

    def __repr__(self) -> str:
        head = f"{self.model}: {len(self.errors)} errors, {len(self.warnings)} warnings"
        return "\n".join([head, *map(str, self.findings)])

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        from softknee.show.diagnosis_html import fragment

        return fragment(self)

    def save(self, path: str | Path, text: str) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are written as text."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
