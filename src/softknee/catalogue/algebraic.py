"""."""

FAMILY = "algebraic"
DEFINITIONS = ()
