"""The claims ledger: what is commonly taught of activation functions, measured.

A claim is one script in `examples/claims/`: its docstring says what is claimed, where it is taught and what follows;
its `measure(e)` measures into an `Evidence` and returns the verdict. What a run found is a `Record`, plain JSON, of
which the pages, pictures and lists are made. `laboratory` has what the scripts share: data, networks, training.

>>> from softknee.claims import records
>>> records()["gelu-range"].verdict
'refuted'
"""

from __future__ import annotations

from softknee.claims.entry import TOPICS, Entry, entries, folder
from softknee.claims.evidence import Evidence, overall
from softknee.claims.record import Record, records
from softknee.claims.run import measured, run, run_all

__all__ = [
    "TOPICS",
    "Entry",
    "Evidence",
    "Record",
    "entries",
    "folder",
    "measured",
    "overall",
    "records",
    "run",
    "run_all",
]
