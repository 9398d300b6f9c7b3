"""Whether `softknee.swap` understands the models of timm and transformers: no weights are downloaded.

    pip install timm transformers
    python benchmarks/swapping.py                       # all; results to benchmarks/results/swapping.json
    python benchmarks/swapping.py resnet18 BertModel

Every model is built from its configuration, small and with random weights, and run three times on the same
input: as it is, inside `with swap(model, {old: "mish"})`, and after it. While it runs, the operations that
reach PyTorch's kernels are counted (silu, gelu, relu and their kin): inside the block none of the old
activation's may be left, and afterwards the results must be the ones from before, to the last bit.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode

import softknee as sk

RESULTS = Path(__file__).parent / "results" / "swapping.json"

TIMM = {
    "resnet18": "relu", "efficientnet_b0": "silu", "mobilenetv3_small_100": "hardswish", "convnext_atto": "gelu",
    "vit_tiny_patch16_224": "gelu", "swin_tiny_patch4_window7_224": "gelu", "regnety_002": "relu",
    "darknet53": "leaky_relu", "mixer_s32_224": "gelu", "caformer_s18": "star_relu", "eca_nfnet_l0": "silu",
    "levit_128s": "hardswish", "repvgg_a0": "relu", "tresnet_m": "leaky_relu", "eva02_tiny_patch14_224": "silu",
    "vit_base_patch16_clip_quickgelu_224": "quick_gelu", "fastvit_t8": "gelu", "hgnetv2_b0": "relu",
}  # fmt: skip

_TEXT = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_GPT = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2}
_SEEING = {"image_size": 32, "patch_size": 8}
#: class -> (old activation, settings of its configuration)
TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "BertModel": ("gelu", _TEXT),
    "RobertaModel": ("gelu", _TEXT),
    "ElectraModel": ("gelu", _TEXT | {"embedding_size": 32}),
    "AlbertModel": ("gelu_tanh", _TEXT | {"embedding_size": 32}),
    "DistilBertModel": ("gelu", {"vocab_size": 50, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
    "GPT2Model": ("gelu_tanh", _GPT),
    "LlamaModel": ("silu", _TEXT | {"num_key_value_heads": 4}),
    "MistralModel": ("silu", _TEXT | {"num_key_value_heads": 2}),
    "MixtralModel": ("silu", _TEXT | {"num_key_value_heads": 2, "num_local_experts": 2}),
    "Qwen2Model": ("silu", _TEXT | {"num_key_value_heads": 2}),
    "GemmaModel": ("gelu_tanh", _TEXT | {"num_key_value_heads": 2, "head_dim": 8}),
    "PhiModel": ("gelu_tanh", _TEXT),
    "OPTModel": ("relu", _TEXT | {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "BloomModel": ("gelu_tanh", {"vocab_size": 50, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "T5EncoderModel": ("relu", {"vocab_size": 50, "d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 4, "d_kv": 8}),
    "MambaModel": ("silu", {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "NemotronModel": ("relu2", _TEXT | {"num_key_value_heads": 2}),
    "ViTModel": ("gelu", _TEXT | _SEEING),
    "CLIPVisionModel": ("quick_gelu", _TEXT | _SEEING),
    "SegformerModel": ("gelu", {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]}),
    "ResNetModel": ("relu", {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]}),
}  # fmt: skip

#: what an activation is, below torch's functions; the others are several operations there
OPERATIONS = {n: (n,) for n in ("relu", "silu", "gelu", "hardswish", "leaky_relu")}
OPERATIONS["gelu_tanh"] = ("gelu",)
OPERATIONS["relu2"] = OPERATIONS["star_relu"] = ("relu",)


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[func.__name__.partition(".")[0].rstrip("_")] += 1
        return func(*args, **(kwargs or {}))


def built(name: str) -> tuple[torch.nn.Module, str, Callable[[torch.nn.Module], torch.Tensor]]:
    """The model, its activation, and a call of it."""
    torch.manual_seed(0)
    if name in TIMM:
        import timm

        model = timm.create_model(name, pretrained=False, num_classes=10).eval()
        x = torch.randn(1, *model.default_cfg["input_size"])
        return model, TIMM[name], lambda m: m.forward_features(x)  # the head of some is 0 at first
    library = importlib.import_module("transformers")
    old, settings = TRANSFORMERS[name]
    kind = getattr(library, name)
    model = kind(kind.config_class(**settings)).eval()
    if kind.main_input_name == "pixel_values":
        image = torch.randn(1, 3, settings.get("image_size", 64), settings.get("image_size", 64))
        return model, old, lambda m: m(pixel_values=image).last_hidden_state
    words = torch.arange(3, 13)[None]
    return model, old, lambda m: m(input_ids=words).last_hidden_state


def tried(name: str) -> dict[str, Any]:
    model, old, call = built(name)
    operations = OPERATIONS.get(old, ())

    def run() -> tuple[torch.Tensor, int]:
        with torch.no_grad(), Counting() as counting:
            return call(model), sum(counting.seen[n] for n in operations)

    modules = list(model.modules())
    before, count = run()
    with sk.swap(model, {old: "mish"}, quiet=True) as swapped:
        inside, left = run()
        places, unseen = len(swapped), list(swapped.unseen)
    after, _ = run()
    back = torch.equal(before, after) and all(a is b for a, b in zip(modules, model.modules(), strict=True))
    return {
        "model": name, "activation": old, "calls": count if operations else None, "left": left if operations else None,
        "places": places, "changed": not torch.equal(before, inside), "undone": back, "unseen": unseen,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="swap in the models of timm and transformers")
    parser.add_argument("models", nargs="*", choices=[[], *TIMM, *TRANSFORMERS], metavar="MODEL")
    chosen = parser.parse_args().models or [*TIMM, *TRANSFORMERS]
    warnings.simplefilter("ignore")
    results = []
    for name in chosen:
        try:
            results.append(tried(name))
        except ImportError as error:
            raise SystemExit(f"{error}; pip install timm transformers") from None
    table = Table("model", "activation", "places", "calls", "left inside", "undone", "not seen")
    for r in results:
        cells = (r["places"], r["calls"], r["left"], r["undone"], "\n".join(r["unseen"]))
        table.add_row(r["model"], r["activation"], *("" if c is None else str(c) for c in cells))
    Console().print(table)
    wrong = [r["model"] for r in results if r["left"] or not r["changed"] or not r["undone"]]
    if len(chosen) == len(TIMM) + len(TRANSFORMERS):
        versions = {n: importlib.import_module(n).__version__ for n in ("torch", "timm", "transformers")}
        RESULTS.write_text(
            json.dumps({"versions": versions, "models": results}, indent=1) + "\n", encoding="utf-8"
        )
    if wrong:
        raise SystemExit(f"not right: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
