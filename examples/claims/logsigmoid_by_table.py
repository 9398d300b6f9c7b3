"""logsigmoid can be computed from a table up to 32, and 0 beyond.

Taught: notes on torch.nn's activations, after an implementation of a word2vec variant that found exp and log too slow.

logsigmoid(x) = min(x, 0) - log(1 + e^-|x|): only the even, quickly falling part needs a table. We tabulate it up to 32
with several step sizes, with and without linear interpolation, and compare error and time with the exact function.

Practice: On today's processors the exact, vectorised function costs no more than the look-up. Tables pay on hardware
without vector units.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Speed and precision", ("logsigmoid", "softplus")


def table(x: torch.Tensor, values: torch.Tensor, per_unit: int, interpolate: bool) -> torch.Tensor:
    place = (x.abs() * per_unit).clamp(max=32.0 * per_unit)
    left = place.long() if interpolate else (place + 0.5).long()
    found = values[left]
    if interpolate:
        found = found + (place - left) * (values[left + 1] - found)
    return x.clamp(max=0) - found


def measure(e: Evidence) -> str:
    x, sizes = torch.linspace(-40, 40, 400_001), (16, 256, 4_096)
    exact = sk.get("logsigmoid")(x.double())
    forms = {"exact, softknee": sk.functional.logsigmoid, "exact, torch": torch.nn.functional.logsigmoid}
    for per_unit in sizes:
        grid = torch.arange(32 * per_unit + 2, dtype=torch.float64) / per_unit
        values = torch.log1p(torch.exp(-grid)).float()
        for interpolate in (False, True):
            name = f"table, {per_unit} a unit" + ", interpolated" * interpolate
            forms[name] = lambda z, v=values, n=per_unit, i=interpolate: table(z, v, n, i)
    z = torch.randn(1 << 17) * 4
    times = laboratory.in_turns({name: lambda f=f: f(z) for name, f in forms.items()})
    errors = {name: float((f(x).double() - exact).abs().max()) for name, f in forms.items()}
    rows = [[n, f"{errors[n]:.1e}", times[n] / times["exact, softknee"]] for n in forms]
    e.table("Error on [-40, 40] and time", ["form", "largest error", "time relative to softknee's"], rows)
    e.bars("Largest error", errors, "error", log="x")
    tabled = [r for r in rows if r[0].startswith("table")]
    e.say(f"""The table's error is {tabled[0][1]} with 16 entries a unit and {tabled[-1][1]} with 4,096, interpolated; the exact
        function's is {rows[0][1]}. Looking up takes {min(r[2] for r in tabled):.1f} to {max(r[2] for r in tabled):.1f} times
        as long as computing.""")
    accurate = "holds only if it is interpolated" if errors[rows[-1][0]] < 1e-6 else "refuted"
    e.part("the table is accurate to single precision", accurate)
    e.part("the table is faster", "refuted" if min(r[2] for r in tabled) > 1 else "holds")
    return "refuted" if min(r[2] for r in tabled) > 1 else "holds"


if __name__ == "__main__":
    run(__file__)
