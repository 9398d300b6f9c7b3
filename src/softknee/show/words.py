"""Facts in words: rows of (label, text), the same for the terminal and for notebooks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from softknee.analysis import Facts, FixedPoint, Kink, Range
from softknee.catalogue import Definition

__all__ = ["Row", "cautions", "normal_rows", "number", "precision", "shape_rows", "signature", "typeset"]

Row = tuple[str, str]
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SIDES = ((0, "x → −∞"), (1, "x → ∞"))


def number(value: float, digits: int = 5) -> str:
    """Five significant digits; a true minus; ∞."""
    if math.isnan(value):
        return "undefined"
    if abs(value) < 1e-12:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(_RAISED)}"
    return text.replace("inf", "∞").replace("-", "−")


_TYPED = (
    (r"(?<=\])(, )(p = [\d.e-]+)(?= (?:percentage )?(?:points|nats|decades))", r" (\2)"),  # the unit belongs to the value
    (r"<?->", "→"), (r">=", "≥"), (r"<=", "≤"), (r"\+-", "±"),
    (r"(?<=[\d²]) x (?=\d)", " × "),
    (r"(?<=\de)-0?(?=\d)|(?<![\w)\]-])-(?=[\d.])|(?<=[\s(\[=^])-(?=[a-z|])|(?<= )-(?= )", "−"),
    (r"(?<=\d)%", "\N{NO-BREAK SPACE}%"),
    (r"\b0(?:\.0+)?e\+00\b", "0"), (r"(?<=\de)\+0?(?=\d)", ""),
)  # fmt: skip


def typeset(text: str) -> str:
    """Prose with the signs of print for those of a keyboard; what stands in backticks stays as it is."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        for typed, printed in _TYPED:
            parts[i] = re.sub(typed, printed, parts[i])
    return "`".join(parts)


def signature(definition: Definition, facts: Facts) -> str:
    """`elu(alpha=2)`: the name with what is not default."""
    given = [f"{n}={v}" for n, v in facts.choices.items() if v != definition.choices[n][0]]
    defaults = definition.defaults
    given += [f"{n}={float(v):g}" for n, v in facts.parameters.items() if v != defaults.get(n)]
    return f"{definition.name}({', '.join(given)})" if given else definition.name


def shape_rows(facts: Facts) -> Iterator[Row]:
    yield "range", _range(facts.range)
    for side, label in _SIDES:
        yield label, _end(facts, side)
    yield "smoothness", _smoothness(facts)
    for kink in facts.kinks[:6]:
        yield f"{'jump' if kink.jump else 'kink'} at {number(kink.place)}", _kink(kink)
    yield "monotone", _monotone(facts)
    if facts.odd or facts.even:
        yield "symmetry", "odd: f(−x) = −f(x)" if facts.odd else "even: f(−x) = f(x)"
    if facts.curvature in ("convex", "concave"):
        yield "curvature", facts.curvature
    yield "steepest slope", _steepest(facts)
    yield "zeros", _zeros(facts)
    yield "fixed points", _fixed_points(facts)
    for identity in facts.identities:
        text = identity.text.replace("f'", "f′").replace("-", "−")
        yield "identity", text if identity.where == "all x" else f"{text} for {identity.where}"


def normal_rows(facts: Facts) -> Iterator[Row]:
    """What holds for a standard normal input."""
    yield "mean", f"{number(facts.mean)}, {'' if facts.zero_centred else 'not '}zero-centred"
    yield "second moment", number(facts.second_moment)
    yield "gain", f"{number(facts.gain)}, keeps the second moment"
    yield "χ", f"{number(facts.chi)} × the squared gradient per layer"
    drift = facts.variance_slope - 1
    stable = "neither stable nor unstable" if abs(drift) < 1e-12 else "stable" if drift < 0 else "unstable"
    yield "Q′(1)", f"{number(facts.variance_slope)}, the second moment is {stable}"
    yield "C(0)", f"{number(facts.correlation)}, correlation unrelated inputs get"
    yield (
        "exactly 0",
        f"{_percent(facts.zero_share)} of the outputs, {_percent(facts.flat_share)} of the slopes",
    )


def cautions(facts: Facts) -> Iterator[str]:
    """Where not to use it, as far as that follows from the facts."""
    if facts.flat_share >= 1:
        yield "Where a gradient must pass: its derivative is 0 almost everywhere."
        return
    left, right = facts.saturation
    if "none" not in (left, right):
        most = f"its slope is at most {number(facts.lipschitz)} and" if facts.lipschitz < 1 else "its slope"
        yield f"In many layers one after the other: {most} tends to 0 on both sides, so gradients vanish."
    elif facts.zero_share >= 0.25 and "hard" in (left, right):
        yield "Where units must not die: a unit whose inputs all lie in the flat part gets no gradient."
    if facts.mean > 0.25:
        yield f"Where the mean should stay near 0: it is {number(facts.mean, 3)} for standard normal input, a bias shift for the next layer."
    if any(limit.value and math.isinf(limit.value) and line.slope is None and facts.slope_limits[i] != 0
           for i, (limit, line) in enumerate(zip(facts.limit_details, facts.asymptotes, strict=True))):  # fmt: skip
        yield "On inputs that are not normalised: it grows faster than any line."
    if math.isfinite(facts.chi) and not 0.5 <= facts.chi <= 2:
        yield f"In deep plain networks: with its own gain the squared gradient changes {number(facts.chi, 3)}-fold in each layer."
    if facts.continuity < 1:
        what = "jumps" if facts.continuity < 0 else "has kinks"
        yield f"Where second derivatives are used, as in physics-informed networks: it {what}."
    if facts.zero_share == 0:
        yield "Where outputs should be exactly 0 for many inputs: it gives no true zeros."


