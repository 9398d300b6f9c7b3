"""The networks: several runs of one architecture at once.

Every parameter has a leading axis of runs, and so has every tensor on its way through: (runs, samples, ...). One
`torch.baddbmm` a layer serves all runs; a convolution, which has enough to do, is called for one run after the
other. No run's output depends on another run.

An architecture is a function that takes a `Builder`, asks it for layers, and returns the way from input to output.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from softknee.compare.activations import Activation
from softknee.compare.errors import CompareError
from softknee.compare.protocol import Protocol, Run, noise, random
from softknee.compare.tasks import Task

Layer = Callable[[Tensor], Tensor]

_MOMENTUM, _EPSILON = 0.1, 1e-5  # of batch and layer normalisation, torch's


class Builder:
    """Makes the parameters of the runs, and knows what the current pass needs.

    `parameters` are the leaves in the order they were asked for; `weights` those that a weight penalty counts;
    `buffers` the running statistics; `learned` the activations' own, a dictionary for each site.
    """

    def __init__(self, runs: Sequence[Run], activation: Activation, task: Task, protocol: Protocol) -> None:
        self.runs, self.activation, self.task, self.protocol = runs, activation, task, protocol
        self.dtype: torch.dtype = getattr(torch, protocol.dtype)
        self.seeds = sorted({run.seed for run in runs})
        self.which = [self.seeds.index(run.seed) for run in runs]  # row of each run among the seeds
        self.parameters: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.buffers: list[Tensor] = []
        self.sites: list[Site] = []
        self.total = 0  # activations the architecture will ask for
        self.training, self.watching = False, False
        self.activity: Tensor | None = None
        self._random = {seed: random(seed, "weights") for seed in self.seeds}
        self.noise: list[torch.Generator] = []  # of each seed, for this pass

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers of each run's seed, (runs, *shape)."""
        drawn = [self._random[seed].standard_normal(shape) for seed in self.seeds]
        return torch.from_numpy(np.stack([drawn[i] for i in self.which]))

    def parameter(self, value: Tensor) -> Tensor:
        leaf = value.to(self.dtype).contiguous().requires_grad_()
        leaf.grad = torch.zeros_like(leaf)
        self.parameters.append(leaf)
        return leaf

    def constant(self, value: float, *shape: int) -> Tensor:
        return self.parameter(torch.full((len(self.runs), *shape), float(value)))

    def weight(self, fan_in: int, *shape: int, after: Site | None = None, factor: float = 1.0) -> Tensor:
        """Standard normal numbers times `factor * scale / sqrt(fan_in)`; biases start at 0 or `protocol.bias`.

        `init="own"`: the scale is the gain of the activation `after` which the layer comes, 1/sqrt(E f(z)^2) for
        z ~ N(0, 1), so that every layer's outputs have mean square 1 at the start; a layer that reads standardised
        inputs has scale 1 (for SELU this is LeCun's, Klambauer et al. 2017, arXiv 1706.02515). `init="same"`:
        sqrt(2) for every layer and activation (He et al. 2015, arXiv 1502.01852).
        """
        scale = 2**0.5 if self.protocol.init == "same" else 1.0 if after is None else after.activation.gain
        leaf = self.parameter(self.normal(*shape) * (factor * scale / fan_in**0.5))
        self.weights.append(leaf)
        return leaf

    def linear(
        self, fan_in: int, fan_out: int, after: Site | None = None, bias: float = 0.0, factor: float = 1.0
    ) -> Layer:
        """(runs, ..., fan_in) -> (runs, ..., fan_out)."""
        w = self.weight(fan_in, fan_in, fan_out, after=after, factor=factor)
        b = self.constant(bias, 1, fan_out)

        def layer(x: Tensor) -> Tensor:
            return torch.baddbmm(b, x.flatten(1, -2), w).view(*x.shape[:-1], fan_out)

        return layer

    def convolution(
        self, channels: int, out: int, after: Site | None = None, bias: float = 0.0, factor: float = 1.0
    ) -> Layer:
        """(runs, n, channels, *places) -> (runs, n, out, *places): 3 wide in each direction, padded with 0."""
        dimensions = len(self.task.shape) - 1
        convolve = (F.conv1d, F.conv2d)[dimensions - 1]
        w = self.weight(
            channels * 3**dimensions, out, channels, *[3] * dimensions, after=after, factor=factor
        )
        b = self.constant(bias, out)

        def layer(x: Tensor) -> Tensor:
            each = zip(x.unbind(), w.unbind(), b.unbind(), strict=True)
            return torch.stack([convolve(*run, padding=1) for run in each])

        return layer

    def batch_norm(self, features: int, shift: float, at: int = 2) -> Layer:
        """Normalises axis `at` over all others but the runs, as torch.nn.BatchNorm does."""
        gain, bias = self.constant(1, features), self.constant(shift, features)
        mean, variance = torch.zeros_like(gain), torch.ones_like(gain)
        self.buffers += [mean, variance]

        def layer(x: Tensor) -> Tensor:
            axis = at % x.dim()
            others = [d for d in range(1, x.dim()) if d != axis]
            shape = [features if d == axis else 1 for d in range(x.dim())]
            shape[0] = len(x)
            if self.training:
                var, mu = torch.var_mean(x, others, correction=0)
                count = x[0].numel() / features
                with torch.no_grad():
                    mean.lerp_(mu, _MOMENTUM)
                    variance.lerp_(var * (count / max(1, count - 1)), _MOMENTUM)
            else:
                var, mu = variance, mean
            factor = gain * torch.rsqrt(var + _EPSILON)
            return x * factor.view(shape) + (bias - mu * factor).view(shape)

        return layer

    def layer_norm(self, features: int) -> Layer:
        gain, bias = self.constant(1, 1, 1, features), self.constant(0, 1, 1, features)
        return lambda x: F.layer_norm(x, (features,), eps=_EPSILON) * gain + bias

    def site(self, units: int = -1) -> Site:
        """The next place of an activation; `units` is the axis of what counts as a unit."""
        number = len(self.sites) + 1
        mine = number in chosen(self.protocol.layers, self.total)
        found = Site(self, self.activation if mine else self.activation.other, units)
        self.sites.append(found)
        return found

    def hidden(
        self, make: Callable[..., Layer], fan_in: int, units: int, after: Site | None, at: int = -1
    ) -> Layer:
        """A layer, perhaps batch normalisation, and the activation."""
        normed, start = self.protocol.batch_norm, self.protocol.bias
        layer = make(fan_in, units, after, 0.0 if normed else start)
        norm = self.batch_norm(units, start, at) if normed else _same
        site = self.site(at)
        return lambda x: site(norm(layer(x)))

    def begin(self, purpose: str, training: bool, watching: bool = False) -> None:
        """Says what the next passes are for; noise of one purpose is the same every time."""
        self.training, self.watching, self.activity = training, watching, None
        self.noise = [noise(seed, purpose) for seed in self.seeds]
        for site in self.sites:
            site.before.clear()

    def drawn(self, draw: Callable[..., Tensor], shape: torch.Size) -> Tensor:
        """Random numbers of each run's seed, one after the other: (runs, *shape[1:])."""
        of_seed = [draw(shape[1:], generator=generator) for generator in self.noise]
        return torch.stack([of_seed[i] for i in self.which]).to(self.dtype)


