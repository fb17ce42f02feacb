"""Random numbers in both styles.

`Generator` holds its state and passes it through traced code. `seed`, `uniform`, `normal` and their kin are MXNet's: they draw
NDArrays from one global stream per context.
"""
from ..later import missing as _missing
from .generator import Generator as Generator
from .stream import fold_in as fold_in

_GLOBAL = ("seed", "uniform", "normal", "randn", "gamma", "exponential", "poisson", "negative_binomial",
           "generalized_negative_binomial", "multinomial", "randint", "shuffle")


def __getattr__(name: str):
    if name in _GLOBAL:  # `nd` stands above this package, which it is made of: looked up when used
        from ..nd import random

        return getattr(random, name)
    raise _missing(f"module {__name__!r}", name)


def __dir__() -> list[str]:
    return [*_GLOBAL, "Generator", "fold_in"]
