"""`fix`: what can safely be repaired, on a copy of the model; then the copy is examined again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from softknee.diagnose.errors import CheckError
from softknee.diagnose.records import NOTE, Repair, Report
from softknee.diagnose.rules import RULES
from softknee.diagnose.rules.base import sharded

__all__ = ["repaired"]

ROUNDS = 4  # a repair may bring to light what the fault had hidden


def repaired(report: Report, measured: Any, again: Callable[[Any], tuple[Report, Any]]) -> Report:
    """The report with the repair of a copy in it.

    measured: what the report was made from. again: measures a model in the same way.
    """
    if any(map(sharded, measured.context.model.parameters())):
        raise CheckError("a sharded model is not repaired: repair it before fully_shard")
    try:
        model = copy.deepcopy(measured.context.model)
    except Exception as error:  # noqa: BLE001 (a user's module copies itself as it likes)
        said = f"nothing was repaired: the model cannot be copied ({type(error).__name__}: {error})"
        return replace(report, unseen=(*report.unseen, said))
    applied: list[str] = []
    current, seen = report, measured
    for _ in range(ROUNDS):
        done = _done(model, current, seen, thorough=False) or _done(model, current, seen, thorough=True)
        applied += done
        if not done:
            break
        current, seen = again(model)
        if current.healthy:
            break
    return replace(
        report,
        repair=Repair(tuple(dict.fromkeys(applied)), report.findings, current.findings),
        repaired=model if applied else None,
    )


def _done(model: nn.Module, report: Report, measured: Any, thorough: bool) -> list[str]:
    """What was repaired, by rules of one kind."""
    done: list[str] = []
    for finding in report.findings:
        rule = RULES[finding.code]
        if finding.severity == NOTE or rule.repair is None or rule.thorough is not thorough:
            continue
        said = rule.repair(model, finding, measured.context)
        if said is not None and said not in done:
            done.append(said)
    return done