class Site:
    """One place in the network where the activation is applied, with its learned parameters."""

    def __init__(
        self, builder: Builder, activation: Activation, units: int, learned: dict[str, Tensor] | None = None
    ) -> None:
        self.builder, self.activation, self.units = builder, activation, units
        if learned is None:
            learned = {name: builder.constant(value) for name, value in activation.learnable}
        self.learned = learned
        self.before: list[Tensor] = []  # what it read, while the builder is watching

    def function(self, z: Tensor) -> Tensor:
        shape = (-1, *[1] * (z.dim() - 1))
        return self.activation.of_one(z, **{name: v.view(shape) for name, v in self.learned.items()})

    def gated(self, z: Tensor, up: Tensor) -> Tensor:
        """f(z) * up, or the gated unit itself."""
        return self(z, up) if self.activation.gate else self(z) * up

    def __call__(self, z: Tensor, up: Tensor | None = None) -> Tensor:
        builder, protocol = self.builder, self.builder.protocol
        if builder.watching:
            self.before.append(z)
        y = self.function(z) if up is None else self.activation.function(z, up)
        if protocol.activation_penalty and builder.training:
            square = y.square().flatten(1).mean(1)
            builder.activity = square if builder.activity is None else builder.activity + square
        if protocol.dropout and builder.training:
            y = y * (builder.drawn(torch.rand, y.shape) >= protocol.dropout) / (1 - protocol.dropout)
        return y


