"""How the examples draw: quiet axes, colours that are told apart without colour vision, labels at the lines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

PICTURES = Path(__file__).parents[1] / "docs" / "assets" / "examples"
INK, FAINT = "#222222", "#dddddd"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#7A7A7A")
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.edgecolor": "#999999",
    "axes.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": FAINT, "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.7,
    "figure.dpi": 130, "legend.frameon": False, "legend.fontsize": 8.5,
}  # fmt: skip


def panels(count: int, width: float = 4.2, height: float = 3.3, **options: Any) -> tuple[Any, Any]:
    mpl.rcParams.update(STYLE)
    return plt.subplots(1, count, figsize=(width * count, height), layout="constrained", **options)


def save(figure: Any, name: str) -> Path:
    """Writes the picture where --out says, else among those of the documentation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=PICTURES / f"{name}.png", help="the file for the picture")
    path: Path = parser.parse_args().out
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    print(f"Written to {path}")
    return path
