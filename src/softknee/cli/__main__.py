"""`python -m softknee.cli`."""

from softknee.cli import app

app()
