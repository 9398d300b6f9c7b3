"""Markdown tables out of the recorded measurements in benchmarks/results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import claims_pages
from softknee.show.words import typeset

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def records(name: str) -> list[dict[str, Any]]:
    """The lines of a file of measurements; the first says what was measured where. None: not measured."""
    path = RESULTS / f"{name}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _size(n: int) -> str:
    return f"{n:,}"


def setting(run: dict[str, Any]) -> str:
    return (
        f"Measured on {run['date']}: {run['device']}, {run['threads']} thread{'s' * (run['threads'] != 1)}, torch {run['torch']}, "
        f"Python {run['python']}, softknee {run['softknee']}; {run['input']} input; peer: {run['peer']}."
    )


def spread(middle: float, low: float, high: float) -> str:
    """A ratio with what it lies between, for a cell of a page."""
    return f"{middle:.2f} <small>({low:.2f} to {high:.2f})</small>"


def ratios(dtype: str, passes: str, device: str = "cpu", sizes: tuple[int, ...] = ()) -> str:
    """How many times as fast as torch: median and quartiles."""
    _, *measured = records(f"forward-{device}") or [{}]
    rows = [
        r for r in measured if (r["dtype"], r["passes"], r.get("peer", "torch")) == (dtype, passes, "torch")
    ]
    shown = sizes or tuple(sorted({r["size"] for r in rows}))
    lines = [
        "| function | " + " | ".join(_size(n) for n in shown) + " |",
        "| --- |" + " ---: |" * len(shown),
    ]
    for function in sorted({r["function"] for r in rows}):
        by_size = {r["size"]: r for r in rows if r["function"] == function}
        cells = [
            spread(by_size[n]["ratio"], by_size[n]["ratio_low"], by_size[n]["ratio_high"]) for n in shown
        ]
        lines.append(f"| {function.replace('(', '<wbr>(')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@cache
def largest_errors() -> dict[tuple[str, str, str], float]:
    """(activation, dtype, "value" or "derivative") -> the largest error in ULP over every number of the dtype."""
    found = {}
    for line in records("exhaustive-float32"):
        name, _, order = line.get("what", "").rpartition(" ")
        if "default" in line and "ulp" in line["default"]:
            found[name, "float32", order] = line["default"]["ulp"]
    return found


def performance() -> str:
    run, *measured = records("forward-cpu") or [{}]
    if not measured:
        return "Not measured yet: `make bench` measures, and writes `benchmarks/results/forward-cpu.jsonl`."
    parts = [setting(run), means(measured)]
    for passes in dict.fromkeys(r["passes"] for r in measured):
        for dtype in dict.fromkeys(r["dtype"] for r in measured):
            parts.append(
                f"### {passes.replace('+', ' and ').capitalize()}, {dtype}\n\n{ratios(dtype, passes)}"
            )
    return "\n\n".join(parts)


def means(measured: list[dict[str, Any]]) -> str:
    """Geometric means of the ratios by passes and type, and of all types"""
    sizes = sorted({r["size"] for r in measured})
    lines = [
        "| geometric mean, smallest ratio | " + " | ".join(_size(n) for n in sizes) + " |",
        "| --- |" + " ---: |" * len(sizes),
    ]
    types = list(dict.fromkeys(r["dtype"] for r in measured))
    for passes in dict.fromkeys(r["passes"] for r in measured):
        for some in (*([t] for t in types), types):
            cells = []
            for n in sizes:
                rows = [r for r in measured if (r["passes"], r["size"]) == (passes, n)]
                ratios = [r["ratio"] for r in rows if r["dtype"] in some]
                cells.append(f"{geometric_mean(ratios):.2f} <small>({min(ratios):.2f})</small>")
            kind = some[0] if len(some) == 1 else "both types"
            lines.append(f"| {passes.replace('+', ' and ')}, {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compiled() -> str:
    """softknee beside torch.compile: calls once compiled, and the first call"""
    run, *rows = records("compiled-cpu") or [{}]
    if not rows:
        return "Not measured yet: `python benchmarks/compiled.py` measures."
    first = [r["first"] for r in rows if "first" in r]
    measured = [r for r in rows if "ratio" in r]
    sizes = sorted({r["size"] for r in measured})
    lines = ["| float32 | " + " | ".join(_size(n) for n in sizes) + " |", "| --- |" + " ---: |" * len(sizes)]
    for passes in dict.fromkeys(r["passes"] for r in measured):
        cells = []
        for n in sizes:
            ratios = [r["ratio"] for r in measured if (r["passes"], r["size"]) == (passes, n)]
            mean = spread(geometric_mean(ratios), min(ratios), max(ratios)) if ratios else ""
            cells.append(mean)
        lines.append(f"| {passes.replace('+', ' and ')} | " + " | ".join(cells) + " |")
    ours, theirs = (median(f[who] for f in first) for who in ("softknee", "torch.compile"))
    lines += [
        "",
        f"The geometric mean over {len(first)} functions, and the smallest and the largest ratio. A function's first "
        f"call, with empty caches, takes {1000 * ours:.0f} ms here and {1000 * theirs:,.0f} ms there (medians).",
        "",
        setting(run),
    ]
    return "\n".join(lines)


def first_calls() -> str:
    """Processor time of first calls, with an empty and with a filled cache"""
    run, *rows = records("first-call") or [{}]
    if not rows:
        return "Not measured yet: `python benchmarks/first_call.py` measures."
    heads = [
        f"{state} cache: median, ms | slowest | below {1000 * s:.0f} ms" for state, s in run["limits"].items()
    ]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (3 * len(heads))]
    for dtype, passes in dict.fromkeys((r["dtype"], r["passes"]) for r in rows):
        found = [r for r in rows if (r["dtype"], r["passes"]) == (dtype, passes)]
        cells = []
        for state, limit in run["limits"].items():
            slowest = max(found, key=lambda r: r[state])
            cells += [
                f"{1000 * median(r[state] for r in found):.1f}",
                f"{1000 * slowest[state]:.1f} ({slowest['function']})",
                f"{sum(r[state] < limit for r in found)} of {len(found)}",
            ]
        lines.append(f"| {dtype}, {passes.replace('+', ' and ')} | " + " | ".join(cells) + " |")
    where = f"{run['device']}, torch {run['torch']}, Python {run['python']}, softknee {run['softknee']}"
    return "\n".join([*lines, "", f"Measured on {run['date']}: {where}; {run['input']}."])


def libraries() -> str:
    """softknee beside other libraries' activations: forward, and with backward in brackets"""
    run, *rows = records("libraries-cpu") or [{}]
    if not rows:
        return "Not measured yet."
    found = {(r["function"], r["peer"], r["passes"]): r["ratio"] for r in rows}
    peers = list(dict.fromkeys(r["peer"] for r in rows))
    lines = ["| | " + " | ".join(peers) + " |", "| --- |" + " ---: |" * len(peers)]

    def cell(peer: str, functions: list[str]) -> str:
        both = [
            [found[f, peer, passes] for f in functions if (f, peer, passes) in found]
            for passes in ("forward", "forward+backward")
        ]
        return "{:.2f} ({:.2f})".format(*map(geometric_mean, both)) if all(both) else "–"

    functions = sorted({r["function"] for r in rows})
    lines += [f"| {f} | " + " | ".join(cell(peer, [f]) for peer in peers) + " |" for f in functions]
    mean = " | ".join(f"**{cell(peer, functions)}**" for peer in peers)
    return "\n".join([*lines, f"| geometric mean | {mean} |", "", setting(run)])