def chosen(layers: str, total: int) -> set[int]:
    """Which of the layers 1..total a text names: all, first, last, odd, even, 3, 2-5."""
    numbers = range(1, total + 1)
    named = {
        "all": numbers,
        "first": numbers[:1],
        "last": numbers[-1:],
        "odd": numbers[::2],
        "even": numbers[1::2],
    }
    if layers in named:
        return set(named[layers])
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", layers):
        low, high = int(match[1]), int(match[2] or match[1])
        if found := set(numbers) & set(range(low, high + 1)):
            return found
        raise CompareError(f"layers={layers!r}: the network has the hidden layers 1 to {total}")
    raise CompareError(
        f"layers={layers!r}; it is all, first, last, odd, even, a number or a range such as 3-5"
    )


def _same(x: Tensor) -> Tensor:
    return x


def _dense(b: Builder, sizes: Sequence[int]) -> Layer:
    """Hidden layers of these sizes, behind the first, which is the input's; then the output."""
    b.total = len(sizes) - 1
    layers, after = [], None
    for fan_in, units in itertools.pairwise(sizes):
        layers.append(b.hidden(b.linear, fan_in, units, after))
        after = b.sites[-1]
    layers.append(b.linear(sizes[-1], outputs(b.task, b.protocol), after))
    return _chain(layers)


