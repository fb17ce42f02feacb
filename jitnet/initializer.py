"""Initial values of parameters, by the patterns of their names. Public as `jitnet.init` too.

>>> import jitnet as mx
>>> bias = mx.nd.ones((3,))
>>> mx.init.Xavier()(mx.init.InitDesc("fc1_bias"), bias)
>>> bias.sum().asscalar()
np.float32(0.0)
"""
from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable

import numpy as np

from . import registry
from .nd import random
from .nd.ndarray import NDArray
from .nd.saving import load

SUFFIXES = (("weight", "_init_weight"), ("bias", "_init_bias"), ("gamma", "_init_gamma"), ("beta", "_init_beta"),
            ("min", "_init_zero"), ("max", "_init_one"))
STATES = (("moving_mean", "_init_zero"), ("moving_var", "_init_one"), ("moving_inv_var", "_init_zero"),
          ("moving_avg", "_init_zero"))  # of names without the attribute `__init__`, which Symbols give them


class InitDesc(str):
    """The name of a parameter, with its attributes and the initializer of the whole network."""

    def __new__(cls, name: str, attrs: dict | None = None, global_init: Initializer | None = None):
        desc = super().__new__(cls, name)
        desc.attrs, desc.global_init = attrs or {}, global_init
        return desc


class Initializer:
    """The base of initializers: called with an InitDesc (or a name) and an NDArray, it fills the array.

    An attribute `__init__` of the parameter decides; else names on _weight get this initializer's values, _bias and _beta 0,
    _gamma 1. Another name is a ValueError.
    """

    def __init__(self, **kwargs):
        self._kwargs, self._verbose, self._print_func = kwargs, False, None

    def set_verbosity(self, verbose: bool = False, print_func: Callable | None = None) -> Initializer:
        """Logs what was initialized, by default with the norm per element."""
        self._verbose = verbose
        self._print_func = print_func or (lambda x: str(float(np.linalg.norm(x.asnumpy())) / np.sqrt(x.size)))
        return self

    def dumps(self) -> str:
        """Name and arguments as JSON, for `create` and the attribute `__init__`."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, desc: str, arr: NDArray) -> None:
        if not isinstance(desc, str):
            raise TypeError(f"the name must be an InitDesc or str, got {type(desc).__name__}")
        if not isinstance(desc, InitDesc):
            desc = InitDesc(desc)
            suffixes = (*STATES, *SUFFIXES)
        else:
            suffixes = SUFFIXES
        if desc.global_init is None:
            desc.global_init = self
        given = desc.attrs.get("__init__", "")
        if given:
            create(given)._init_weight(desc, arr)
        else:
            for suffix, method in suffixes:
                if desc.endswith(suffix):
                    getattr(self, method)(desc, arr)
                    break
            else:
                self._init_default(desc, arr)
        if self._verbose:
            logging.info("Initialized %s as %s: %s", desc, given or type(self).__name__, self._print_func(arr))

    def _init_zero(self, _, arr: NDArray) -> None:
        arr[:] = 0.0

    def _init_one(self, _, arr: NDArray) -> None:
        arr[:] = 1.0

    _init_bias = _init_beta = _init_zero
    _init_gamma = _init_one

    def _init_weight(self, name: str, arr: NDArray) -> None:
        raise TypeError(f"{type(self).__name__} must define _init_weight(name, arr)")

    def _init_default(self, name: str, arr: NDArray) -> None:
        raise ValueError(f"Unknown initialization pattern for {name}. Default initialization is now limited to \"weight\", "
                         "\"bias\", \"gamma\" (1.0), and \"beta\" (0.0). Please use mx.sym.Variable(init=mx.init.*) to set "
                         "initialization pattern")

    def __eq__(self, other) -> bool:
        if not isinstance(other, Initializer):
            return NotImplemented
        return type(self) is type(other) and self._kwargs == other._kwargs

    __hash__ = object.__hash__


register = registry.get_register_func(Initializer, "initializer")
alias = registry.get_alias_func(Initializer, "initializer")
create = registry.get_create_func(Initializer, "initializer")


class Load:
    """Values from a dict or a file of parameters (names with or without "arg:" and "aux:"), else from `default_init`."""

    def __init__(self, param, default_init=None, verbose: bool = False):
        param = load(param) if isinstance(param, str) else param
        if not isinstance(param, dict):
            raise TypeError(f"param must be a dict of NDArrays by name or a file of one, got {type(param).__name__}")
        self.param = {re.sub("^(arg|aux):", "", name): array for name, array in param.items()}
        self.default_init, self.verbose = default_init, verbose

    def __call__(self, name: str, arr: NDArray) -> None:
        if name in self.param:
            value = self.param[name]
            if arr.shape != value.shape:
                raise ValueError(f"Parameter {name} cannot be initialized from loading. Shape mismatch, target {arr.shape} vs "
                                 f"loaded {value.shape}")
            arr[:] = value
        elif self.default_init is None:
            raise ValueError(f"Cannot Initialize {name}. Not found in loaded param and no default Initializer is provided.")
        else:
            self.default_init(name, arr)
        if self.verbose:
            logging.info("Initialized %s by %s", name, "loading" if name in self.param else "default")


class Mixed:
    """The initializer of the first regular expression that matches the start of the name."""

    def __init__(self, patterns, initializers):
        if len(patterns) != len(initializers):
            raise ValueError(f"{len(patterns)} patterns for {len(initializers)} initializers")
        self.map = [(re.compile(pattern), init) for pattern, init in zip(patterns, initializers)]

    def __call__(self, name: str, arr: NDArray) -> None:
        for pattern, init in self.map:
            if pattern.match(name):
                init(name, arr)
                return
        raise ValueError(f"Parameter name {name} did not match any pattern. Consider adding a \".*\" pattern at the end with "
                         "default Initializer.")


@register
@alias("zeros")
class Zero(Initializer):
    """Zeros."""

    def __init__(self):
        super().__init__()

    _init_weight = Initializer._init_zero


@register
@alias("ones")
class One(Initializer):
    """Ones."""

    def __init__(self):
        super().__init__()

    _init_weight = Initializer._init_one


@register
class Constant(Initializer):
    """One number, or an array of the parameter's shape."""

    def __init__(self, value):
        super().__init__(value=value if np.isscalar(value) else np.asarray(value).tolist())
        self.value = value

    def _init_weight(self, _, arr: NDArray) -> None:
        arr[:] = np.asarray(self.value, arr.dtype) if isinstance(self.value, list) else self.value


