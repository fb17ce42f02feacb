"""MXNet's random samplers on NDArrays: numbers for parameters give `shape` samples, NDArrays `shape` samples per element.

>>> import jitnet as mx
>>> mx.random.seed(7)
>>> x = mx.nd.random.normal(0, 1, shape=(2, 3))
>>> mx.random.seed(7)
>>> bool((mx.nd.random.normal(0, 1, shape=(2, 3)) == x).asnumpy().all())
True
"""
from __future__ import annotations

import threading

import numpy as np

from ..context import Context, known_context
from ..errors import OperatorError
from ..operators import find
from ..random.generator import key_of
from ..random.stream import GOLDEN, MASK
from ..runtime.forks import renewed
from .functions import function
from .invoke import hooks
from .ndarray import NDArray

_lock = renewed(threading.Lock())
_seed = 0
_streams: dict[Context, list[int]] = {}  # context -> [key of the seed, draws so far]


def seed(seed_state: int, ctx: Context | str = "all") -> None:
    """Starts the global stream again: of every context, or of one. Without it, a process starts at seed 0.

    The same seed gives the same numbers on every run and with any number of threads.
    """
    global _seed
    if not isinstance(seed_state, (int, np.integer)):
        raise ValueError(f"seed_state must be an integer, not {seed_state!r}")
    with _lock:
        if isinstance(ctx, str) and ctx == "all":
            _seed = int(seed_state)
            _streams.clear()
        else:
            _streams[known_context(ctx)] = [key_of(int(seed_state)), 0]


def draw_key(ctx: Context) -> np.ndarray:
    """The next key of a context's stream: what one call of a random operator draws from."""
    with _lock:
        found = _streams.get(ctx)
        if found is None:
            number = ("cpu", "gpu", "cpu_pinned", "cpu_shared").index(ctx.device_type) << 64 | ctx.device_id << 68
            found = _streams[ctx] = [key_of(abs(_seed) ^ number if _seed >= 0 else -(abs(_seed) ^ number)), 0]
        found[1] += 1
        return np.array([(found[0] + found[1] * GOLDEN) & MASK, 0], np.uint64)


hooks.draw_key = draw_key


def _sampler(name: str, parameters: dict[str, float], sample: str, doc: str):
    """The public function of a family: by numbers, or by NDArrays through `_sample_*`."""
    by_numbers, by_arrays = function(find(f"_random_{name}"), name), function(find(f"_sample_{name}"), name)
    names = tuple(parameters)
    defaults = ", ".join(f"{n}={v}" for n, v in parameters.items())

    def draw(given, shape, dtype, ctx, out, like):
        options = {"out": out}
        if shape is not None:
            options["shape"] = shape
        if dtype is not None:
            options["dtype"] = _name(dtype)
        arrays = [isinstance(x, NDArray) for x in given]
        if all(arrays):
            return by_arrays(*given, **options)
        if any(arrays):
            raise ValueError(f"{name}: {' and '.join(names)} must be all numbers or all NDArrays")
        if ctx is not None:
            options["ctx"] = str(known_context(ctx))
        return by_numbers(**dict(zip(like, given)), **options)

    # the public parameter is a scale where the operator's is a rate
    inverse = name == "exponential"
    body = ", ".join(f"1.0 / {n}" if inverse else n for n in names)
    scope = {"draw": draw, "like": ("lam",) if inverse else names}
    text = (f"def {name}({defaults}, shape=None, dtype=None, ctx=None, out=None):\n"
            f"    return draw(({body},), shape, dtype, ctx, out, like)")
    exec(compile(text, __file__, "exec"), scope)
    made = scope[name]
    made.__doc__, made.__module__ = doc + " " + sample, __name__
    return made


def _name(dtype) -> str:
    return dtype if isinstance(dtype, str) else np.dtype(dtype).name


_SHAPE = ("With numbers: `shape` samples (default (1,), or as many as `out` takes); with NDArrays: `shape` samples for each "
          "element. dtype: float32.")
uniform = _sampler("uniform", {"low": 0.0, "high": 1.0}, _SHAPE, "Uniform numbers in [low, high).")
normal = _sampler("normal", {"loc": 0.0, "scale": 1.0}, _SHAPE, "Normal numbers of that mean and standard deviation.")
gamma = _sampler("gamma", {"alpha": 1.0, "beta": 1.0}, _SHAPE, "Gamma numbers of shape alpha and scale beta.")
exponential = _sampler("exponential", {"scale": 1.0}, _SHAPE, "Exponential numbers of mean `scale`.")
poisson = _sampler("poisson", {"lam": 1.0}, _SHAPE, "Poisson counts of mean lam, as floats.")
negative_binomial = _sampler("negative_binomial", {"k": 1, "p": 1.0}, _SHAPE,
                             "Failures before the k-th success of probability p, as floats.")
generalized_negative_binomial = _sampler("generalized_negative_binomial", {"mu": 1.0, "alpha": 1.0}, _SHAPE,
                                         "Poisson counts of gamma distributed mean: mean mu, dispersion alpha.")


def randn(*shape: int, loc: float = 0.0, scale: float = 1.0, dtype=None, ctx: Context | None = None,
          out: NDArray | None = None) -> NDArray:
    """Normal numbers in the shape of the arguments."""
    return normal(loc, scale, shape or None, dtype, ctx, out)


def randint(low: int, high: int, shape=None, dtype=None, ctx: Context | None = None, out: NDArray | None = None) -> NDArray:
    """Whole numbers from low up to but not including high; dtype int32 (default) or int64."""
    if not low < high:
        raise OperatorError(f"randint: low {low} is not below high {high}", "give a range that holds a number")
    options = {"low": int(low), "high": int(high), "out": out}
    options |= {"shape": shape} if shape is not None else {}
    options |= {"dtype": _name(dtype)} if dtype is not None else {}
    options |= {"ctx": str(known_context(ctx))} if ctx is not None else {}
    return _RANDINT(**options)


def multinomial(data: NDArray, shape=None, get_prob: bool = False, out=None, dtype="int32"):
    """Positions along the last axis of `data`, which holds their probabilities: `shape` of them for each row."""
    return _MULTINOMIAL(data, get_prob=get_prob, dtype=dtype, out=out, **({} if shape is None else {"shape": shape}))


def shuffle(data: NDArray, out: NDArray | None = None) -> NDArray:
    """The slices along the first axis in random order."""
    return _SHUFFLE(data, out=out)


_RANDINT, _MULTINOMIAL = function(find("_random_randint"), "randint"), function(find("_sample_multinomial"), "multinomial")
_SHUFFLE = function(find("_shuffle"), "shuffle")
for _family in ("uniform", "normal", "gamma", "exponential", "poisson", "negative_binomial", "generalized_negative_binomial"):
    globals()[f"{_family}_like"] = function(find(f"_random_{_family}_like"), f"{_family}_like")
