"""RNN, GRU and LSTM with any activation and any gate function.

With torch's own functions they are torch's layers, its kernels included. With others the steps are
computed here, from the same parameters: signatures, results' shapes and state_dict keys stay torch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from softknee.nn import recognise
from softknee.nn.make import maker

__all__ = ["GRU", "LSTM", "RNN"]

States = tuple[Tensor, ...]


class _Recurrent(torch.nn.RNNBase):
    """The loop over layers, directions and steps that the three share."""

    def _functions(self, factory: dict[str, Any], **given: tuple[Any, str]) -> None:
        """Sets the activation and the gate function; name: (what was asked for, torch's)."""
        self._ours = False
        for name, (asked, usual) in given.items():
            module = maker(asked)()
            known = recognise.module(module)
            plain = known is not None and str(known) == usual
            self._ours |= not plain
            if not plain:
                module.to(**{k: v for k, v in factory.items() if v is not None})
                setattr(self, name, module)
            else:
                setattr(self, name, usual)

    def _call(self, name: str, x: Tensor) -> Tensor:
        found = getattr(self, name)
        return getattr(torch, found)(x) if isinstance(found, str) else found(x)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        shown = [super().extra_repr()]
        for name in ("activation", "gate"):
            if isinstance(getattr(self, name, ""), torch.nn.Module):
                shown.append(f"{name}={recognise.module(getattr(self, name)) or '...'}")
        return ", ".join(shown)

    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        raise NotImplementedError

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
        if packed:
            result: Any = PackedSequence(torch.cat(out), sizes, order, back)
        else:
            result = torch.stack(out, along) if batched else torch.cat(out)
        if back is not None:
            last = tuple(s.index_select(1, back) for s in last)
        if not batched:
            last = tuple(s.squeeze(1) for s in last)
        return result, last if len(last) > 1 else last[0]

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


class RNN(_Recurrent, torch.nn.RNN):
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
        asked = kwargs.pop("nonlinearity", "tanh")
        if activation is not None:
            asked = activation
        theirs = isinstance(asked, str) and asked in ("tanh", "relu")
        torch.nn.RNN.__init__(self, *args, nonlinearity=asked if theirs else "tanh", **kwargs)
        factory = {n: kwargs.get(n) for n in ("device", "dtype")}
        self._functions(factory, activation=(asked, asked if theirs else "tanh"))
        self.nonlinearity = asked if isinstance(asked, str) else str(recognise.module(self.activation))

    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        return (self._call("activation", gi + gh),)


class GRU(_Recurrent, torch.nn.GRU):
    """r = s(...), z = s(...), n = f(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h, with any
    activation f and any gate function s.

    Args:
        args: torch.nn.GRU's, and so are the other keywords
        activation: f, a name, an Activation or a module
        gate: s, likewise
    """

    def __init__(self, *args: Any, activation: Any = "tanh", gate: Any = "sigmoid", **kwargs: Any) -> None:
        torch.nn.GRU.__init__(self, *args, **kwargs)
        factory = {n: kwargs.get(n) for n in ("device", "dtype")}
        self._functions(factory, activation=(activation, "tanh"), gate=(gate, "sigmoid"))

    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        (h,) = states
        i_gates, i_new = gi.split([2 * self.hidden_size, self.hidden_size], -1)
        h_gates, h_new = gh.split([2 * self.hidden_size, self.hidden_size], -1)
        r, z = self._call("gate", i_gates + h_gates).chunk(2, -1)
        n = self._call("activation", i_new + r * h_new)
        return (n + z * (h - n),)


class LSTM(_Recurrent, torch.nn.LSTM):
    """i, f, o = s(...), g = a(...), c' = f c + i g, h' = o a(c'), with any activation a and any gate
    function s.

    Args:
        args: torch.nn.LSTM's, and so are the other keywords
        activation: a, a name, an Activation or a module
        gate: s, likewise
    """

    def __init__(self, *args: Any, activation: Any = "tanh", gate: Any = "sigmoid", **kwargs: Any) -> None:
        torch.nn.LSTM.__init__(self, *args, **kwargs)
        factory = {n: kwargs.get(n) for n in ("device", "dtype")}
        self._functions(factory, activation=(activation, "tanh"), gate=(gate, "sigmoid"))

    def _widths(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def _cell(self, gi: Tensor, gh: Tensor, states: States, project: Tensor | None) -> States:
        h = self.hidden_size
        i_f, g, o = (gi + gh).split([2 * h, h, h], -1)
        i, f = self._call("gate", i_f).chunk(2, -1)
        c = f * states[1] + i * self._call("activation", g)
        out = self._call("gate", o) * self._call("activation", c)
        return (out if project is None else out @ project.T), c
