"""A second opinion that shares nothing with our formulas: torch in float64, scipy, printed values."""

from __future__ import annotations

import pytest
import scipy.special
import torch
from tests.laws.common import DEFINITIONS, cases

import softknee as sk
from softknee.catalogue import Definition
from softknee.nn.functional import function_of

THEIRS = [d for d in DEFINITIONS if d.torch]
#: torch's own float64 gradients that are further off: it multiplies by float32's 1/6
THEIR_ERROR = {"hardsigmoid": 1e-7}


@pytest.mark.parametrize("definition", THEIRS, ids=lambda d: d.name)
def test_torch_in_float64(definition: Definition) -> None:
    """Value and gradient where torch's own are good; the tails are not among them."""
    theirs = getattr(torch.nn.functional, definition.torch or "")
    given = {p.name: float(p.default if p.default is not None else p.example) for p in definition.parameters}
    arguments = {n: torch.tensor([v], dtype=torch.float64) if cases(definition)[0].tensors else v
                 for n, v in given.items() if n in definition.positional and _differs(definition, n)}  # fmt: skip
    for choices in [c.choices for c in cases(definition)]:
        offered = {n: v for n, v in choices.items() if n in definition.positional or n == "approximate"}
        a = torch.linspace(-4, 4, 801, dtype=torch.float64).add(1e-3).requires_grad_()
        b = a.detach().clone().requires_grad_()
        try:
            right = theirs(b, **arguments, **offered)
        except (RuntimeError, TypeError):
            continue  # a choice that is ours alone
        if any(v != definition.choices[n][0] for n, v in choices.items() if n not in offered):
            continue
        got = function_of(definition)(a, **arguments, **choices)
        assert torch.allclose(got, right, rtol=1e-13, atol=1e-15), definition.name
        (g,), (w,) = (torch.autograd.grad(y.sum(), v) for y, v in ((got, a), (right, b)))
        assert torch.allclose(g, w, rtol=THEIR_ERROR.get(definition.torch, 1e-12), atol=1e-14), (
            definition.name
        )


def _differs(definition: Definition, name: str) -> bool:
    """Whether an argument must be passed: what has a default is left to each side's own signature."""
    p = next(p for p in definition.parameters if p.name == name)
    return p.default is None or p.learnable


@pytest.mark.parametrize(
    ("name", "function", "theirs"),  # their own largest error against mpmath on these points
    [
        ("sigmoid", scipy.special.expit, 2e-16),
        ("logsigmoid", scipy.special.log_expit, 2e-16),
        ("gelu", lambda x: x * scipy.special.ndtr(x), 1.2e-13),
        ("silu", lambda x: x * scipy.special.expit(x), 3e-16),
    ],
)
def test_scipy(name: str, function: object, theirs: float) -> None:
    if name not in sk.names():
        pytest.skip("not in the catalogue")
    x = torch.cat([torch.linspace(-30, 30, 601), torch.logspace(-30, 0, 61)]).double().numpy()
    assert sk.get(name)(x) == pytest.approx(function(x), rel=theirs + 2e-16, abs=1e-300)  # type: ignore[operator]


#: printed in lecture notes: inputs and outputs to four digits
PRINTED = {
    "sigmoid": ((-4.1746, 3.2210, -2.6507, -6.7530, 2.0411), (0.0151, 0.9616, 0.0659, 0.0012, 0.8850)),
    "tanh": ((11.1529, 4.3029, 0.5081, -3.8456, -1.9058), (1.0000, 0.9996, 0.4685, -0.9991, -0.9567)),
    "gelu": ((2.5845, -2.3937, 2.7921, 5.3007, 7.7047), (2.5719, -0.0200, 2.7847, 5.3007, 7.7047)),
}


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_printed_values(name: str) -> None:
    points, printed = PRINTED[name]
    for x, y in zip(points, printed, strict=True):
        assert sk.get(name)(x) == pytest.approx(y, abs=1.3e-4)  # both sides are rounded to 5e-5
        assert float(sk.get(name)(torch.tensor(x))) == pytest.approx(y, abs=1.3e-4)
