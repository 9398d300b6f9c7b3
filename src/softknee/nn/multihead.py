"""Attention with any normaliser: torch's layer for softmax, the same projections for all others."""

from __future__ import annotations

import math
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import Tensor

from softknee import catalogue
from softknee.nn import functional
from softknee.nn.make import call_of, named

__all__ = ["MultiheadAttention"]

_WHOLE_ROW = ("sparsemax", "entmax15", "entmax", "softmax1")  # functions of all the scores of a query
_OFFERED = ("softmax", *_WHOLE_ROW)


def _normaliser(asked: Any) -> Callable[[Tensor], Tensor] | None:
    """Scores (..., keys) -> weights; None for softmax, which is torch's."""
    if asked == "softmax":
        return None
    if isinstance(asked, str):
        name, given = call_of(asked)
        if name in _WHOLE_ROW:
            f = partial(getattr(functional, name), **given)
            f(torch.zeros(1))  # says what is wrong with the arguments
            return f
    try:
        found = named(asked)
    except KeyError:
        found = None
    if found is None and callable(asked):
        return asked  # type: ignore[no-any-return]
    if found is None:
        offered = ", ".join(map(repr, _OFFERED))
        every = [*_OFFERED, *catalogue.names()]
        near = get_close_matches(asked.lower(), every, n=1) if isinstance(asked, str) else []
        advice = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"there is no normaliser {asked!r}{advice}; there are {offered}, every activation by its name (divided "
            "by the number of keys), and functions of your own of the scores"
        )
    definition, given = found
    f = partial(functional.function_of(definition), **given)
    try:
        f(torch.zeros(1))
    except TypeError as error:  # an argument too few or too many
        raise TypeError(
            f"normaliser={asked!r}: {error}; write its parameters in brackets, or give a module"
        ) from None
    return partial(_of_sigmoid if definition is catalogue.get("sigmoid") else _of_activation, f)


def _of_sigmoid(f: Callable[[Tensor], Tensor], scores: Tensor) -> Tensor:
    return f(scores - math.log(max(scores.shape[-1], 1)))


def _of_activation(f: Callable[[Tensor], Tensor], scores: Tensor) -> Tensor:
    # a key that is masked has the score -inf, and no weight whatever the function is there
    return (f(scores) / max(scores.shape[-1], 1)).masked_fill(scores == -math.inf, 0)


