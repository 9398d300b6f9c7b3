"""Curves drawn with braille characters: 2 by 4 dots a character."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.text import Text

__all__ = ["Canvas"]

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


class Canvas:
    """A rectangle of the plane, `width` by `height` characters."""

    def __init__(self, width: int, height: int, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.width, self.height, self.x, self.y = width, height, x, y
        self.dots = np.zeros((height, width), dtype=int)
        self.styles = np.full((height, width), "", dtype=object)

    def curve(self, x: np.ndarray, y: np.ndarray, style: str) -> None:
        """A polyline; NaN interrupts it."""
        columns = (x - self.x[0]) / (self.x[1] - self.x[0]) * (2 * self.width - 1)
        rows = (self.y[1] - y) / (self.y[1] - self.y[0]) * (4 * self.height - 1)
        for i in range(len(x) - 1):
            ends = columns[i], rows[i], columns[i + 1], rows[i + 1]
            if (
                not np.isfinite(ends).all()
                or max(rows[i], rows[i + 1]) < -1
                or min(rows[i], rows[i + 1]) > 4 * self.height
            ):
                continue
            steps = int(min(200, 2 * max(abs(ends[2] - ends[0]), abs(ends[3] - ends[1]), 1)))
            for share in np.linspace(0, 1, steps + 1):
                self._dot(ends[0] + share * (ends[2] - ends[0]), ends[1] + share * (ends[3] - ends[1]), style)

    def _dot(self, column: float, row: float, style: str) -> None:
        c, r = round(column), round(row)
        if 0 <= c < 2 * self.width and 0 <= r < 4 * self.height:
            self.dots[r // 4, c // 2] |= _DOTS[r % 4, c % 2]
            self.styles[r // 4, c // 2] = style

    def lines(self) -> list[Text]:
        """The picture, axes through the origin where it is in sight, tick labels at the edges."""
        zero_column = self._cell(0.0, self.x, self.width)
        zero_row = self._cell(0.0, self.y[::-1], self.height)
        labels = {
            self._cell(t, self.y[::-1], self.height): _label(t) for t in ticks(*self.y, self.height // 4)
        }
        margin = max(map(len, labels.values()))
        picture = []
        for row in range(self.height):
            line = Text(labels.get(row, "").rjust(margin) + " ", style="dim")
            for column in range(self.width):
                line.append(*self._character(row, column, zero_row, zero_column))
            picture.append(line)
        picture.append(Text(" " * (margin + 1), style="dim").append(self._ticks()))
        return picture

    def _character(
        self, row: int, column: int, zero_row: int | None, zero_column: int | None
    ) -> tuple[str, str]:
        if self.dots[row, column]:
            return chr(0x2800 + self.dots[row, column]), self.styles[row, column]
        crossing = (row == zero_row) + 2 * (column == zero_column)
        return " ─│┼"[crossing], "bright_black"

    def _ticks(self) -> str:
        line = [" "] * self.width
        for value in ticks(*self.x, 5):
            at, text = self._cell(value, self.x, self.width) or 0, _label(value)
            start = min(max(0, at - len(text) // 2), self.width - len(text))
            line[start : start + len(text)] = text
        return "".join(line)

    @staticmethod
    def _cell(value: float, ends: Sequence[float], count: int) -> int | None:
        share = (value - ends[0]) / (ends[1] - ends[0])
        return round(share * (count - 1)) if 0 <= share <= 1 else None


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values from low to high, 0 among them where it is, at most so many."""
    for step in (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 5.0, 10.0, 20.0):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [i * step for i in range(first, last + 1)]
    return [0.0]


def _label(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")
