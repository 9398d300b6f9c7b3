"""A function that moves: its curve and its slope while one parameter runs from one end to the other."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softknee.analysis.function import Function, function_of
from softknee.analysis.kinks import Breaks, breaks_of
from softknee.catalogue import Definition
from softknee.show.language import Reader, reader_of_pictures
from softknee.show.plot import SIZES, STYLES, Size, Style
from softknee.show.window import samples, y_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

__all__ = ["animate", "sweep"]

_INCHES = {"wide": (6.4, 3.4), "slide": (9.6, 4.8)}
_DOTS = 120


def sweep(low: float, high: float, frames: int, *, logarithmic: bool = False) -> list[float]:
    """Values from one end to the other, slow at both."""
    if frames < 2:
        raise ValueError(f"an animation has at least 2 frames, got {frames}")
    eased = (1 - np.cos(np.linspace(0, np.pi, frames))) / 2
    if not logarithmic:
        return [float(v) for v in low + (high - low) * eased]
    if low <= 0 or high <= 0:
        raise ValueError(f"a logarithmic sweep needs positive ends, got {low:g} and {high:g}")
    return [float(v) for v in np.exp(np.log(low) + (np.log(high) - np.log(low)) * eased)]


def animate(
    definition: Definition,
    parameter: str,
    values: Sequence[float],
    path: Path,
    *,
    x: tuple[float, float] = (-4.0, 4.0),
    size: str = "wide",
    style: str = "light",
    language: str = "en",
    rate: int = 25,
    tell: Callable[[int, int], None] = lambda done, total: None,
    **others: Any,
) -> None:
    """Writes f and f' while a parameter takes these values, there and back, as .gif or .mp4.

    language: "ru", "zh" or "ko" for the function's name as it is said there. Every value is checked before anything is drawn. MP4 is written by ffmpeg.
    """
    kind = path.suffix.lower()
    if kind not in (".gif", ".mp4"):
        raise ValueError(f"an animation is written as gif or mp4; got {path.name!r}")
    if kind == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError(
            "an .mp4 is written by ffmpeg, which is not on the PATH; install it, or write a .gif"
        )
    if path.parent != Path() and not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    if size not in _INCHES or style not in STYLES:
        raise ValueError(f"size must be one of {', '.join(_INCHES)} and style one of {', '.join(STYLES)}")
    functions = [function_of(definition, **{**others, parameter: v}) for v in values]
    reader = reader_of_pictures(language)
    frames = list(_frames(functions, parameter, values, x, size, STYLES[style], reader, tell))
    both = [*frames, *frames[-2:0:-1]]
    if kind == ".gif":
        _write_gif(both, path, rate)
    else:
        _write_mp4(both, path, rate)


def _frames(
    functions: list[Function], parameter: str, values: Sequence[float], x_range: tuple[float, float], size: str,
    look: Style, reader: Reader, tell: Callable[[int, int], None],
) -> Iterator[Image]:  # fmt: skip
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    form: Size = SIZES["wide"]
    scale = _INCHES[size][0] / _INCHES["wide"][0]
    curves = [_sampled(f, x_range) for f in functions]
    heights = [y_window([c[order] for _, c in curves], x_range) for order in (0, 1)]
    text = form.text * scale * 1.1
    with rc_context({"font.size": text, "axes.spines.top": False, "axes.spines.right": False,
                     "axes.edgecolor": look.ink, "text.color": look.ink, "axes.labelcolor": look.ink,
                     "xtick.color": look.ink, "ytick.color": look.ink, "axes.facecolor": look.paper,
                     "mathtext.fontset": "stixsans"}):  # fmt: skip
        made = Figure(figsize=_INCHES[size], dpi=_DOTS, facecolor=look.paper, layout="constrained")
        canvas = FigureCanvasAgg(made)
        axes: list[Axes] = list(made.subplots(1, 2))
        lines = []
        for order, panel in enumerate(axes):
            panel.set_xlim(*x_range)
            panel.set_ylim(*heights[order])
            panel.set_xlabel("$x$")
            panel.set_ylabel(("$f(x)$", r"$f\,^{\prime}(x)$")[order])
            panel.axhline(0, color=look.faint, linewidth=scale, zorder=0)
            panel.axvline(0, color=look.faint, linewidth=scale, zorder=0)
            for end in (0, -1):  # where it comes from and where it goes
                panel.plot(
                    curves[end][0],
                    curves[end][1][order],
                    color=look.ink,
                    alpha=0.25,
                    linewidth=scale,
                    zorder=1,
                )
            lines.append(panel.plot([], [], color=look.curves[order], linewidth=2.4 * scale, zorder=2)[0])
        # figures of one width, so that the title stands still
        name = reader.curve(functions[0].name)
        longest = max(len(f"{name}({parameter}={v:.3f})") for v in values)
        title = made.suptitle(" ", fontsize=text * 1.2, family=["monospace", *reader.fonts])
        for i, (value, (at, orders)) in enumerate(zip(values, curves, strict=True)):
            tell(i, len(curves))
            for line, heights_of in zip(lines, orders, strict=True):
                line.set_data(at, heights_of)
            title.set_text(f"{name}({parameter}={value:.3f})".ljust(longest))
            buffer = io.BytesIO()
            canvas.print_png(buffer)
            buffer.seek(0)
            yield Image.open(buffer).convert("RGB")


def _sampled(function: Function, x_range: tuple[float, float]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Places, and the values and slopes there, interrupted at jumps."""
    breaks: Breaks = breaks_of(function)
    x = samples(x_range, breaks.places, 601)
    f, slope = function.numpy(0, 1)(x)
    f = np.where(np.isin(x, [k.place for k in breaks.kinks if k.jump]), np.nan, f)
    return x, [f, np.where(np.isin(x, [k.place for k in breaks.kinks]), np.nan, slope)]


def _write_gif(frames: list[Image], path: Path, rate: int) -> None:
    from PIL import Image

    palette = frames[0].quantize(128, method=Image.Quantize.FASTOCTREE)
    first, *others = [frame.quantize(128, palette=palette, dither=0) for frame in frames]
    first.save(path, save_all=True, append_images=others, duration=round(1000 / rate), loop=0, optimize=True)


def _write_mp4(frames: list[Image], path: Path, rate: int) -> None:
    """Through a pipe to ffmpeg; even sizes, as the codec wants them."""
    import subprocess

    width, height = (side - side % 2 for side in frames[0].size)
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
               "-r", str(rate), "-i", "-", "-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart",
               str(path)]  # fmt: skip
    data = b"".join(frame.crop((0, 0, width, height)).tobytes() for frame in frames)
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"ffmpeg could not write {path}: {done.stderr.decode(errors='replace').strip()[-300:]}")
