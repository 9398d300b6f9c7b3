"""`import softknee.functional as F`: the same module as `softknee.nn.functional`."""

import sys

from softknee.nn import functional

sys.modules[__name__] = functional