class MultiheadAttention(torch.nn.MultiheadAttention):
    """torch.nn.MultiheadAttention with weights = normaliser(q k^T / sqrt(d) + mask), over n keys.

    With "softmax" it is torch's own layer, scaled_dot_product_attention included. "sparsemax",
    "entmax15", "entmax(alpha=1.3)" and "softmax1" are the functions of these names. "sigmoid" has its bias of -log n
    (Ramapuram et al. 2024, Theory, analysis, and best practices for sigmoid self-attention, section 3). Any
    other activation is divided by n: "relu" is max(0, score) / n (Wortsman, Lee, Gilmer, Kornblith 2023,
    Replacing softmax with relu in vision transformers). A function of the scores (..., n) may be given
    too, or a module, whose parameters are learned (`nn.Entmax(learnable=True)`). Where all keys of a query are masked, softmax gives NaN, as torch's, and so do sparsemax and
    entmax15; softmax1, sigmoid and activations give zeros.

    Args:
        embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first:
            torch.nn.MultiheadAttention's
        normaliser: the name of the normaliser, or a function or module of the scores
        zero_rows: a query all of whose keys are masked has the weights 0, and a gradient of zeros, with
            every normaliser; its output is out_proj's bias then
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None, *, normaliser: Any = "softmax", zero_rows: bool = False,
    ) -> None:  # fmt: skip
        if not 0 <= dropout <= 1:
            raise ValueError(f"MultiheadAttention: dropout is a probability, from 0 to 1, got {dropout!r}")
        super().__init__(
            embed_dim,
            num_heads,
            dropout,
            bias,
            add_bias_kv,
            add_zero_attn,
            kdim,
            vdim,
            batch_first,
            device,
            dtype,
        )
        function = _normaliser(normaliser)
        self.normaliser, self.zero_rows = normaliser, zero_rows
        # a module is a child already, under the name `normaliser`
        self._function = None if isinstance(function, torch.nn.Module) else function
        if function is not None or zero_rows:
            # torch.nn.TransformerEncoderLayer asks this before it computes softmax attention in our place
            self._qkv_same_embed_dim = False

    def extra_repr(self) -> str:
        shown = (
            self.normaliser
            if isinstance(self.normaliser, str)
            else getattr(self.normaliser, "__name__", "...")
        )
        own = isinstance(self.normaliser, torch.nn.Module) or self.normaliser == "softmax"
        parts = [] if own else [f"normaliser={shown!r}"]
        return ", ".join(parts + ["zero_rows=True"] * self.zero_rows)

    @property
    def _weights_of(self) -> Callable[[Tensor], Tensor] | None:
        """Scores -> weights; None for softmax"""
        return self.normaliser if isinstance(self.normaliser, torch.nn.Module) else self._function

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """torch's arguments and results: the output, and the weights where they are needed."""
        if self._weights_of is None and not self.zero_rows:
            return super().forward(
                query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
            )
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask: give the mask, too")
        if query.is_nested:
            raise ValueError(
                f"attention with normaliser={self.normaliser!r:.60} takes no nested tensors; build "
                "TransformerEncoder with enable_nested_tensor=False"
            )
        batched = query.dim() == 3
        if query.dim() not in (2, 3) or not query.dim() == key.dim() == value.dim():
            raise ValueError(
                "query, key and value must all have 3 dimensions, or 2 without a batch; got "
                f"{query.dim()}, {key.dim()} and {value.dim()}"
            )
        if not batched:
            query, key, value = (t.unsqueeze(0) for t in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        self._check(query, key, value)
        q, k, v = self._projected(query, key, value)
        mask = self._mask(attn_mask, key_padding_mask, q, k)
        if self.bias_k is not None:
            k = torch.cat([k, self.bias_k.expand(k.shape[0], 1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(v.shape[0], 1, -1)], 1)
        q, k, v = (t.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for t in (q, k, v))
        if self.add_zero_attn:
            k, v = (torch.cat([t, t.new_zeros(*t.shape[:2], 1, t.shape[-1])], 2) for t in (k, v))
        if mask is not None:
            mask = torch.nn.functional.pad(mask, (0, k.shape[2] - mask.shape[-1]))
        mixed, weights = self._mixed(q, k, v, mask, need_weights)
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        out = out.squeeze(0) if not batched else out if self.batch_first else out.transpose(0, 1)
        if weights is None:
            return out, None
        shown = weights.mean(1) if average_attn_weights else weights
        return out, shown if batched else shown.squeeze(0)

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Inputs with the batch in front"""
        for name, given, width in zip(
            ("query", "key", "value"),
            (query, key, value),
            (self.embed_dim, self.kdim, self.vdim),
            strict=True,
        ):
            if given.shape[-1] != width:
                raise ValueError(f"{name} must have {width} features, got {given.shape[-1]}")
        if key.shape[:2] != value.shape[:2] or key.shape[0] != query.shape[0]:
            sizes = ", ".join(f"{t.shape[0]} x {t.shape[1]}" for t in (query, key, value))
            raise ValueError(
                "query, key and value must have the same batch, key and value the same length; got (batch x length) "
                f"{sizes}"
            )

    def _mixed(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The values, weighted, for every head and query; and the weights, where they are needed."""
        dropout = self.dropout if self.training else 0.0
        empty = None
        if self.zero_rows and mask is not None:
            empty = (mask == -math.inf).all(-1, keepdim=True)
            mask = mask.masked_fill(empty, 0)
        normalised = self._weights_of
        if normalised is None and not need_weights:
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, dropout)
            return mixed if empty is None else mixed.masked_fill(empty, 0), None
        scores = (q / math.sqrt(self.head_dim)) @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores + mask
        weights = torch.softmax(scores, -1) if normalised is None else normalised(scores)
        if weights.shape != scores.shape:
            raise ValueError(
                f"the normaliser made weights of the shape {tuple(weights.shape)} from scores of {tuple(scores.shape)}"
            )
        if empty is not None:
            weights = weights.masked_fill(empty, 0)
        if dropout:
            weights = torch.nn.functional.dropout(weights, dropout)
        return weights @ v, weights if need_weights else None

    def _projected(self, *inputs: Tensor) -> list[Tensor]:
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None,) * 3
        return [torch.nn.functional.linear(t, w, b) for t, w, b in zip(inputs, weights, biases, strict=True)]

    def _mask(self, attn: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
        """Both masks as one to be added: (batch or 1, heads or 1, queries or 1, keys)."""
        batch, queries, keys = q.shape[0], q.shape[1], k.shape[1]
        total = None
        for name, mask, shapes in (
            ("attn_mask", attn, {(queries, keys): (1, 1), (batch * self.num_heads, queries, keys): (batch, self.num_heads)}),
            ("key_padding_mask", padding, {(batch, keys): (batch, 1, 1)}),
        ):  # fmt: skip
            if mask is None:
                continue
            if not isinstance(mask, Tensor):
                raise TypeError(f"{name} must be a tensor, got {type(mask).__name__}")
            if tuple(mask.shape) not in shapes:
                want = " or ".join(map(str, shapes))
                raise RuntimeError(f"{name} must have the shape {want}, got {tuple(mask.shape)}")
            if mask.dtype is torch.bool:
                mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, -math.inf)
            elif not mask.is_floating_point():
                raise TypeError(f"{name} must be of bool (True: left out) or floating, got {mask.dtype}")
            mask = mask.to(q.dtype)
            front = shapes[tuple(mask.shape)]
            mask = mask.reshape(*front, *mask.shape[-2:] if name == "attn_mask" else (keys,))
            total = mask if total is None else total + mask
        return total
