"""Gated units: one input, passed through an activation, multiplies another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from softknee import catalogue
from softknee.catalogue.definition import Definition, Parameter, Reference
from softknee.lang.nodes import Node, maximum, minimum, number, substitute, symbol

__all__ = ["GATES", "USUAL", "Gate", "gated"]

#: the activation of a gate where nothing else is said
USUAL = "silu"

gate, up, limit, offset = map(symbol, ("gate", "up", "limit", "offset"))

LIMIT = Parameter(
    "limit",
    float("inf"),
    doc="the gate's input is kept at or below it, the other input between plus and minus it",
)
OFFSET = Parameter("offset", 0.0, doc="added to the other input")


@dataclass(frozen=True, eq=False)
class Gate:
    """A gated unit that has a name of its own: `activation(gate) * (other(up) + offset)`."""

    name: str
    module: str
    activation: str
    use: str
    reference: Reference
    other: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)  # of its parameters, where they are its own
    torch: str | None = None
    gate_first: bool = True
    interleaved: bool = False

    @property
    def definition(self) -> Definition:
        return _named(self)


@cache
def _named(g: Gate) -> Definition:
    other = None if g.other is None else catalogue.get(g.other)
    made = gated(catalogue.get(g.activation), other)
    parameters = tuple(replace(p, default=g.defaults.get(p.name, p.default)) for p in made.parameters)
    return replace(
        made,
        name=g.name,
        module=g.module,
        use=g.use,
        reference=g.reference,
        torch=g.torch,
        parameters=parameters,
    )


@cache
def gated(activation: Definition, other: Definition | None = None) -> Definition:
    """The gated unit of an activation, as a definition with two inputs. It has the activation's
    parameters and choices. other: what the second input is passed through (nothing, as a rule)."""
    first = minimum(limit, gate)  # at the limit itself the slope is the gate's, as torch.clamp has it
    second: Node = minimum(limit, maximum(-limit, up))
    if other is not None:
        second = substitute(other.chosen({}), {**other.defaults, "x": second})
    second = second + offset

    def unit(e: Node) -> Node:
        return substitute(e, {"x": first}) * second

    def units(table: Any) -> Any:
        made = {k: unit(e) for k, e in table.items()}
        return made if activation.choices else made[()]

    return replace(
        activation,
        name=f"gated_{activation.name}",
        module=f"Gated{activation.module}",
        use=f"The gated unit of {activation.name}.",
        expression=units(activation.expression),
        training=None if activation.training is None else units(activation.training),
        parameters=(*activation.parameters, LIMIT, OFFSET),
        constraints=(*activation.constraints, limit > number(0)),
        signature=tuple(n for n in activation.positional if n not in ("training", "inplace")),
        inputs=("gate", "up"),
        aliases=(),
        kinks={},
        torch=None,
        inplace=False,
        note="",
    )


_DAUPHIN_2016 = Reference(
    "Language modeling with gated convolutional networks",
    "Yann N. Dauphin, Angela Fan, Michael Auli, David Grangier",
    2016,
    arxiv="1612.08083",
)
_SHAZEER_2020 = Reference("GLU variants improve transformer", "Noam Shazeer", 2020, arxiv="2002.05202")

GATES = (
    Gate(
        "glu",
        "GLU",
        "sigmoid",
        torch="glu",
        gate_first=False,
        reference=_DAUPHIN_2016,
        use="The first gated unit, of convolutional language models; the gate is the second half, as torch has it.",
    ),
    Gate(
        "siglu",
        "SiGLU",
        "sigmoid",
        reference=_DAUPHIN_2016,
        use="glu with the gate first, as the other units here have it.",
    ),
    Gate(
        "swiglu",
        "SwiGLU",
        "swish",
        reference=_SHAZEER_2020,
        use="The usual unit of the feed-forward blocks of language models (Llama, Mistral, Qwen).",
    ),
    Gate(
        "geglu",
        "GEGLU",
        "gelu",
        reference=_SHAZEER_2020,
        use="As good as swiglu in the paper; Gemma has it with approximate='tanh'.",
    ),
    Gate(
        "reglu",
        "ReGLU",
        "relu",
        reference=_SHAZEER_2020,
        use="The cheapest one with a nonlinear gate; its results have true zeros.",
    ),
    Gate(
        "bilinear",
        "BilinearGLU",
        "identity",
        reference=_SHAZEER_2020,
        use="A plain product; to see what the gate's nonlinearity adds.",
    ),
    Gate(
        "gtu",
        "GTU",
        "sigmoid",
        other="tanh",
        reference=Reference(
            "Conditional image generation with PixelCNN decoders",
            "Aäron van den Oord, Nal Kalchbrenner, Oriol Vinyals, Lasse Espeholt, Alex Graves, "
            "Koray Kavukcuoglu",
            2016,
            arxiv="1606.05328",
            where="equation 2",
        ),
        use="The bounded unit of PixelCNN and WaveNet; its gradient vanishes on both sides, glu's does not.",
    ),
    Gate(
        "clamped_swiglu",
        "ClampedSwiGLU",
        "swish",
        defaults={"beta": 1.702, "limit": 7.0, "offset": 1.0},
        interleaved=True,
        reference=Reference(
            "gpt-oss-120b & gpt-oss-20b model card", "OpenAI", 2025, arxiv="2508.10925", where="section 2"
        ),
        use="To match gpt-oss: bounded inputs, a sharper gate, and gate and other input in turns.",
    ),
)