def _chain(layers: Sequence[Layer]) -> Layer:
    def forward(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return forward


def mlp(b: Builder) -> Layer:
    """`depth` hidden layers of `width` units."""
    return _dense(b, [b.task.inputs.shape[1], *[b.protocol.width] * b.protocol.depth])


def autoencoder(b: Builder) -> Layer:
    """The same with a bottleneck: the layer in the middle has an eighth of the units. Its output is its input."""
    sizes = [b.task.inputs.shape[1], *[b.protocol.width] * b.protocol.depth]
    sizes[(b.protocol.depth + 1) // 2] = max(2, b.protocol.width // 8)
    return _dense(b, sizes)


def _pool(x: Tensor) -> Tensor:
    """The mean of neighbours, two in each direction, while that leaves four or more."""
    if min(x.shape[3:]) < 8:
        return x
    pool = F.avg_pool1d if x.dim() == 4 else F.avg_pool2d
    return pool(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])


def cnn(b: Builder) -> Layer:
    """`depth` convolutions of `width` channels, each followed by pooling while there is something to pool; the mean
    over the places, and a linear layer."""
    b.total = b.protocol.depth
    layers: list[Layer] = [_image(b)]
    channels, after = b.task.shape[0], None
    for _ in range(b.protocol.depth):
        layers += [b.hidden(b.convolution, channels, b.protocol.width, after, 2), _pool]
        channels, after = b.protocol.width, b.sites[-1]
    return _chain([*layers, _places_mean, b.linear(channels, outputs(b.task, b.protocol), after)])


def resnet(b: Builder) -> Layer:
    """Convolution, `depth` residual blocks, mean, linear layer. A block (He et al. 2016, arXiv 1603.05027) adds
    convolution(f(norm(convolution(f(norm(x)))))) to x; its last weights are divided by sqrt(depth)."""
    depth, width = b.protocol.depth, b.protocol.width
    b.total = 2 * depth + 1

    def norm() -> Layer:
        return b.batch_norm(width, b.protocol.bias) if b.protocol.batch_norm else _same

    def block() -> Layer:
        first, f = norm(), b.site(2)
        inner = b.hidden(b.convolution, width, width, f, 2)
        last = b.convolution(width, width, b.sites[-1], factor=depth**-0.5)
        return lambda x: _pool(x + last(inner(f(first(x)))))

    layers = [
        _image(b),
        b.convolution(b.task.shape[0], width),
        *[block() for _ in range(depth)],
        norm(),
        b.site(2),
    ]
    return _chain([*layers, _places_mean, b.linear(width, outputs(b.task, b.protocol), b.sites[-1])])


def _image(b: Builder) -> Layer:
    return lambda x: x.view(*x.shape[:2], *b.task.shape)


def _places_mean(x: Tensor) -> Tensor:
    return x.flatten(3).mean(3)


def _sequence(b: Builder) -> Layer:
    """From samples to (runs, n, time, width): tokens by an embedding, signals and the rows of images linearly."""
    width = b.protocol.width
    if b.task.kind == "next_token":
        table = b.parameter(b.normal(b.task.classes, width))
        rows = torch.arange(len(b.runs)).view(-1, 1, 1)
        return lambda tokens: table[rows, tokens]
    channels, time, *rest = b.task.shape
    project = b.linear(channels * math.prod(rest), width)
    # (runs, n, channels, time, rest) -> (runs, n, time, channels * rest)
    return lambda x: project(x.view(*x.shape[:2], channels, time, -1).transpose(2, 3).flatten(3))


def _steps(task: Task) -> int:
    return task.inputs.shape[1] if task.kind == "next_token" else task.shape[1]


def _transformer(b: Builder, gated: bool) -> Layer:
    """Pre-norm blocks of attention (heads of 16) and a feed-forward part of 4 * width units, or gated,
    f(gate) * up, of 8/3 * width: the same number of weights (Shazeer 2020, arXiv 2002.05202)."""
    depth, width = b.protocol.depth, b.protocol.width
    heads = max(1, width // 16)
    if width % heads:
        raise CompareError(f"width={width}: a transformer of this width needs a multiple of {heads}")
    b.total = depth
    causal, small = b.task.kind == "next_token", (2 * depth) ** -0.5
    embed = _sequence(b)
    places = b.parameter(b.normal(_steps(b.task), width).unsqueeze(1) * 0.1)

    def attention() -> Layer:
        norm, mix, out = b.layer_norm(width), b.linear(width, 3 * width), b.linear(width, width, factor=small)

        def layer(x: Tensor) -> Tensor:
            parts = (
                mix(norm(x)).unflatten(3, (3, heads, -1)).flatten(0, 1)
            )  # (runs * n, time, 3, heads, size)
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            return x + out(y.transpose(1, 2).flatten(2).unflatten(0, x.shape[:2]))

        return layer

    def feed_forward() -> Layer:
        hidden = 8 * width // 3 if gated else 4 * width
        norm, up = b.layer_norm(width), b.linear(width, hidden, bias=b.protocol.bias)
        value = b.linear(width, hidden) if gated else None
        f = b.site()
        down = b.linear(hidden, width, f, factor=small)
        if value is None:
            return lambda x: x + down(f(up(norm(x))))
        return lambda x: x + down(f.gated(up(y := norm(x)), value(y)))

    blocks = [layer for _ in range(depth) for layer in (attention(), feed_forward())]
    last, out = b.layer_norm(width), b.linear(width, outputs(b.task, b.protocol))

    def forward(x: Tensor) -> Tensor:
        y = last(_chain(blocks)(embed(x) + places))
        return out(y if causal else y.mean(2))

    return forward


def transformer(b: Builder) -> Layer:
    return _transformer(b, gated=False)


def gated_transformer(b: Builder) -> Layer:
    return _transformer(b, gated=True)


def _recurrent(b: Builder, gates: int) -> Layer:
    """`depth` layers h' = f(W x + U h + b); with two gates gated recurrent units (Cho et al. 2014, arXiv 1406.1078)
    with f in tanh's place, h' = z h + (1 - z) f(W x + r U h + b); with three long short-term memory, c' = r c +
    i f(W x + U h + b), h' = o f(c'), the forget gate r starting at sigmoid(1) (Gers et al. 2000,
    doi:10.1162/089976600300015015). Read out: every step of a text, else the last."""
    depth, width = b.protocol.depth, b.protocol.width
    b.total = depth
    embed = _sequence(b)

    def layer(after: Site | None) -> Layer:
        read = b.linear(width, width, after, b.protocol.bias, factor=0.5**0.5)
        opens = b.linear(width, gates * width) if gates else None
        f = b.site()
        u = b.weight(width, width, width, after=f, factor=0.5**0.5)
        v = b.weight(width, width, gates * width) if gates else None

        def forward(x: Tensor) -> Tensor:
            inputs = read(x).unbind(2)
            opened = opens(x).unbind(2) if opens else inputs
            h, states = x.new_zeros(len(x), x.shape[1], width), []
            c = h
            for a, g in zip(inputs, opened, strict=True):
                if v is None:
                    h = f(torch.baddbmm(a, h, u))
                elif gates == 2:
                    z, r = torch.sigmoid(torch.baddbmm(g, h, v)).chunk(2, 2)
                    h = torch.lerp(f(a + r * torch.bmm(h, u)), h, z)
                else:
                    i, r, o = torch.baddbmm(g, h, v).chunk(3, 2)
                    c = torch.sigmoid(r + 1) * c + torch.sigmoid(i) * f(torch.baddbmm(a, h, u))
                    h = torch.sigmoid(o) * f(c)
                states.append(h)
            return torch.stack(states, 2)

        return forward

    layers, after = [], None
    for _ in range(depth):
        layers.append(layer(after))
        after = b.sites[-1]
    out = b.linear(width, outputs(b.task, b.protocol), after)

    def forward(x: Tensor) -> Tensor:
        y = _chain(layers)(embed(x))
        return out(y if b.task.kind == "next_token" else y[:, :, -1])

    return forward


def rnn(b: Builder) -> Layer:
    return _recurrent(b, 0)


def gru(b: Builder) -> Layer:
    return _recurrent(b, 2)


def lstm(b: Builder) -> Layer:
    return _recurrent(b, 3)


#: name -> (architecture, its usual depths and width)
NETWORKS: dict[str, tuple[Callable[[Builder], Layer], tuple[int, ...], int]] = {
    "mlp": (mlp, (2, 12), 64),
    "autoencoder": (autoencoder, (3,), 64),
    "cnn": (cnn, (2,), 16),
    "resnet": (resnet, (2,), 16),
    "transformer": (transformer, (2,), 32),
    "gated_transformer": (gated_transformer, (2,), 32),
    "gru": (gru, (1,), 32),
    "lstm": (lstm, (1,), 32),
    "rnn": (rnn, (1,), 32),
}


def outputs(task: Task, protocol: Protocol) -> int:
    return task.inputs.shape[1] if protocol.network == "autoencoder" else task.classes


def usual(task: Task) -> str:
    """The network for a task when none is asked for."""
    if task.kind == "next_token":
        return "transformer"
    return "gru" if task.name == "memory" else "mlp"


def check(task: Task, protocol: Protocol) -> None:
    """Refuses what does not fit together, before anything is trained."""
    network, tokens = protocol.network, task.kind == "next_token"
    usual = Protocol()
    for name in ("bias", "batch_norm", "dropout", "layers"):
        if network not in NETWORKS and getattr(protocol, name) != getattr(usual, name):
            raise CompareError(f"{name}: not for a network of one's own; build it in")
    if network in ("cnn", "resnet") and (tokens or not task.shape):
        raise CompareError(
            f"{network} reads images or signals, and {task.name} has none: use mlp or another network"
        )
    if network in ("mlp", "autoencoder") and tokens:
        raise CompareError(
            f"{network} cannot read text: use transformer, gated_transformer, gru, lstm or rnn"
        )
    if network in ("transformer", "gated_transformer", "gru", "lstm", "rnn"):
        if not tokens and not task.shape:
            raise CompareError(f"{network} reads sequences, and {task.name} is a table: use mlp")
        if protocol.batch_norm:
            raise CompareError(f"batch_norm: {network} has none; leave it off")
    if tokens and (protocol.noise or protocol.scale != 1):
        raise CompareError(f"noise and scale are for numbers; {task.name} is text")
    chosen(protocol.layers, 10**6)


def check_gate(protocol: Protocol, activation: Activation) -> None:
    """Refuses a gated unit where the network has one input for it."""
    if activation.gate and protocol.network != "gated_transformer":
        raise CompareError(
            f"{activation.label} is a gated unit, a function of two inputs, and {protocol.network_name} gives its "
            "activations one; compare gated units with network gated_transformer, where also any other activation f "
            "makes a gated unit, f(gate) * up"
        )


def work(task: Task, protocol: Protocol, activation: Activation) -> tuple[int, int]:
    """Parameters of a run, and a number about proportional to the time that a sample takes in training."""
    if protocol.network not in NETWORKS:
        return 1 << 30, 1 << 20  # the caller's own: one run at a time
    b = Builder([Run("", 1.0, 0)], activation, task, protocol)
    NETWORKS[protocol.network][0](b)
    size = sum(p.numel() for p in b.parameters)
    return size, (size + 10_000 * (len(b.sites) + 1)) * places(task, protocol)


def places(task: Task, protocol: Protocol) -> int:
    """How often a layer is applied to one sample: once, or at every step of a sequence or pixel of an image."""
    if protocol.network in ("mlp", "autoencoder"):
        return 1
    return task.inputs.shape[1] if task.kind == "next_token" else math.prod(task.shape[1:])
