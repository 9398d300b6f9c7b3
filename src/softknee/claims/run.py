"""Runs claims: one here, or all in processes of their own, with progress and resume."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from softknee.claims.entry import Entry, entry
from softknee.claims.evidence import Evidence
from softknee.claims.laboratory import one_thread
from softknee.claims.record import Record, kind, load

__all__ = ["measured", "run", "run_all"]

Listener = Callable[[Entry, Record | str, int, int], None]


def measured(one: Entry) -> Record:
    """What the claim's script finds now, on one thread."""
    from softknee.compare.experiment import environment

    space = runpy.run_path(str(one.script), run_name="claim")
    evidence, start = Evidence(), time.process_time()
    with one_thread():
        verdict = space["measure"](evidence)
        where = environment()
    where.pop("commit", None)  # a record is part of the next one
    kind(verdict)
    if not evidence.said or not evidence.figures:
        raise ValueError(f"{one.script.name}: measure() must say what it found and draw it")
    return Record(
        name=one.name,
        claim=one.claim,
        about=list(one.about),
        verdict=verdict,
        said=evidence.said,
        parts=evidence.parts,
        tables=evidence.tables,
        figures=evidence.figures,
        environment=where,
        seconds=round(time.process_time() - start, 1),
        digest=one.digest,
    )


def run(script: str) -> None:
    """For a script's own `python examples/claims/NAME.py`: measures and prints."""
    one = entry(Path(script))
    found = measured(one)
    print(f"{one.claim}\n{found.verdict}\n", *found.said, sep="\n")


def run_all(wanted: Iterable[Entry], out: Path, jobs: int, tell: Listener) -> dict[str, Record | str]:
    """Measures each in a process of its own, `jobs` at a time; a Record, or the error's last line. What `out` has from
    the same script and versions is taken from there. `tell` hears (claim, result, how many are done, of how many)."""
    from softknee.compare.experiment import versions

    todo, found = [], dict[str, Record | str]()
    everything = list(wanted)
    for one in everything:
        kept = out / f"{one.name}.json"
        if kept.exists():
            before = load(kept)
            same = before.digest == one.digest and versions().items() <= before.environment.items()
            if same:
                found[one.name] = before
                tell(one, before, len(found), len(everything))
                continue
        todo.append(one)
    running: dict[str, tuple[Entry, subprocess.Popen[bytes]]] = {}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    out.mkdir(parents=True, exist_ok=True)
    try:
        while todo or running:
            while todo and len(running) < jobs:
                one = todo.pop(0)
                command = [sys.executable, "-m", "softknee.claims", str(one.script), str(out)]
                with (out / f"{one.name}.log").open("wb") as log:
                    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
                running[one.name] = (one, process)
            for name, (one, process) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                if process.returncode == 0:
                    found[name] = load(out / f"{name}.json")
                else:
                    text = (out / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip()
                    found[name] = text.splitlines()[-1] if text else f"ended with status {process.returncode}"
                tell(one, found[name], len(found), len(everything))
            time.sleep(0.1)
    finally:
        for _, process in running.values():
            process.kill()
            process.wait()
    return found
