"""Operators that draw random numbers, each call from a key of its own.

`_random_*` take numbers for parameters; `_sample_*` take arrays of them, and draw `shape` for each element.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import numpy as jnp
from ..errors import OperatorError
from ..ops import argsort
from ..random import distributions
from ..random.stream import Stream, stream
from . import infer
from .init import shape_filled
from .params import Bool, DType, Enum, Scalar, Shape, Str
from .registry import operator

FLOATS = ("None", "float16", "float32", "float64")
DTYPE = {"dtype": Enum("None", choices=FLOATS, optional=True)}
I64 = np.dtype(np.int64)


LOWEST = {"scale": 0, "alpha": 0, "beta": 0, "lam": 0, "k": 0, "p": 5e-324, "mu": 0}  # of parameters; p is above 0


def _dtype(dtype) -> np.dtype:
    return np.dtype("float32" if dtype in (None, "None") else dtype)


def _drawn(sampler: Callable, key, parameters: Sequence, shape: tuple[int, ...], dtype):
    """The samples in the dtype asked for; computed in float32 at least."""
    out = _dtype(dtype)
    wide = np.dtype(np.float32) if out.itemsize < 4 else out
    parts = [p if isinstance(p, (int, float)) else p.astype(wide) for p in parameters]
    value = sampler(stream(key, shape, wide), *parts)
    return value if value.dtype == out else value.astype(out)


def _dtype_rule(op, ins, outs, params):
    return list(ins), [_dtype(params["dtype"])] * len(outs)


def _drawn_shape(params, shape):
    return shape_filled(params, shape) if params["shape"] else params


def exponential(s: Stream, lam):
    return distributions.standard_exponential(s) / lam


def generalized_negative_binomial(s: Stream, mu, alpha):
    """Poisson counts whose mean is gamma distributed, with mean mu and variance mu + alpha mu^2; alpha 0 is Poisson."""
    s = s.wide()
    mu, alpha = jnp.asarray(mu, np.float64), jnp.asarray(alpha, np.float64)
    plain = alpha == 0
    alpha = jnp.where(plain, 1.0, alpha)
    mean = distributions.standard_gamma(s.child(0), 1 / alpha) * (mu * alpha)
    return distributions.poisson(s.child(1), jnp.where(plain, mu, mean))


def family(name: str, sampler: Callable, doc: str, parameters: Mapping[str, float], sample: Sequence[str]) -> None:
    """Registers `_random_name` (numbers), `_random_name_like` (the shape of an array) and `_sample_name` (arrays)."""
    numbers = {p: Scalar(default, low=LOWEST.get(p), high=1 if p == "p" else None) for p, default in parameters.items()}
    public = (f"random_{name}", *[name] * (name in ("uniform", "normal")))

    def shape_given(op, ins, outs, params):
        return [], [infer.merge(outs[0], params["shape"] or (1,), "output")]

    def given(*, key, shape, ctx, dtype, **values):
        return _drawn(sampler, key, [values[p] for p in parameters], shape or (1,), dtype)
    given.__doc__ = f"{doc} `shape` of them."
    operator(f"_random_{name}", params={**numbers, "shape": Shape(()), "ctx": Str(""), **DTYPE}, aliases=public, random=True,
             shape_rule=shape_given, type_rule=_dtype_rule, sized=_drawn_shape)(given)

    def like(data, *, key, **values):
        return _drawn(sampler, key, [values[p] for p in parameters], data.shape, data.dtype)
    like.__doc__ = f"{doc} As many as `data` has elements."
    operator(f"_random_{name}_like", params=numbers, random=True, shape_rule=infer.elementwise)(like)

    def arrays(*rows, key, shape, dtype):
        extra = (1,) * len(shape)
        rows = [r.reshape(r.shape + extra) for r in rows]
        return _drawn(sampler, key, rows, rows[0].shape[:rows[0].ndim - len(shape)] + shape, dtype)

    scope = {"arrays": arrays}  # the operator's inputs are named by the body's signature
    names = ", ".join(sample)
    text = f"def body({names}, *, key, shape, dtype):\n    return arrays({names}, key=key, shape=shape, dtype=dtype)"
    exec(compile(text, __file__, "exec"), scope)
    scope["body"].__doc__ = f"{doc} `shape` of them for each element of the parameters."
    operator(f"_sample_{name}", params={"shape": Shape(()), **DTYPE}, aliases=(f"sample_{name}",), random=True,
             type_rule=_dtype_rule)(scope["body"])


family("uniform", distributions.uniform_between, "Uniform numbers in [low, high).", {"low": 0.0, "high": 1.0}, ("low", "high"))
family("normal", distributions.normal_at, "Normal numbers of that mean and standard deviation.", {"loc": 0.0, "scale": 1.0},
       ("mu", "sigma"))
family("gamma", distributions.gamma, "Gamma numbers of shape alpha and scale beta.", {"alpha": 1.0, "beta": 1.0},
       ("alpha", "beta"))
family("exponential", exponential, "Exponential numbers of rate lam.", {"lam": 1.0}, ("lam",))
family("poisson", distributions.poisson, "Poisson counts of mean lam.", {"lam": 1.0}, ("lam",))
family("negative_binomial", distributions.negative_binomial, "Failures before the k-th success of probability p.",
       {"k": 1, "p": 1.0}, ("k", "p"))
family("generalized_negative_binomial", generalized_negative_binomial,
       "Poisson counts of gamma distributed mean: mean mu, dispersion alpha.", {"mu": 1.0, "alpha": 1.0}, ("mu", "alpha"))


@operator("_random_randint", params={"low": Scalar(), "high": Scalar(), "shape": Shape(()), "ctx": Str(""),
                                     "dtype": Enum("None", choices=("None", "int32", "int64"), optional=True)},
          aliases=("random_randint",), random=True, shape_rule=lambda op, ins, outs, p: ([], [p["shape"] or (1,)]),
          type_rule=lambda op, ins, outs, p: ([], [_integer(p["dtype"])]))
def randint(*, key, low, high, shape, ctx, dtype):
    """Whole numbers from low up to but not including high, each as likely."""
    low, high = (jnp.asarray(x).astype(I64) for x in (low, high))
    return distributions.integers(stream(key, shape or (1,)), low, (high - low).astype(np.uint64)).astype(_integer(dtype))


def _integer(dtype) -> np.dtype:
    return np.dtype("int32" if dtype in (None, "None") else dtype)


@operator("_sample_multinomial", params={"shape": Shape(()), "get_prob": Bool(False), "dtype": DType("int32")},
          aliases=("sample_multinomial",), random=True, output_count=lambda p: 1 + p["get_prob"],
          type_rule=lambda op, ins, outs, p: (list(ins), [np.dtype(p["dtype"]), ins[0]][:len(outs)]))
def multinomial(data, *, key, shape, get_prob, dtype):
    """Positions along the last axis of `data`, which holds their probabilities; with get_prob the logarithms of these too."""
    batch = data.shape[:-1]
    size = shape or (() if batch else (1,))
    total = jnp.cumsum(data, axis=-1)
    inner = (1,) * len(size)
    u = distributions.random(stream(key, batch + size, np.dtype(np.float32))) * total[..., -1].reshape(batch + inner)
    below = total[..., :-1].reshape((*batch, *inner, data.shape[-1] - 1)) <= u[..., None]
    index = below.astype(I64).sum(-1)
    if not get_prob:
        return index.astype(dtype)
    flat = index.reshape((*batch, -1))
    chosen = jnp.take_along_axis(jnp.broadcast_to(data, data.shape), flat, axis=-1).reshape(batch + size)
    return index.astype(dtype), jnp.log(chosen)


@operator("_shuffle", aliases=("shuffle",), random=True, shape_rule=infer.elementwise)
def shuffle(data, *, key):
    """The slices along the first axis in random order."""
    if not data.ndim:
        raise OperatorError("shuffle: a 0-d array has no axis to shuffle", "give it an axis: `x.reshape((1,))`")
    return jnp.take(data, argsort(stream(key, data.shape[:1]).word(), axis=0), axis=0)