def gates(sizes: tuple[int, ...] = (65_536, 1_048_576)) -> str:
    """Gated units beside torch's composition, in their three layouts, and what both keep for backward."""
    run, *measured = records("gates-cpu") or [{}]
    if not measured:
        return "Not measured yet: `python benchmarks/gates.py --record` measures."
    parts = []
    for size in sizes:
        rows = [r for r in measured if (r["size"], r["dtype"]) == (size, "float32")]
        if not rows:
            continue
        columns = list(dict.fromkeys((r["form"], r["passes"]) for r in rows))
        heads = [f"{form}, {passes.replace('+', ' and ')}" for form, passes in columns]
        lines = [
            "| | " + " | ".join(heads) + " | kept, bytes an element: torch | softknee |",
            "| --- |" + " ---: |" * (len(columns) + 2),
        ]
        for unit in dict.fromkeys(r["unit"] for r in rows):
            found = {(r["form"], r["passes"]): r for r in rows if r["unit"] == unit}
            cells = [f"{found[c]['ratio']:.2f}" if c in found else "" for c in columns]
            last = next(iter(found.values()))
            kept = (f"{last[f'{who}_saved_bytes']:g}" for who in ("torch", "softknee"))
            lines.append(f"| {unit} | " + " | ".join([*cells, *kept]) + " |")
        parts.append(f"At {_size(size)} float32 elements of the result:\n\n" + "\n".join(lines))
    return "\n\n".join([*parts, setting(run)])


