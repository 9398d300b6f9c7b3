"""A diagnosis as one HTML file that needs no other, in the style of the comparison's report."""

from __future__ import annotations

import functools
import math
from typing import Any

from jinja2 import Environment

from softknee.diagnose.records import Report
from softknee.diagnose.timeline import History
from softknee.show.diagnosis import number, share
from softknee.show.pages import environment

__all__ = ["fragment", "html"]

#: series -> (its title, whether it is a share, whether its scale is logarithmic)
_PANELS = {
    "silent": ("silent units", True, False),
    "flat": ("flat values", True, False),
    "variance": ("variance of the input", False, True),
    "mean": ("mean of the input", False, False),
    "gradient_out": ("gradient at the input", False, True),
    "update": ("size of an update", False, True),
}


def html(report: Report) -> str:
    """The whole report."""
    return _environment().get_template("diagnosis.html.j2").render(_view(report))


def fragment(report: Report) -> str:
    """Verdict, findings and layers, for a notebook's cell."""
    return _environment().get_template("diagnosis_fragment.html.j2").render(_view(report))


@functools.cache
def _environment() -> Environment:
    return environment({"number": number, "share": share})


def _view(report: Report) -> dict[str, Any]:
    if report.healthy:
        verdict = "Healthy: no error, no warning"
    else:
        first = report.findings[0]
        verdict = f"{first.rule_name} in {first.layer or 'the model'}: {first.message}"
    histories = [
        {"history": h, "panels": _panels(h)} for h in (report.timeline.layers if report.timeline else ())
    ]
    return {"r": report, "verdict": verdict, "histories": histories}


def _panels(history: History) -> list[dict[str, Any]]:
    made = []
    for name, (title, is_share, logarithmic) in _PANELS.items():
        known = [
            (s, v)
            for s, v in zip(history.steps, history.series[name], strict=True)
            if math.isfinite(v) and (v > 0 or not logarithmic)
        ]
        if len(known) < 2:
            continue
        shown = [math.log10(v) if logarithmic else v for _, v in known]
        low, high = (0.0, 1.0) if is_share else (min(shown), max(shown))
        span, first = (high - low) or 1.0, known[0][0]
        width = (known[-1][0] - first) or 1
        points = " ".join(
            f"{100 * (s - first) / width:.1f},{100 * (1 - (v - low) / span):.1f}"
            for (s, _), v in zip(known, shown, strict=True)
        )
        text = share if is_share else number
        made.append(
            {"title": title, "points": points, "first": text(known[0][1]), "last": text(known[-1][1])}
        )
    return made
