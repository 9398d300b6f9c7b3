"""."""

FAMILY = "gated"
DEFINITIONS = ()
