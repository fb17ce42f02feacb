"""MXNet's samplers as symbols: numbers for parameters give `shape` samples, symbols `shape` samples for each element.

>>> import jitnet as mx
>>> noise = mx.sym.random.normal(0, 1, shape=(2, 3))
>>> noise.eval()[0].shape
(2, 3)
"""
from __future__ import annotations

import numpy as np

from ..errors import OperatorError
from ..operators import find
from .make import function
from .symbol import Symbol


def _options(shape, dtype, kwargs: dict) -> dict:
    kwargs = {key: value for key, value in kwargs.items() if key not in ("ctx", "out")}
    if shape is not None:
        kwargs["shape"] = shape
    if dtype is not None:
        kwargs["dtype"] = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    return kwargs


def _sampler(name: str, parameters: dict[str, float], doc: str):
    """The public function of a family: by numbers, or by symbols through `_sample_*`."""
    by_numbers, by_symbols = (function(find(f"_{kind}_{name}"), f"_{kind}_{name}") for kind in ("random", "sample"))

    def draw(given, shape, dtype, kwargs, like):
        symbols = [isinstance(x, Symbol) for x in given]
        if any(symbols) and not all(symbols):
            raise TypeError(f"{name}: {' and '.join(parameters)} must be all numbers or all Symbols")
        options = _options(shape, dtype, kwargs)
        return by_symbols(*given, **options) if all(symbols) else by_numbers(**dict(zip(like, given)), **options)

    # the public parameter is a scale where the operator's is a rate
    inverse = name == "exponential"
    body = ", ".join(f"1.0 / {n}" if inverse else n for n in parameters)
    defaults = ", ".join(f"{n}={v}" for n, v in parameters.items())
    scope = {"draw": draw, "like": ("lam",) if inverse else tuple(parameters)}
    text = (f"def {name}({defaults}, shape=None, dtype=None, **kwargs):\n"
            f"    return draw(({body},), shape, dtype, kwargs, like)")
    exec(compile(text, __file__, "exec"), scope)
    made = scope[name]
    made.__doc__, made.__module__ = f"{doc} {_SHAPE}", __name__
    return made


_SHAPE = "With numbers: `shape` samples (default (1,)); with symbols: `shape` samples for each element. dtype: float32."
uniform = _sampler("uniform", {"low": 0, "high": 1}, "Uniform numbers in [low, high).")
normal = _sampler("normal", {"loc": 0, "scale": 1}, "Normal numbers of that mean and standard deviation.")
gamma = _sampler("gamma", {"alpha": 1, "beta": 1}, "Gamma numbers of shape alpha and scale beta.")
exponential = _sampler("exponential", {"scale": 1}, "Exponential numbers of mean `scale`.")
poisson = _sampler("poisson", {"lam": 1}, "Poisson counts of mean lam, as floats.")
negative_binomial = _sampler("negative_binomial", {"k": 1, "p": 1},
                             "Failures before the k-th success of probability p, as floats.")
generalized_negative_binomial = _sampler("generalized_negative_binomial", {"mu": 1, "alpha": 1},
                                         "Poisson counts of gamma distributed mean: mean mu, dispersion alpha.")


def randn(*shape: int, loc=0, scale=1, dtype=None, **kwargs) -> Symbol:
    """Normal numbers in the shape of the arguments."""
    return normal(loc, scale, shape or None, dtype, **kwargs)


def randint(low: int, high: int, shape=None, dtype=None, **kwargs) -> Symbol:
    """Whole numbers from low up to but not including high; dtype int32 (default) or int64."""
    if not low < high:
        raise OperatorError(f"randint: low {low} is not below high {high}", "give a range that holds a number")
    return _RANDINT(low=low, high=high, **_options(shape, dtype, kwargs))


def multinomial(data: Symbol, shape=None, get_prob: bool = True, dtype="int32", **kwargs) -> Symbol:
    """Positions along the last axis of `data`, which holds their probabilities: `shape` of them for each row.

    get_prob: their log probabilities are a second output (they are by default, unlike in `nd`, as in MXNet).
    """
    return _MULTINOMIAL(data, get_prob=get_prob, **_options(shape, dtype, kwargs))


def shuffle(data: Symbol, **kwargs) -> Symbol:
    """The slices along the first axis in random order."""
    return _SHUFFLE(data, **kwargs)


_RANDINT, _MULTINOMIAL, _SHUFFLE = (function(find(n), n) for n in ("_random_randint", "_sample_multinomial", "_shuffle"))
for _family in ("uniform", "normal", "gamma", "exponential", "poisson", "negative_binomial", "generalized_negative_binomial"):
    globals()[f"{_family}_like"] = function(find(f"_random_{_family}_like"), f"{_family}_like")
