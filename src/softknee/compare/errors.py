"""What can go wrong before or between the runs of a comparison, each with the remedy in its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CompareError(ValueError):
    """Something the caller gave cannot be compared; the message says what and how to mend it."""


class SpecificationError(CompareError):
    """An activation specification that does not parse; the message shows where."""


class DataError(CompareError):
    """A data set that is unknown, or a file that is not what it claims."""


class StoreError(CompareError):
    """A folder or run store that cannot be used; nothing in it was changed."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that look most like `name`, best first; never empty when `known` is not."""
    known = list(known)
    return difflib.get_close_matches(name.lower(), known, count, cutoff=0.5) or sorted(known)[:count]
