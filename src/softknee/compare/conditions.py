"""Conditions: values, lists of values and ranges of everything that is not an activation, and their product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from softknee.compare import networks, user
from softknee.compare.errors import CompareError, nearest
from softknee.compare.protocol import Init, Optimiser, Protocol
from softknee.compare.specification import ranged
from softknee.compare.tasks import Task

#: setting -> (type, least value, a bound that is not reached)
_LIMITS: dict[str, tuple[type, float, float]] = {
    "depth": (int, 1, math.inf),
    "width": (int, 1, math.inf),
    "epochs": (int, 1, math.inf),
    "batch_size": (int, 1, math.inf),
    "noise": (float, 0, math.inf),
    "scale": (float, -math.inf, math.inf),
    "bias": (float, -math.inf, math.inf),
    "samples": (int, 0, math.inf),
    "weight_penalty": (float, 0, math.inf),
    "activation_penalty": (float, 0, math.inf),
    "batch_norm": (bool, 0, 2),
    "dropout": (float, 0, 1),
    "patience": (int, 0, math.inf),
}
_WORDS = {"init": get_args(Init), "optimiser": get_args(Optimiser)}


@dataclass(frozen=True, eq=False)
class Condition:
    """One task and one protocol; `varies` are the settings that differ between the conditions of a comparison."""

    task: Task
    protocol: Protocol
    varies: Mapping[str, Any]
    title: str


def conditions(tasks: Sequence[Task], settings: Mapping[str, Any]) -> list[Condition]:
    """The product of the tasks and all values of the settings, the network's own defaults where one is None."""
    found = []
    for task in tasks:
        for name in _networks(settings["network"], task):
            theirs = name not in networks.NETWORKS
            _, depths, width = (None, 0, 0) if theirs else networks.NETWORKS[name]
            own = {"depth": depths, "width": width, "init": "same" if theirs else "own"}
            if theirs and not settings["depth"] is settings["width"] is None:
                raise CompareError(
                    "depth and width are for the networks that softknee builds, not for your own"
                )
            grid = {
                key: many(key, own[key]) if value is None else values(key, value)
                for key, value in settings.items()
                if key != "network"
            }
            for chosen in itertools.product(*grid.values()):
                protocol = Protocol(network=name, **dict(zip(grid, chosen, strict=True)))
                networks.check(task, protocol)
                found.append((task, protocol))
    names = [f.name for f in fields(Protocol)]
    varying = [n for n in names if len({getattr(protocol, n) for _, protocol in found}) > 1]
    made = []
    for task, protocol in found:
        varies = {name: getattr(protocol, name) for name in varying}
        words = [described(name, value) for name, value in varies.items()]
        if not varying and len(tasks) == 1:
            words = (
                [described("depth", protocol.depth)] if protocol.network == "mlp" else [protocol.network_name]
            )
        made.append(Condition(task, protocol, varies, ", ".join([task.name] * (len(tasks) > 1) + words)))
    return made


def values(name: str, given: Any) -> tuple[Any, ...]:
    """All values of a setting, checked."""
    if name in _WORDS:
        found = many(name, given)
        for value in found:
            if value not in _WORDS[name]:
                raise CompareError(f"{name}={value!r}; it is {' or '.join(map(repr, _WORDS[name]))}")
        return found
    if name == "layers":
        for value in (found := many(name, given)):
            networks.chosen(str(value), 10**6)
        return tuple(map(str, found))
    kind, least, below = _LIMITS[name]
    found = tuple(_number(name, v, kind) for v in many(name, given, kind is int))
    if any(not least <= v < below for v in found):
        what = {int: "whole numbers", float: "numbers", bool: "true or false"}[kind]
        limits = f" from {least:g}" * (least > -math.inf) + f" to below {below:g}" * (
            below < math.inf and kind is not bool
        )
        raise CompareError(f"{name}: {what}{limits} are needed, not {list(found)}")
    return found


def many(name: str, given: Any, whole: bool = False) -> tuple[Any, ...]:
    """One value, a sequence, or a text of values and ranges: 0.1, "1,2,4", "0.1..2", "0..1:5"."""
    found: list[Any] = []
    parts = given.split(",") if isinstance(given, str) else given
    for part in parts if isinstance(parts, Iterable) else [parts]:
        if isinstance(part, str) and ".." in part:
            if (several := ranged(part)) is None:
                raise CompareError(f"{name}: {part.strip()} is no range: write low..high, or low..high:count")
            found += dict.fromkeys(map(round, several)) if whole else several
        else:
            found.append(part.strip() if isinstance(part, str) else part)
    if not found:
        raise CompareError(f"{name}: no value is given")
    if len(set(map(str, found))) < len(found):
        raise CompareError(f"{name}: a value is given twice in {', '.join(map(str, found))}")
    return tuple(found)


def _number(name: str, value: Any, kind: type) -> Any:
    if isinstance(value, str):
        if kind is bool and value.lower() in ("on", "true", "yes", "1", "off", "false", "no", "0"):
            return value.lower() in ("on", "true", "yes", "1")
        try:
            value = float(value)
        except ValueError:
            raise CompareError(
                f"{name}: {value!r} is not a {'choice of on and off' if kind is bool else 'number'}"
            ) from None
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float)):
        raise CompareError(f"{name}: {value!r} is not {'on or off' if kind is bool else 'a number'}")
    if kind is int and value != int(value):
        raise CompareError(f"{name}: whole numbers are needed, not {value}")
    return kind(value)


def _networks(given: Any, task: Task) -> list[str]:
    """The names of the networks; those that are not built in are registered."""
    found = []
    for one in many("network", networks.usual(task) if given is None else given):
        if isinstance(one, str) and ":" not in one and one not in networks.NETWORKS:
            raise CompareError(
                f"no network called {one!r}; nearest: {', '.join(nearest(one, networks.NETWORKS))}; or give "
                "module:function"
            )
        found.append(one if one in networks.NETWORKS else user.register(one))
    return found


def described(name: str, value: Any) -> str:
    """A condition in words: '12 hidden layers', 'noise 0.5', 'batch norm'."""
    if name == "depth":
        return f"{value} hidden layer{'s' * (value > 1)}"
    if isinstance(value, bool):
        return f"{'' if value else 'no '}{name.replace('_', ' ')}"
    if name == "network":
        return str(value).partition("#")[0]
    if name == "init":
        return f"{value} initialisation"
    text = f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value
    if name == "samples":
        return f"{text} training samples" if value else "all training samples"
    if name == "epochs":
        return f"{text} epochs"
    return f"{name.replace('_', ' ')} {text}"
