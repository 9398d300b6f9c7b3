"""The explorer: one page that shows, compares and explains activations, and needs no server."""

from softknee.explorer.page import page, write

__all__ = ["page", "write"]
