"""."""

FAMILY = "sigmoidal"
DEFINITIONS = ()
