"""RNN, GRU and LSTM, layers and cells, with any activation and any gate function.

With torch's own functions they are torch's modules, its kernels included. With others the steps are
computed here, from the same parameters: signatures, results' shapes and state_dict keys stay torch's.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from softknee.nn import recognise
from softknee.nn.make import maker

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

States = tuple[Tensor, ...]


class _AnyFunction(torch.nn.Module):
    """An activation and a gate function in the places where torch has tanh and sigmoid."""

    hidden_size: int

    def _functions(self, device: Any, dtype: Any, **given: tuple[Any, str]) -> None:
        """Sets the activation and the gate function; name: (what was asked for, torch's)."""
        self._ours = False
        for name, (asked, usual) in given.items():
            module = maker(asked)()
            known = recognise.module(module)
            plain = known is not None and str(known) == usual
            self._ours |= not plain
            setattr(self, name, usual if plain else module.to(device=device, dtype=dtype))

    def _call(self, name: str, x: Tensor) -> Tensor:
        found = getattr(self, name)
        return getattr(torch, found)(x) if isinstance(found, str) else found(x)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        shown = [super().extra_repr()]
        for name in ("activation", "gate"):
            if isinstance(getattr(self, name, ""), torch.nn.Module) and "nonlinearity=" not in shown[0]:
                shown.append(f"{name}={recognise.module(getattr(self, name)) or '...'}")
        return ", ".join(shown)

    def reset_parameters(self) -> None:
        """Weights and biases as torch draws them; the activation's own parameters are its own."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters(recurse=False):
            torch.nn.init.uniform_(weight, -bound, bound)
        for child in self.children():
            if hasattr(child, "reset_parameters"):
                child.reset_parameters()

    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        """One step: the new states, from the input's and the hidden state's part of the sum."""
        raise NotImplementedError


class _RNN(_AnyFunction):
    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        return (self._call("activation", gi + gh),)


class _GRU(_AnyFunction):
    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        (h,) = states
        i_gates, i_new = gi.split([2 * self.hidden_size, self.hidden_size], -1)
        h_gates, h_new = gh.split([2 * self.hidden_size, self.hidden_size], -1)
        r, z = self._call("gate", i_gates + h_gates).chunk(2, -1)
        n = self._call("activation", i_new + r * h_new)
        return (n + z * (h - n),)


class _LSTM(_AnyFunction):
    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        h = self.hidden_size
        i_f, g, o = (gi + gh).split([2 * h, h, h], -1)
        i, f = self._call("gate", i_f).chunk(2, -1)
        c = f * states[1] + i * self._call("activation", g)
        out = self._call("gate", o) * self._call("activation", c)
        return (out if project is None else out @ project.T), c


class _Layers(_AnyFunction, torch.nn.RNNBase):
    """The loop over layers, directions and steps that the three layers share."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        if not self._ours:
            return super().forward(input, hx)
        packed = isinstance(input, PackedSequence)
        sizes, order, back = None, None, None
        batched = True
        if packed:
            data, sizes, order, back = input
            steps, counts = list(data.split(sizes.tolist())), sizes.tolist()
            batch, checked = counts[0], data
        else:
            if input.dim() not in (2, 3):
                raise ValueError(
                    f"{type(self).__name__}: expected an input of 2 or 3 dimensions, got {input.dim()}"
                )
            batched = input.dim() == 3
            along = 1 if self.batch_first and batched else 0
            checked = input if batched else input.unsqueeze(1)
            steps = list(input.unbind(along)) if batched else [s.unsqueeze(0) for s in input.unbind(0)]
            batch = steps[0].shape[0] if steps else checked.shape[1 - along]
            if not steps:
                raise RuntimeError(f"{type(self).__name__}: expected a sequence of at least one step")
            counts = [batch] * len(steps)
        given = self._initial(hx, steps[0], batch, batched, order)
        self.check_input(checked, sizes)
        out, last = self._layers(steps, counts, given)
        if (lower := self._returned(checked, packed)) is not None:
            out, last = [s.to(lower) for s in out], tuple(s.to(lower) for s in last)
        if packed:
            result: Any = PackedSequence(torch.cat(out), sizes, order, back)
        else:
            result = torch.stack(out, along) if batched else torch.cat(out)
        if back is not None:
            last = tuple(s.index_select(1, back) for s in last)
        if not batched:
            last = tuple(s.squeeze(1) for s in last)
        return result, last if len(last) > 1 else last[0]

    def _returned(self, input: Tensor, packed: bool) -> torch.dtype | None:
        """The type that torch's layer returns under autocast where our steps may end in float32: on the CPU
        LSTM has a kernel of that type for inputs that are not packed; a GPU has them for all."""
        device = input.device.type
        if not torch.is_autocast_enabled(device) or input.dtype is torch.float64:
            return None
        if device == "cpu" and (packed or not isinstance(self, torch.nn.LSTM)):
            return None
        return torch.get_autocast_dtype(device)

    def _initial(self, hx: Any, like: Tensor, batch: int, batched: bool, order: Tensor | None) -> States:
        """The states before the first step, one row a layer and direction."""
        rows = self.num_layers * (2 if self.bidirectional else 1)
        widths = self._widths()
        if hx is None:
            return tuple(like.new_zeros(rows, batch, w) for w in widths)
        states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if len(states) != len(widths):
            raise ValueError(f"{type(self).__name__}: expected {len(widths)} states in hx, got {len(states)}")
        for s, w in zip(states, widths, strict=True):
            want = (rows, batch, w) if batched else (rows, w)
            if tuple(s.shape) != want:
                raise RuntimeError(
                    f"{type(self).__name__}: expected a state of the shape {want}, got {tuple(s.shape)}"
                )
        if not batched:
            states = tuple(s.unsqueeze(1) for s in states)
        return states if order is None else tuple(s.index_select(1, order) for s in states)

    def _widths(self) -> tuple[int, ...]:
        return (self.hidden_size,)

    def _layers(self, steps: list[Tensor], counts: list[int], given: States) -> tuple[list[Tensor], States]:
        directions = 2 if self.bidirectional else 1
        last: list[States] = []
        for layer in range(self.num_layers):
            found = []
            for direction in range(directions):
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                row = layer * directions + direction
                out, final = self._direction(
                    steps, counts, tuple(s[row] for s in given), suffix, direction == 1
                )
                found.append(out)
                last.append(final)
            steps = (
                [torch.cat(pair, -1) for pair in zip(*found, strict=True)] if directions == 2 else found[0]
            )
            if self.dropout and self.training and layer < self.num_layers - 1:
                joined = torch.nn.functional.dropout(torch.cat(steps), self.dropout, True)
                steps = list(joined.split(counts))
        return steps, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    def _direction(
        self, steps: list[Tensor], counts: list[int], initial: States, suffix: str, reverse: bool
    ) -> tuple[list[Tensor], States]:
        """The outputs of one layer in one direction, and its states after the last step. Step t has
        counts[t] sequences, never more than the step before it."""
        linear = torch.nn.functional.linear
        bias_ih = getattr(self, f"bias_ih{suffix}") if self.bias else None
        bias_hh = getattr(self, f"bias_hh{suffix}") if self.bias else None
        weight_hh = getattr(self, f"weight_hh{suffix}")
        project = getattr(self, f"weight_hr{suffix}") if self.proj_size else None
        inputs = linear(torch.cat(steps), getattr(self, f"weight_ih{suffix}"), bias_ih).split(counts)
        out: list[Tensor] = [inputs[0]] * len(steps)
        ended: list[States] = []
        states = tuple(s[: counts[-1]] for s in initial) if reverse else initial
        for t in reversed(range(len(steps))) if reverse else range(len(steps)):
            have, want = states[0].shape[0], counts[t]
            if want < have:
                ended.append(tuple(s[want:] for s in states))
                states = tuple(s[:want] for s in states)
            elif want > have:
                states = tuple(torch.cat([s, i[have:want]]) for s, i in zip(states, initial, strict=True))
            states = self._cell(inputs[t], linear(states[0], weight_hh, bias_hh), states, project)
            out[t] = states[0]
        for rest in reversed(ended):
            states = tuple(torch.cat(pair) for pair in zip(states, rest, strict=True))
        return out, states


class RNN(_RNN, _Layers, torch.nn.RNN):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), with any activation f.

    Args:
        args: torch.nn.RNN's, and so are the other keywords
        nonlinearity: f, a name, an Activation or a module
        activation: the same, by the name that GRU and LSTM have for it
    """

    def __init__(self, *args: Any, activation: Any = None, **kwargs: Any) -> None:
        if len(args) > 3:  # input_size, hidden_size, num_layers, nonlinearity
            kwargs["nonlinearity"], args = args[3], (*args[:3], *args[4:])
            names = ("bias", "batch_first", "dropout", "bidirectional")
            kwargs |= dict(zip(names, args[3:], strict=False))
            args = args[:3]
        asked = kwargs.pop("nonlinearity", "tanh") if activation is None else activation
        kwargs.pop("nonlinearity", None)
        usual = asked if isinstance(asked, str) and asked in ("tanh", "relu") else "tanh"
        torch.nn.RNN.__init__(self, *args, nonlinearity=usual, **kwargs)
        self._functions(kwargs.get("device"), kwargs.get("dtype"), activation=(asked, usual))
        self.nonlinearity = _shown(asked, self.activation)


class GRU(_GRU, _Layers, torch.nn.GRU):
    """r = s(...), z = s(...), n = f(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h, with any
    activation f and any gate function s.

    Args:
        args: torch.nn.GRU's, and so are the other keywords
        activation: f, a name, an Activation or a module
        gate: s, likewise
    """

    def __init__(self, *args: Any, activation: Any = "tanh", gate: Any = "sigmoid", **kwargs: Any) -> None:
        torch.nn.GRU.__init__(self, *args, **kwargs)
        functions = {"activation": (activation, "tanh"), "gate": (gate, "sigmoid")}
        self._functions(kwargs.get("device"), kwargs.get("dtype"), **functions)


class LSTM(_LSTM, _Layers, torch.nn.LSTM):
    """i, f, o = s(...), g = a(...), c' = f c + i g, h' = o a(c'), with any activation a and any gate
    function s.

    Args:
        args: torch.nn.LSTM's, and so are the other keywords
        activation: a, a name, an Activation or a module
        gate: s, likewise
    """

    def __init__(self, *args: Any, activation: Any = "tanh", gate: Any = "sigmoid", **kwargs: Any) -> None:
        torch.nn.LSTM.__init__(self, *args, **kwargs)
        functions = {"activation": (activation, "tanh"), "gate": (gate, "sigmoid")}
        self._functions(kwargs.get("device"), kwargs.get("dtype"), **functions)

    def _widths(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)


def _shown(asked: Any, activation: Any) -> str:
    return asked if isinstance(asked, str) else str(recognise.module(activation) or "...")


# Cells: one step


class _Cells(_AnyFunction, torch.nn.RNNCellBase):
    """What the three cells share."""

    states = 1

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if not self._ours:
            return super().forward(input, hx)
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: expected an input of 1 or 2 dimensions, got {input.dim()}")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{name}: expected an input of {self.input_size} values, got {input.shape[-1]}"
            )
        want = (*input.shape[:-1], self.hidden_size)
        given = (hx,) if isinstance(hx, Tensor) else hx
        if given is None:
            given = (input.new_zeros(want),) * self.states
        if len(given) != self.states:
            raise ValueError(f"{name}: expected {self.states} states in hx, got {len(given)}")
        for s in given:
            if tuple(s.shape) != want:
                raise RuntimeError(f"{name}: expected a state of the shape {want}, got {tuple(s.shape)}")
        linear = torch.nn.functional.linear
        gi, gh = (
            linear(input, self.weight_ih, self.bias_ih),
            linear(given[0], self.weight_hh, self.bias_hh),
        )
        new = self._cell(gi, gh, tuple(given), None)
        return new if self.states > 1 else new[0]


class RNNCell(_RNN, _Cells, torch.nn.RNNCell):
    """One step of `RNN`, with any activation.

    Args:
        input_size, hidden_size, bias: torch.nn.RNNCell's
        nonlinearity: a name, an Activation or a module
        activation: the same, by the name that GRUCell and LSTMCell have for it
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: Any = "tanh", device: Any = None,
        dtype: Any = None, *, activation: Any = None,
    ) -> None:  # fmt: skip
        asked = nonlinearity if activation is None else activation
        usual = asked if isinstance(asked, str) and asked in ("tanh", "relu") else "tanh"
        torch.nn.RNNCell.__init__(self, input_size, hidden_size, bias, usual, device, dtype)
        self._functions(device, dtype, activation=(asked, usual))
        self.nonlinearity = _shown(asked, self.activation)


class GRUCell(_GRU, _Cells, torch.nn.GRUCell):
    """One step of `GRU`, with any activation and any gate function.

    Args:
        input_size, hidden_size, bias: torch.nn.GRUCell's
        activation: a name, an Activation or a module
        gate: likewise
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None, *,
        activation: Any = "tanh", gate: Any = "sigmoid",
    ) -> None:  # fmt: skip
        torch.nn.GRUCell.__init__(self, input_size, hidden_size, bias, device, dtype)
        self._functions(device, dtype, activation=(activation, "tanh"), gate=(gate, "sigmoid"))


class LSTMCell(_LSTM, _Cells, torch.nn.LSTMCell):
    """One step of `LSTM`, with any activation and any gate function.

    Args:
        input_size, hidden_size, bias: torch.nn.LSTMCell's
        activation: a name, an Activation or a module
        gate: likewise
    """

    states = 2

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None, *,
        activation: Any = "tanh", gate: Any = "sigmoid",
    ) -> None:  # fmt: skip
        torch.nn.LSTMCell.__init__(self, input_size, hidden_size, bias, device, dtype)
        self._functions(device, dtype, activation=(activation, "tanh"), gate=(gate, "sigmoid"))
