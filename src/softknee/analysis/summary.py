"""The few facts a list of activations shows, kept on disk between processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from softknee.catalogue.definition import Definition
from softknee.lang.text import to_text

__all__ = ["Summary", "summaries"]

_VERSION = 1


@dataclass(frozen=True)
class Summary:
    """For the default parameters; those without a default are 1. low, high: the range; smoothness and
    direction as in Facts."""

    low: float
    high: float
    low_closed: bool
    high_closed: bool
    smoothness: str
    direction: str | None

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def smooth(self) -> bool:
        return self.smoothness == "C∞"


def summaries(
    definitions: Iterable[Definition], tell: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Summary]:
    """Name -> summary. What is not in the cache is computed (some 20 ms each); `tell` hears how far it is."""
    wanted = list(definitions)
    path = _path()
    kept = _read(path)
    keys = {d.name: _key(d) for d in wanted}
    missing = [d for d in wanted if keys[d.name] not in kept]
    for done, definition in enumerate(missing):
        tell(done, len(missing))
        kept[keys[definition.name]] = asdict(_summary(definition))
    if missing:
        _write(path, kept)
    return {name: Summary(**kept[key]) for name, key in keys.items()}


def _key(definition: Definition) -> str:
    text = [
        to_text(definition.chosen({}), exact=True),
        sorted((n, float(v)) for n, v in definition.defaults.items()),
    ]
    return hashlib.sha256(repr((_VERSION, text)).encode()).hexdigest()[:16]


def _summary(definition: Definition) -> Summary:
    from softknee.analysis.function import function_of
    from softknee.analysis.kinks import breaks_of
    from softknee.analysis.shape import direction_of, limits_of, monotone_pieces, range_of, turning

    function = function_of(definition, **{p.name: 1.0 for p in definition.parameters if p.default is None})
    breaks = breaks_of(function)
    parts = turning(function, 0, breaks)
    found = range_of(function, 0, breaks, parts, limits_of(function, 0))
    direction = direction_of(monotone_pieces(function, breaks, parts), breaks)
    return Summary(
        float(found.low), float(found.high), found.low_closed, found.high_closed, breaks.smoothness, direction
    )


def _path() -> Path | None:
    given = os.environ.get("SOFTKNEE_CACHE")
    if given == "off":
        return None
    if given:
        return Path(given) / "summaries.json"
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "softknee" / "summaries.json"
    except RuntimeError:  # no home folder
        return None


def _read(path: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return {k: v for k, v in found.items() if v.keys() == Summary.__dataclass_fields__.keys()}
    except (OSError, ValueError, AttributeError):
        return {}  # missing, unreadable or damaged: computed anew


def _write(path: Path | None, kept: dict[str, Any]) -> None:
    if path is None:
        return
    with contextlib.suppress(OSError):  # a cache that cannot be written is no cache
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(kept, file)
        Path(file.name).replace(path)
