"""."""

FAMILY = "oscillating"
DEFINITIONS = ()
