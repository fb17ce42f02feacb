"""Neural networks: functions of arrays in `functional`."""
from . import functional as functional