def precision(facts: Facts) -> str:
    """How exact the numbers are."""
    normal = facts.gaussian
    errors = [normal.mean.error, normal.second_moment.error, normal.chi.error, normal.variance_slope.error]
    errors += [end.error for end in facts.range[:2]]
    worst = max(errors)
    return f"computed; largest error estimate {worst:.0e}" if worst else "computed exactly"


def _percent(share: float) -> str:
    return f"{number(100 * share, 3)} %"


def _range(found: Range) -> str:
    text = f"{'[' if found.low_closed else '('}{number(found.low)}, {number(found.high)}{']' if found.high_closed else ')'}"
    places = [
        f"{name} {_place(*at)}"
        for name, at in (("minimum", found.low_at), ("maximum", found.high_at))
        if at is not None
    ]
    return f"{text}, {', '.join(places)}" if places else text


def _place(low: float, high: float) -> str:
    if low == high:
        return f"at {number(low)}"
    if math.isinf(low):
        return f"for x ≤ {number(high)}"
    return f"for x ≥ {number(low)}" if math.isinf(high) else f"from {number(low)} to {number(high)}"


def _end(facts: Facts, side: int) -> str:
    limit, line, slope = facts.limit_details[side], facts.asymptotes[side], facts.slope_limits[side]
    saturation = {"hard": "hard saturation", "soft": "soft saturation", "none": ""}[facts.saturation[side]]
    if limit.value is None:
        return "no limit: it oscillates" if limit.how == "numeric" else "limit unknown"
    if math.isfinite(limit.value):
        if limit.side == 0:
            return f"{number(limit.value)} throughout; {saturation}"
        way = {1: " from above", -1: " from below"}.get(limit.side or 0, "")
        return f"→ {number(limit.value)}{way}" + (f"; {saturation}" if saturation else "")
    grows = f"→ {number(limit.value)}"
    if line.slope is not None and line.intercept is not None:
        return f"{grows} along y = {_line(line.slope, line.intercept)}"
    if line.slope:
        return f"{grows} with the mean slope {number(line.slope)}"
    return f"{grows} slower than any line" if slope == 0 else f"{grows} faster than any line"


def _line(slope: float, intercept: float) -> str:
    head = {1.0: "x", -1.0: "−x"}.get(slope, f"{number(slope)} x")
    if abs(intercept) < 1e-12:
        return head
    return f"{head} {'+' if intercept > 0 else '−'} {number(abs(intercept))}"


def _smoothness(facts: Facts) -> str:
    if facts.smooth:
        return "smooth (C∞)"
    if facts.continuity < 0:
        return "discontinuous"
    if facts.continuity == 0:
        return "continuous, with kinks (C0)"
    primes = {1: "f″", 2: "f‴"}.get(int(facts.continuity), f"derivative {facts.continuity + 1:.0f}")
    kinked = {k.place for k in facts.kinks}
    places = ", ".join(number(b) for b in facts.breaks if b not in kinked)
    return f"C{facts.continuity:.0f}: {primes} jumps at {places}"


def _kink(kink: Kink) -> str:
    text = f"slope {number(kink.left)} | {number(kink.right)}, used {number(kink.used)}"
    if kink.jump:
        text = (
            f"f = {number(kink.left_value)} | {number(kink.right_value)}, there {number(kink.value)}; {text}"
        )
    return text if kink.declared else f"{text}; not declared"


def _monotone(facts: Facts) -> str:
    if facts.monotone:
        flat = any(p.direction == "constant" for p in facts.pieces)
        strictly = "" if flat or facts.direction == "constant" else "strictly "
        return f"{strictly}{facts.direction}" if facts.direction != "constant" else "constant"
    words = {"increasing": "rises", "decreasing": "falls", "constant": "is level"}
    if len(facts.pieces) > 5:
        return "no: it oscillates"
    steps = [f"{words[p.direction]} to {number(p.high)}" for p in facts.pieces[:-1]]
    return f"no: {', '.join(steps)}, then {words[facts.pieces[-1].direction]}"


def _steepest(facts: Facts) -> str:
    if math.isinf(facts.lipschitz):
        return "unbounded (a jump)" if facts.continuity < 0 else "unbounded"
    if facts.curvature == "linear":
        return f"{number(facts.lipschitz)} everywhere (Lipschitz constant)"
    if math.isinf(facts.lipschitz_at):
        return f"{number(facts.lipschitz)} towards {number(facts.lipschitz_at)} (Lipschitz constant)"
    return f"{number(facts.lipschitz)} at {number(facts.lipschitz_at)} (Lipschitz constant)"


def _zeros(facts: Facts) -> str:
    found = [_place(*interval).removeprefix("for ") for interval in facts.zero_intervals]
    found += [number(z) for z in sorted(facts.zeros, key=abs)[:4]]
    return ", ".join(found) + (" …" if len(facts.zeros) > 4 else "") or "none"


def _fixed_points(facts: Facts) -> str:
    points = sorted(facts.fixed_points, key=lambda p: min(abs(p.low), abs(p.high)))
    found = [_fixed(p) for p in points[:3]]
    return ", ".join(found) + (" …" if len(points) > 3 else "") or "none"


def _fixed(point: FixedPoint) -> str:
    if point.low == point.high:
        return f"{number(point.low)} ({point.stability})"
    if math.isinf(point.low) and math.isinf(point.high):
        return "every x"
    return _place(point.low, point.high).removeprefix("for ")
