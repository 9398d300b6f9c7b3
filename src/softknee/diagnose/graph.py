"""What a run of a model consisted of: calls of torch functions, and which used whose result.

Calls are sorted into kinds by what they do to a network's signal; that table is here. Activations are
recognised by the catalogue, not by a table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softknee.catalogue.definition import Definition
    from softknee.diagnose.probes import Site

__all__ = ["KINDS", "Call", "Graph", "kind_of"]

_RESHAPING = (
    "view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes swapdims movedim moveaxis contiguous "
    "to float half double bfloat16 type type_as clone expand expand_as __get__ t chunk split tensor_split unbind "
    "narrow select __getitem__ view_as reshape_as detach requires_grad_ alias rename identity index_select"
)
_TABLE = {
    "pass": _RESHAPING,
    "dropout": "dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout",
    "norm": "batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize",
    "softmax": "softmax log_softmax softmin gumbel_softmax",
    "affine": "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d bilinear",
    "product": "matmul __matmul__ __rmatmul__ mm bmm addmm baddbmm addbmm mv einsum tensordot",
    "add": "add add_ __add__ __radd__ __iadd__ sub sub_ __sub__ __rsub__ subtract cat concat concatenate stack hstack",
    "mul": "mul mul_ __mul__ __rmul__ __imul__ multiply div __truediv__ div_",
    "attention": "multi_head_attention_forward scaled_dot_product_attention",
    "recurrent": "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell quantized_lstm",
    "embedding": "embedding embedding_bag one_hot",
    "loss": (
        "cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss "
        "smooth_l1_loss huber_loss kl_div poisson_nll_loss gaussian_nll_loss hinge_embedding_loss "
        "soft_margin_loss multilabel_soft_margin_loss multi_margin_loss"
    ),
}
#: the name of a torch function or method -> its kind; what is not here is "other"
KINDS = {name: kind for kind, names in _TABLE.items() for name in names.split()}


def kind_of(name: str) -> str:
    return KINDS.get(name, "other")


@dataclass(eq=False)
class Call:
    """One call.

    sources: the calls whose results it took, in the order of its arguments. module: the qualified
    name of the module in whose forward it stands; leaf: that module has no children, so that the call
    is what the module does. weight: the module's parameter that it multiplied with.
    """

    index: int
    kind: str
    name: str
    module: str
    leaf: bool
    sources: tuple[int, ...]
    shape: tuple[int, ...] = ()
    definition: Definition | None = None
    site: Site | None = None
    weight: Any = None
    bias: Any = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Graph:
    """The calls of one run of a model, in order; `outputs` are those whose results it returned, `loss` is the one whose
    result was the loss."""

    calls: list[Call] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    loss: int | None = None

    @cached_property
    def consumers(self) -> dict[int, list[Call]]:
        found: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            for source in dict.fromkeys(call.sources):
                found[source].append(call)
        return found

    def of_kind(self, *kinds: str) -> list[Call]:
        return [c for c in self.calls if c.kind in kinds]

    def back(self, index: int, through: Collection[str] = ("pass",)) -> Call:
        """The call that a result comes from, looking through calls of these kinds along their first source."""
        call = self.calls[index]
        while call.kind in through and call.sources:
            call = self.calls[call.sources[0]]
        return call

    def source(self, call: Call, through: Collection[str] = ("pass",), which: int = 0) -> Call | None:
        return self.back(call.sources[which], through) if len(call.sources) > which else None

    def feeding(self, call: Call) -> Call | None:
        """The matrix or convolution that a call's input comes from, if nothing but normalisation,
        dropout, pooling and reshaping lie between."""
        found = self.source(call, ("pass", "norm", "dropout", "other"))
        return found if found is not None and found.kind == "affine" else None

    def forward(self, call: Call, through: Collection[str] = ("pass", "dropout")) -> Iterator[Call]:
        """The calls that use a result, looking through calls of these kinds."""
        for consumer in self.consumers.get(call.index, ()):
            if consumer.kind in through:
                yield from self.forward(consumer, through)
            else:
                yield consumer

    def after(self, call: Call) -> set[int]:
        """Every call that depends on this one."""
        reached: set[int] = set()
        waiting = [call.index]
        while waiting:
            for consumer in self.consumers.get(waiting.pop(), ()):
                if consumer.index not in reached:
                    reached.add(consumer.index)
                    waiting.append(consumer.index)
        return reached

    def leads(self, call: Call, index: int) -> bool:
        """A result depends on the call's."""
        return index in self._after(call.index)

    def hidden(self, call: Call) -> bool:
        """A matrix or convolution follows: the call is inside the network, not at its end."""
        return any(
            self.calls[i].kind in ("affine", "recurrent", "attention") for i in self._after(call.index)
        )

    def _after(self, index: int) -> set[int]:
        if index not in self._reached:
            self._reached[index] = self.after(self.calls[index])
        return self._reached[index]

    @cached_property
    def _reached(self) -> dict[int, set[int]]:
        return {}

    @property
    def normalised(self) -> bool:
        return any(c.kind == "norm" for c in self.calls)

    @property
    def residual(self) -> bool:
        """Some sum has two operands that depend on data; a sum of two numbers is one of losses."""
        return any(c.kind == "add" and len(set(c.sources)) > 1 and c.shape for c in self.calls)

    @cached_property
    def trunks(self) -> list[set[int]]:
        """Of each input the calls that no path from it to the output goes around: as many lead through them as there
        are."""
        behind = [0] * len(self.calls)
        for index in self.outputs:
            behind[index] = 1
        for call in reversed(self.calls):
            behind[call.index] += sum(behind[c.index] for c in self.consumers.get(call.index, ()))
        found = []
        for start in self.of_kind("input"):
            paths = [0] * len(self.calls)
            paths[start.index] = 1
            for call in self.calls[start.index + 1 :]:
                paths[call.index] = sum(paths[i] for i in set(call.sources))
            every = behind[start.index]
            found.append({i for i, n in enumerate(paths) if n and n * behind[i] == every})
        return found

    def compares(self, early: Call, late: Call) -> bool:
        """The gradient of the late call goes on to the early one, and is most of it: not where they lie side by side,
        nor where the late one is on a branch that others go around."""
        return self.leads(early, late.index) and all(
            late.index in trunk for trunk in self.trunks if early.index in trunk
        )
