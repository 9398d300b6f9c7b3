"""What softknee is tested with, for your own activations too.

`check_activation` tries every law of the library on one activation; `ulp_error` is the metric it
measures with, `hard_points` are the inputs it tries.
"""

from __future__ import annotations

from softknee.testing.battery import CheckError, CheckReport, check_activation
from softknee.testing.cases import Case, cases_of
from softknee.testing.laws import BOUNDS, Failure
from softknee.testing.metric import ulp, ulp_error
from softknee.testing.oracle import Exact
from softknee.testing.points import hard_points, log_uniform

__all__ = [
    "BOUNDS", "Case", "CheckError", "CheckReport", "Exact", "Failure", "cases_of", "check_activation", "hard_points",
    "log_uniform", "ulp", "ulp_error",
]  # fmt: skip
