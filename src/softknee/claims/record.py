"""What a run of a claim's script found: plain values, kept as JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["VERDICTS", "Record", "kind", "load", "records", "save"]

#: "holds only if" goes on with the condition.
VERDICTS = ("holds", "refuted", "holds only if", "not distinguishable")
_NUMBERS = re.compile(r"\[\s+(?:(?:-?\d[\d.e+-]*|null),?\s+)+\]")  # a list of numbers takes one line
_RECORDED = Path(__file__).parent / "records"


@dataclass(frozen=True)
class Record:
    """`said`: the result in sentences; `parts`: (statement, verdict) where a claim says several things; `tables` and
    `figures`: as `Evidence` made them; `environment`: versions and machine; `seconds`: of one core; `digest`: of the script
    that measured."""

    name: str
    claim: str
    about: list[str]
    verdict: str
    said: list[str]
    parts: list[list[str]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    digest: str = ""

    def contradictions(self, recorded: Record) -> list[str]:
        """Where this run's verdicts are not the recorded ones."""
        found = []
        if kind(self.verdict) != kind(recorded.verdict):
            found.append(f"recorded: {recorded.verdict}; this run: {self.verdict}")
        before = dict(map(tuple, recorded.parts))  # type: ignore[arg-type]
        for statement, verdict in self.parts:
            if statement in before and kind(before[statement]) != kind(verdict):
                found.append(f"{statement}: recorded: {before[statement]}; this run: {verdict}")
        return found


def kind(verdict: str) -> str:
    """Which of the four a verdict is, its condition aside."""
    for one in sorted(VERDICTS, key=len, reverse=True):
        if verdict == one or (one == "holds only if" and verdict.startswith(one)):
            return one
    raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}; got {verdict!r}")


def records() -> dict[str, Record]:
    """The recorded results, by name."""
    return {path.stem: load(path) for path in sorted(_RECORDED.glob("*.json"))}


def load(path: Path) -> Record:
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def save(record: Record, where: Path | None = None) -> Path:
    """Into the folder `where`, or into the ledger itself; whole or not at all."""
    target = (where or _RECORDED) / f"{record.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(asdict(record)), ensure_ascii=False, indent=1, allow_nan=False)
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), text)
    partial = target.with_suffix(".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(target)
    return target


def _plain(value: Any) -> Any:
    """For JSON: numbers to six digits; what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (bool, str, int)) or value is None:
        return value
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
