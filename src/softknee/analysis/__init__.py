"""Facts about one function: its shape, its limits, what it makes of a normal input."""

from softknee.analysis.chaos import EdgeOfChaos, edge_of_chaos
from softknee.analysis.facts import Facts, facts
from softknee.analysis.function import Function, Measured, function_of
from softknee.analysis.gaussian import Gaussian, chi, expectation, gain, gaussian, variance_map
from softknee.analysis.identities import Identity
from softknee.analysis.kinks import Kink
from softknee.analysis.shape import FixedPoint, Piece, Range

__all__ = [
    "EdgeOfChaos", "Facts", "FixedPoint", "Function", "Gaussian", "Identity", "Kink", "Measured", "Piece", "Range", "chi",
    "edge_of_chaos", "expectation", "facts", "function_of", "gain", "gaussian", "variance_map",
]  # fmt: skip