def normalisers() -> str:
    """The softmax family beside torch, and the ratios with backward in brackets."""
    run, *measured = records("normalisers-cpu") or [{}]
    if not measured:
        return "Not measured yet: `python benchmarks/normalisers.py --record` measures."
    rows = [r for r in measured if r["dtype"] == "float32" and not r["masked"]]
    shapes = list(dict.fromkeys(tuple(r["shape"]) for r in rows))
    lines = [
        "| rows × entries | " + " | ".join(f"{a:,}&nbsp;×&nbsp;{b:,}" for a, b in shapes) + " |",
        "| --- |" + " ---: |" * len(shapes),
    ]
    for name in dict.fromkeys(r["function"] for r in rows):
        found = {(tuple(r["shape"]), r["passes"]): r["ratio"] for r in rows if r["function"] == name}
        cells = [f"{found[s, 'forward']:.2f} ({found[s, 'forward+backward']:.2f})" for s in shapes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", setting(run)])


def readme() -> str:
    run, *measured = records("forward-cpu") or [{}]
    if not measured:
        return "Not measured yet: `make bench` measures."
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for r in measured:
        if r["dtype"] == "float32" and r["size"] == 65_536:
            rows.setdefault(r["function"], {})[r["passes"]] = r
    lines = ["| | forward | forward and backward |", "| --- | ---: | ---: |"]
    for function, by in sorted(rows.items(), key=lambda item: -item[1]["forward"]["ratio"]):
        cells = [
            f"{r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f})"
            for r in (by["forward"], by["forward+backward"])
        ]
        lines.append(f"| {function} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", setting(run)])


