"""."""

FAMILY = "stochastic"
DEFINITIONS = ()
