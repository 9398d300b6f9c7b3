from softknee.nn.functional import *
