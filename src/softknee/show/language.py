"""Words in the reader's language, for the terminal and for pictures; what is not translated stays English."""

from __future__ import annotations

import contextlib
import re
import warnings
from dataclasses import dataclass

from softknee.catalogue.translations import translations

__all__ = ["ENGLISH", "Reader", "reader", "reader_of_pictures"]

# Fonts that have the letters, on Linux, Windows and macOS. For Cyrillic the usual ones do.
_FONTS = {
    "zh": ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
           "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB"),
    "ko": ("Noto Sans CJK KR", "Noto Sans CJK JP", "Source Han Sans KR", "NanumGothic", "NanumBarunGothic",
           "Malgun Gothic", "Apple SD Gothic Neo"),
}  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """Who reads: a language, and the fonts a picture needs besides the usual ones."""

    language: str = "en"
    fonts: tuple[str, ...] = ()

    def word(self, part: str, key: str, english: str | None = None) -> str:
        """An entry of the translations; without one the English (by default the key itself)."""
        table = {} if self.language == "en" else translations(self.language).get(part, {})
        return table.get(key) or (key if english is None else english)

    def label(self, text: str) -> str:
        return self.word("labels", text)

    def phrases(self, text: str) -> str:
        """A fact, phrase by phrase, the longest first; numbers and formulas stay as they are."""
        table = {} if self.language == "en" else translations(self.language).get("phrases", {})
        if not table:
            return text
        known = "|".join(map(re.escape, sorted(table, key=len, reverse=True)))
        return re.sub(rf"(?<![^\W\d_])(?:{known})(?![^\W\d_])", lambda found: table[found[0]], text)

    def curve(self, label: str) -> str:
        """`elu(alpha=2)`: the activation's name as one says it, what stands in the brackets as it is."""
        name, bracket, rest = label.partition("(")
        said = re.split(r",| \(|（|\(", self.word("names", name))[0]
        return f"{said}{bracket}{rest}"


ENGLISH = Reader()


def reader(language: str) -> Reader:
    """A language that there is no translation for is a ValueError."""
    if language != "en":
        translations(language)
    return Reader(language)


def reader_of_pictures(language: str) -> Reader:
    """As `reader`; where no font has the letters a warning says so, and the picture is English."""
    made, wanted = reader(language), _FONTS.get(language, ())
    if not wanted:
        return made
    if found := _installed(wanted) or _installed(wanted, look_again=True):
        return Reader(language, found)
    warnings.warn(
        f"no font with the letters of {language!r} is installed, so the picture is in English; install {wanted[0]}",
        stacklevel=3,
    )
    return ENGLISH


def _installed(wanted: tuple[str, ...], look_again: bool = False) -> tuple[str, ...]:
    """Those of these fonts that matplotlib knows. It keeps a list: look_again adds what was installed since."""
    from matplotlib import font_manager

    known = font_manager.fontManager
    if look_again:
        listed = {font.fname for font in known.ttflist}
        for path in font_manager.findSystemFonts():
            if path not in listed:
                with contextlib.suppress(OSError, RuntimeError):  # a font that cannot be read
                    known.addfont(path)
    names = {font.name for font in known.ttflist}
    return tuple(name for name in wanted if name in names)
