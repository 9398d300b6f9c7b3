"""`softknee.watch` inside other people's training loops.

    from softknee.diagnose.callbacks import LightningWatch, TrainerWatch

A framework is imported when its callback is, and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import nn

from softknee.diagnose.errors import CheckError
from softknee.diagnose.records import Report
from softknee.diagnose.watch import EVERY, WINDOW, Watch

__all__ = ["LightningWatch", "TrainerWatch"]  # noqa: F822


class _Watching:
    """What every callback does: watch from the start of the training to its end, then report.

    module: the name of the submodule to watch; None: the model. every, window: as in `softknee.watch`.
    done: called with the report. The report is kept in `report`, the timeline in `report.timeline`.
    """

    def __init__(
        self,
        module: str | None = None,
        *,
        every: int = EVERY,
        window: int = WINDOW,
        done: Callable[[Report], Any] | None = print,
    ) -> None:
        super().__init__()
        self.module, self.every, self.window, self.done = module, every, window, done
        self.report: Report | None = None
        self._watch: Watch | None = None

    def _start(self, model: nn.Module) -> None:
        self._stop()
        if self.module is not None:
            try:
                model = model.get_submodule(self.module)
            except AttributeError:
                children = ", ".join(n for n, _ in model.named_children())
                raise CheckError(f"the model has no module {self.module!r}; it has: {children}") from None
        self._watch = Watch(model, self.every, self.window, True)
        self._watch.__enter__()

    def _stop(self) -> None:
        if self._watch is not None:
            self._watch.__exit__()

    def _finish(self) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        watch.__exit__()
        self.report = watch.report()
        if self.done is not None:
            self.done(self.report)


class _Lightning(_Watching):
    __doc__ = f"""A callback of Lightning's Trainer: `Trainer(callbacks=[LightningWatch("net")])`.

    A training step often calls a submodule and not the LightningModule itself: name it. Without a name
    it is the LightningModule, or its only child where it has no `forward` of its own.

    {_Watching.__doc__}"""

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        model = pl_module
        if self.module is None and type(pl_module).forward is _bases("lightning")[1].forward:
            children = [m for m in pl_module.children() if next(m.parameters(), None) is not None]
            if len(children) != 1:
                names = ", ".join(n for n, _ in pl_module.named_children())
                raise CheckError(
                    f"{type(pl_module).__name__} has no forward, so its training step calls its parts; "
                    f"name the one to watch, LightningWatch(module=...): {names}"
                )
            model = children[0]
        self._start(model)

    def on_train_end(self, trainer: Any, pl_module: nn.Module) -> None:
        self._finish()

    def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:
        self._stop()


class _Trainer(_Watching):
    __doc__ = f"""A callback of transformers' Trainer: `Trainer(..., callbacks=[TrainerWatch()])`.

    {_Watching.__doc__}"""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **more: Any) -> None:
        self._start(model)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._finish()


def _bases(framework: str) -> tuple[type, type]:
    """The framework's own callback class, and its model class"""
    names = {
        "lightning": (("lightning.pytorch", "pytorch_lightning"), "Callback", "LightningModule"),
        "transformers": (("transformers",), "TrainerCallback", "Trainer"),
    }
    packages, callback, model = names[framework]
    for name in packages:
        try:
            package = import_module(name)
        except ModuleNotFoundError:
            continue
        return getattr(package, callback), getattr(package, model)
    raise ImportError(f"this callback needs {framework}: pip install {framework}")


def __getattr__(name: str) -> Any:
    made = {"LightningWatch": (_Lightning, "lightning"), "TrainerWatch": (_Trainer, "transformers")}.get(name)
    if made is None:
        raise AttributeError(f"softknee.diagnose.callbacks has {', '.join(__all__)}, not {name!r}")
    mixin, framework = made
    found = type(name, (mixin, _bases(framework)[0]), {"__doc__": mixin.__doc__, "__module__": __name__})
    globals()[name] = found
    return found
