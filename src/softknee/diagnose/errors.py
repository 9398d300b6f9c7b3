"""What a user can mend."""

from __future__ import annotations

__all__ = ["CheckError"]


class CheckError(ValueError):
    """A model, data or a loss that cannot be examined; the message says what to change."""