def memory() -> str:
    run, *rows = records("memory-cpu") or [{}]
    if not rows:
        return "Not measured yet: `python benchmarks/memory.py` measures."
    kept = [r for r in rows if "block" in r]
    lines = [
        f"A batch of {run['tokens']:,} vectors of {run['width']}, four times as wide inside; torch {run['torch']}.",
        "",
        "| block | type | kept by | MiB | of torch's | speed of a step |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for r in kept:
        name = r["saved"] if r["saved"] == "torch" else f"softknee, {r['saved']}"
        lines.append(
            f"| {r['block']} | {r['dtype']} | {name} | {r['bytes'] / 2**20:.2f} | {r['share']:.2f} | {r['speed']:.2f} |"
        )
    if slopes := [r for r in rows if "slope" in r]:
        bits = [k for k in slopes[0] if k != "slope"]
        lines += [
            "",
            "The root mean square error of a lean slope for inputs from N(0, 1), by the bits that are kept:",
            "",
            "| | " + " | ".join(f"{b} bits" for b in bits) + " |",
            "| --- |" + " ---: |" * len(bits),
            *(f"| {r['slope']} | " + " | ".join(f"{r[b]:.4f}" for b in bits) + " |" for r in slopes),
        ]
    lines += [
        "",
        "Classifiers of the digits (64-64-64-10, 20 epochs) with lean gradients, ten paired seeds:",
        "",
        "| units | bits | accuracy | with exact gradients | difference, 95 % interval |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for r in rows:
        if "task" in r:
            low, high = r["interval"]
            lines.append(
                f"| {r['unit']} | {r['bits']} | {r['lean']:.4f} | {r['exact']:.4f} | "
                + typeset(f"{r['difference']:+.4f} <small>({low:+.4f} to {high:+.4f})</small> |")
            )
    return "\n".join(lines)


def accuracy() -> str:
    """The float32 errors of the newest sweep: a row a function"""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in records("exhaustive-float32"):
        name, _, order = entry["what"].rpartition(" ")
        found.setdefault(name, {})[order] = entry
    rows = ["| | value | at x = | exact | derivative | at x = | exact |", "| --- |" + " ---: |" * 6]
    for name, orders in sorted(found.items()):
        cells = []
        for order in ("value", "derivative"):
            entry = orders.get(order)
            cells += ["", "", ""] if entry is None else [
                f"{entry['default']['ulp']:.2f}", typeset(f"{float.fromhex(entry['default']['at']):.6g}"),
                f"{entry['exact']['ulp']:.3f}",
            ]  # fmt: skip
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def accuracy_16() -> str:
    """How many 16-bit functions are correctly rounded at every input, and which are not"""
    found = {entry["what"]: entry for entry in records("exhaustive")}
    wrong = {what: entry for what, entry in found.items() if entry["wrong"]}
    each = "correctly rounded at every input: a function, a type and the value or the first derivative each."
    if not wrong:
        return f"All {len(found)} are {each}"
    lines = [
        f"{len(found) - len(wrong)} of {len(found)} are {each} The others:",
        "",
        "| | results that are not | error of the worst, ULP |",
        "| --- | ---: | ---: |",
    ]
    for what, entry in wrong.items():
        lines.append(f"| `{what}` | {entry['wrong']:,} | {entry['worst_ulp']:.6f} |")
    return "\n".join(lines)


def gpu_accuracy() -> str:
    """The errors of the GPU's arithmetic: the worst of each type that keeps the bound, and what does not"""
    bounds = {"float32": 2.0, "bfloat16": 0.502, "float16": 0.502}
    lines = [
        "| dtype | functions | largest error of a value | of a derivative |",
        "| --- | ---: | ---: | ---: |",
    ]
    found = records("gpu-accuracy")
    beyond = []
    for dtype, bound in bounds.items():
        rows = [r for r in found if r["dtype"] == dtype]
        cells = []
        for order in ("value", "derivative"):
            cells.append(f"{max(max(0.5, r[order][0]) for r in rows if r[order][0] <= bound):.4g}")
            beyond += [(r["function"], dtype, order, *r[order]) for r in rows if r[order][0] > bound]
        lines.append(f"| {dtype} | {len(rows)} | {cells[0]} | {cells[1]} |")
    lines += [
        "",
        "These are beyond it:",
        "",
        "| | dtype | | error, ULP | at x = |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    for name, dtype, order, error, at in beyond:
        lines.append(f"| `{name}` | {dtype} | {order} | {error:.3g} | {typeset(f'{at:.6g}')} |")
    return "\n".join(lines)


def diagnosis_peers() -> str:
    """What other tools found of the planted faults"""
    path = RESULTS / "diagnosis-peers.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    tools = {name: row for name, row in found.items() if name != "torch"}
    lines = ["| planted | " + " | ".join(f"{t} {r['version']}" for t, r in tools.items()) + " |"]
    lines.append("| --- |" + " ---: |" * len(tools))
    for rule in next(iter(tools.values()))["found"]:
        cells = [row["found"][rule] for row in tools.values()]
        count = cells[0].rpartition(" ")[2]
        lines.append(f"| {rule} ({count}) | " + " | ".join(c.partition(" ")[0] for c in cells) + " |")
    healthy = next(iter(tools.values()))["healthy networks"]
    alarms = " | ".join(str(row["false alarms"]) for row in tools.values())
    lines.append(f"| *healthy and trained ({healthy})*: any warning | {alarms} |")
    return "\n".join(lines)


def diagnosis_truth() -> str:
    """What was found of the planted faults, and repaired"""
    record = json.loads((RESULTS / "diagnosis.json").read_text(encoding="utf-8"))
    columns = [record[name] for name in ("found", "repaired", "learns with the fault")]
    lines = [
        "| planted | found | repaired, and learns as the healthy twin | learns so with the fault |",
        "| --- | ---: | ---: | ---: |",
    ]
    for rule in columns[0]:
        lines.append(f"| [{rule}](rules/{rule}.md) | " + " | ".join(c.get(rule, "") for c in columns) + " |")
    totals = [[sum(int(n.split()[k]) for n in c.values()) for k in (0, 2)] for c in columns]
    lines.append("| all | " + " | ".join(f"**{a} of {b}** ({100 * a / b:.1f} %)" for a, b in totals) + " |")
    names = {"trained": "healthy and trained", "untrained": "the same, untrained", "pretrained": "pretrained"}
    networks, alarms = record["healthy networks"], record["false alarms"]
    lines += ["", "| healthy networks | with an error or a warning |", "| --- | ---: |"]
    lines += [f"| {names[k]} | {alarms[k]} of {networks[k]} |" for k in names if networks.get(k)]
    return "\n".join(lines)


def watch_overhead() -> str:
    """What `watch` costs"""
    record = json.loads((RESULTS / "watch-overhead.json").read_text(encoding="utf-8"))
    lines = ["| | median | quartiles of neighbouring turns |", "| --- | ---: | ---: |"]
    for name in ("every=10", "every=1"):
        row = record[name]
        low, high = row["quartiles"]
        lines.append(f"| `{name}` | {row['ratio_of_medians']:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines)


def defects() -> str:
    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    from defects import markdown

    return markdown()


#: what may stand in a page as `<!-- generated: NAME -->`
TABLES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy,
    "accuracy-16": accuracy_16,
    "gpu-accuracy": gpu_accuracy,
    "defects": defects,
    "diagnosis-peers": diagnosis_peers,
    "diagnosis-truth": diagnosis_truth,
    "first-calls": first_calls,
    "gates": gates,
    "libraries": libraries,
    "memory": memory,
    "normalisers": normalisers,
    "performance": performance,
    "watch-overhead": watch_overhead,
    "claims": claims_pages.index,
    "compiled": compiled,
    "errata": claims_pages.errata,
}