def _draw(sampler: Callable, first: float, second: float, arr: NDArray) -> None:
    """Fills an array with samples, which are float32 before they are anything else."""
    if arr.dtype == np.float32:
        sampler(first, second, arr.shape, out=arr)
    else:
        arr[:] = sampler(first, second, arr.shape).astype(arr.dtype)


@register
class Uniform(Initializer):
    """Uniform numbers in [-scale, scale)."""

    def __init__(self, scale=0.07):
        super().__init__(scale=scale)
        self.scale = scale

    def _init_weight(self, _, arr: NDArray) -> None:
        _draw(random.uniform, -self.scale, self.scale, arr)


@register
class Normal(Initializer):
    """Normal numbers of mean 0 and standard deviation sigma."""

    def __init__(self, sigma=0.01):
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def _init_weight(self, _, arr: NDArray) -> None:
        _draw(random.normal, 0, self.sigma, arr)


@register
class Orthogonal(Initializer):
    """Orthonormal rows (or columns, where these are fewer) times `scale`. Saxe, McClelland and Ganguli 2013."""

    def __init__(self, scale=1.414, rand_type="uniform"):
        super().__init__(scale=scale, rand_type=rand_type)
        self.scale, self.rand_type = scale, rand_type

    def _init_weight(self, _, arr: NDArray) -> None:
        shape = (arr.shape[0], int(np.prod(arr.shape[1:])))
        if self.rand_type not in ("uniform", "normal"):
            raise ValueError(f"Unknown random type {self.rand_type!r}: it is uniform or normal")
        drawn = random.uniform(-1.0, 1.0, shape) if self.rand_type == "uniform" else random.normal(0.0, 1.0, shape)
        u, _, v = np.linalg.svd(drawn.asnumpy(), full_matrices=False)
        arr[:] = self.scale * (u if u.shape == shape else v).reshape(arr.shape)


@register
class Xavier(Initializer):
    """Numbers of variance magnitude / 3 / fan (uniform) or magnitude / fan (gaussian), where fan is the number of inputs
    ("in"), of outputs ("out") or their mean ("avg"). Glorot and Bengio 2010."""

    def __init__(self, rnd_type="uniform", factor_type="avg", magnitude=3):
        super().__init__(rnd_type=rnd_type, factor_type=factor_type, magnitude=magnitude)
        self.rnd_type, self.factor_type, self.magnitude = rnd_type, factor_type, float(magnitude)

    def _init_weight(self, name: str, arr: NDArray) -> None:
        shape = arr.shape
        if len(shape) < 2:
            raise ValueError(f"Xavier initializer cannot be applied to vector {name}. It requires at least 2D.")
        window = float(np.prod(shape[2:]))
        fans = {"in": shape[1] * window, "out": shape[0] * window, "avg": (shape[0] + shape[1]) * window / 2}
        if self.factor_type not in fans:
            raise ValueError(f"Incorrect factor type {self.factor_type!r}: it is in, out or avg")
        scale = float(np.sqrt(self.magnitude / fans[self.factor_type]))
        if self.rnd_type == "uniform":
            _draw(random.uniform, -scale, scale, arr)
        elif self.rnd_type == "gaussian":
            _draw(random.normal, 0, scale, arr)
        else:
            raise ValueError(f"Unknown random type {self.rnd_type!r}: it is uniform or gaussian")


@register
class MSRAPrelu(Xavier):
    """Normal numbers of variance 2 / (1 + slope^2) / fan, for leaky relu of that slope. He et al. 2015."""

    def __init__(self, factor_type="avg", slope=0.25):
        super().__init__("gaussian", factor_type, 2.0 / (1 + slope ** 2))
        self._kwargs = {"factor_type": factor_type, "slope": slope}


@register
class Bilinear(Initializer):
    """Weights (.., .., H, W) of a convolution that upsamples by bilinear interpolation."""

    def __init__(self):
        super().__init__()

    def _init_weight(self, _, arr: NDArray) -> None:
        height, width = arr.shape[2:]
        f = np.ceil(width / 2.0)
        c = (2 * f - 1 - f % 2) / (2.0 * f)
        line = lambda n: 1 - np.abs(np.arange(n) / f - c)
        arr[:] = np.broadcast_to(line(height)[:, None] * line(width), arr.shape).astype(np.float32)


@register
class LSTMBias(Initializer):
    """Zeros, and `forget_bias` for the forget gate, the second quarter."""

    def __init__(self, forget_bias=1.0):
        super().__init__(forget_bias=forget_bias)
        self.forget_bias = forget_bias

    def _init_weight(self, _, arr: NDArray) -> None:
        quarter = arr.shape[0] // 4
        arr[:] = 0.0
        arr[quarter:2 * quarter] = self.forget_bias
