"""Generator: NumPy's way to draw random numbers, with a state that compiled code may carry, split and batch."""
from __future__ import annotations

import math
import operator
import secrets

import numpy as np

from .. import numpy as jnp
from .. import tree
from ..errors import TraceTypeError, TraceValueError
from ..jit import jit
from ..ops import iota, threefry
from ..sizes import constant, index, largest
from ..text import a_type
from ..tracer import Trace, Tracer, current_trace
from ..transforms.values import fresh
from ..types import HALVES, broadcast_shapes, known_dtype
from . import distributions
from .stream import U64, stream

MASK = 2**64 - 1


class Generator:
    """Random numbers from a key and a counter: the same bits on every run, whatever the threads, the fusion and the device.

    Floats made of them may differ in their last bit between programs that round differently, as under `vmap`.

    It draws as `numpy.random.Generator` does, with the same names and arguments, and advances with each draw. Passed to a
    compiled function it is advanced there too; inside `vmap`, `grad`, `scan` and their like, return it to have the advanced
    state. `split(n)` makes n independent generators in one: a batch, which `vmap` takes apart.

    seed: an integer (any size; hashed to a key), or None for one from the operating system. One that a compiled function makes
    from an integer gives the same numbers at every call, as it would without `jit`.

    >>> import numpy as np, jitnet
    >>> g = jitnet.random.Generator(0)
    >>> g.normal(size=(2, 3)).shape
    (2, 3)
    >>> @jitnet.jit
    ... def noisy(x, g):
    ...     return x + g.normal(0, 0.1, x.shape)
    >>> bool((noisy(np.zeros(3), g) == noisy(np.zeros(3), g)).any())  # g has advanced in between
    False
    """

    __slots__ = ("state",)

    def __init__(self, seed: int | None = None):
        if seed is None:
            _check_runs_once(current_trace(), None, "one without a seed is made")
            seed = secrets.randbits(64)
        try:
            seed = operator.index(seed)
        except TypeError:
            raise TraceTypeError(f"Generator: the seed is an integer, not {a_type(seed)}",
                                 "pass an int, or None for a seed from the operating system") from None
        state = np.array([key_of(seed), 0], U64)
        self.state = state if current_trace() is None else fresh(state)   # the trace's own: it starts anew at every call

    @classmethod
    def from_state(cls, state) -> Generator:
        """The generator (or the batch of them) with that state: uint64, shape (..., 2), key and counter."""
        out = object.__new__(cls)
        out.state = state
        return out

    def __repr__(self) -> str:
        return f"Generator(state={self.state!r})"

    def __reduce__(self):
        return Generator.from_state, (self.state,)

    def __copy__(self) -> Generator:
        return Generator.from_state(self.state.copy())

    def __deepcopy__(self, memo) -> Generator:
        return self.__copy__()

    copy = __copy__

    # A batch of generators

    def __len__(self) -> int:
        return len(self.state) if self.state.ndim > 1 else _single()

    def __getitem__(self, key) -> Generator:
        """Some of a batch, by what would select along its axes. Copies: drawing from one does not advance the batch."""
        if self.state.ndim == 1:
            _single()
        state = self.state[key]
        if state.ndim == 0 or state.shape[-1] != 2:
            raise TraceTypeError("Generator: the index takes the state apart", "index the axes of the batch alone")
        return Generator.from_state(state.copy())

    def split(self, n: int) -> Generator:
        """A batch of n generators, independent of one another and of this one, which advances by n.

        >>> import jitnet
        >>> g = jitnet.random.Generator(0)
        >>> jitnet.vmap(lambda g: g.random(3))(g.split(4)).shape
        (4, 3)
        """
        return Generator.from_state(self._run("split", (), (operator.index(n),), U64))

    # Drawing

    def _run(self, name: str, parameters: tuple, shape: tuple[int, ...], dtype):
        state, trace = self.state, current_trace()
        if trace is None:
            return _compiled(state, parameters, name=name, shape=shape, dtype=dtype.str)
        home = state.owner if isinstance(state, Tracer) else None
        _check_runs_once(trace, home, "one from outside is used")
        if home is None:  # traced anew at each call, as `grad` outside `jit` is
            out = _draw(np.array(state), parameters, name, shape, dtype)
            state[...] = _advanced(np.array(state), shape)
            return out
        out = _draw(state, parameters, name, shape, dtype)
        with home.resumed():
            if home.allow_writes:
                state[...] = _advanced(state, shape)
            else:
                self.state = _advanced(state, shape)
        return out

    def _sample(self, name: str, parameters: tuple, size, dtype=np.float64, trailing: tuple[int, ...] = ()):
        dtype = known_dtype(dtype, name)
        if dtype in HALVES:
            raise TraceTypeError(f"{name}: samples are float32 or float64, not {dtype}",
                                 "draw float32 and convert: `.astype(...)`")
        if name in DOMAINS:
            _check_domain(name, parameters)
        common = broadcast_shapes(*[np.shape(p) for p in parameters])
        if common is None:
            shapes = ", ".join(str(np.shape(p)) for p in parameters)
            raise TraceValueError(f"{name}: parameters of shapes {shapes} do not broadcast",
                                  "line their axes up with `reshape`")
        shape = _shape(size, common)
        if broadcast_shapes(common, shape) != shape or any(n < 0 for n in shape):
            raise TraceValueError(f"{name}: size {shape} does not hold parameters of shape {common}",
                                  "give a size that the parameters broadcast to, or leave it out")
        return self._run(name, parameters, shape + trailing, dtype)

    def random(self, size=None, dtype=np.float64):
        """Uniform floats in [0, 1), float64 or float32."""
        return self._sample("random", (), size, dtype)

    def standard_normal(self, size=None, dtype=np.float64):
        """Normal floats of mean 0 and variance 1."""
        return self._sample("standard_normal", (), size, dtype)

    def standard_exponential(self, size=None, dtype=np.float64):
        """Exponential floats of mean 1."""
        return self._sample("standard_exponential", (), size, dtype)

    def standard_cauchy(self, size=None, dtype=np.float64):
        """Cauchy floats around 0 with half width 1."""
        return self._sample("standard_cauchy", (), size, dtype)

    def uniform(self, low=0.0, high=1.0, size=None, dtype=np.float64):
        """Uniform floats in [low, high)."""
        return self._sample("uniform", (low, high), size, dtype)

    def normal(self, loc=0.0, scale=1.0, size=None, dtype=np.float64):
        """Normal floats of that mean and standard deviation."""
        return self._sample("normal", (loc, scale), size, dtype)

    def exponential(self, scale=1.0, size=None, dtype=np.float64):
        """Exponential floats of mean `scale`."""
        return self._sample("exponential", (scale,), size, dtype)

    def laplace(self, loc=0.0, scale=1.0, size=None, dtype=np.float64):
        """Laplace floats: exponential to both sides of `loc`."""
        return self._sample("laplace", (loc, scale), size, dtype)

    def logistic(self, loc=0.0, scale=1.0, size=None, dtype=np.float64):
        """Logistic floats around `loc`."""
        return self._sample("logistic", (loc, scale), size, dtype)

    def gumbel(self, loc=0.0, scale=1.0, size=None, dtype=np.float64):
        """Gumbel floats (largest of many exponential ones)."""
        return self._sample("gumbel", (loc, scale), size, dtype)

    def lognormal(self, mean=0.0, sigma=1.0, size=None, dtype=np.float64):
        """exp of normal floats of that mean and standard deviation."""
        return self._sample("lognormal", (mean, sigma), size, dtype)

    def rayleigh(self, scale=1.0, size=None, dtype=np.float64):
        """Lengths of 2-d normal vectors."""
        return self._sample("rayleigh", (scale,), size, dtype)

    def weibull(self, a, size=None, dtype=np.float64):
        """Weibull floats of shape a and scale 1."""
        return self._sample("weibull", (a,), size, dtype)

    def pareto(self, a, size=None, dtype=np.float64):
        """Pareto (Lomax) floats of shape a, from 0."""
        return self._sample("pareto", (a,), size, dtype)

    def standard_gamma(self, shape, size=None, dtype=np.float64):
        """Gamma floats of that shape and scale 1."""
        return self._sample("standard_gamma", (shape,), size, dtype)

    def gamma(self, shape, scale=1.0, size=None, dtype=np.float64):
        """Gamma floats of mean shape * scale."""
        return self._sample("gamma", (shape, scale), size, dtype)

    def beta(self, a, b, size=None, dtype=np.float64):
        """Beta floats, in (0, 1)."""
        return self._sample("beta", (a, b), size, dtype)

    def chisquare(self, df, size=None, dtype=np.float64):
        """Chi-square floats of df degrees of freedom."""
        return self._sample("chisquare", (df,), size, dtype)

    def standard_t(self, df, size=None, dtype=np.float64):
        """Student's t floats of df degrees of freedom."""
        return self._sample("standard_t", (df,), size, dtype)

    def poisson(self, lam=1.0, size=None):
        """Poisson counts (int64) of mean lam."""
        return self._sample("poisson", (lam,), size)

    def binomial(self, n, p, size=None):
        """Successes (int64) in n draws that succeed with probability p."""
        return self._sample("binomial", (n, p), size)

    def negative_binomial(self, n, p, size=None):
        """Failures (int64) before the n-th success of probability p."""
        return self._sample("negative_binomial", (n, p), size)

    def geometric(self, p, size=None):
        """Draws (int64) up to the first success of probability p."""
        return self._sample("geometric", (p,), size)

    def integers(self, low, high=None, size=None, dtype=np.int64, endpoint: bool = False):
        """Whole numbers from low up to but not including high (with `endpoint`, including it), each exactly as likely.

        With one argument, from 0 up to it. dtype: any integer dtype or bool that holds them.
        """
        low, high = (0, low) if high is None else (low, high)
        dtype = known_dtype(dtype, "integers")
        if all(isinstance(x, int) for x in (low, high)):
            span = high - low + endpoint
            least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if span <= 0 or low < least or low + span - 1 > most:
                raise TraceValueError(f"integers: nothing of {dtype} lies from {low} {'to' if endpoint else 'up to'} {high}"
                                      if span <= 0 else f"integers: {low} to {low + span - 1} does not fit {dtype}",
                                      "check `low`, `high` and `dtype`")
            low = np.int64(low - 2**64 if low > 2**63 - 1 else low)
            return self._sample("small_integers" if span <= 2**32 else "integers", (low, np.uint64(span & MASK)), size, dtype)
        low, high = (jnp.asarray(x, np.int64) for x in (low, high))
        span = (high - low).astype(U64) + np.uint64(endpoint)
        return self._sample("integers", (low, span), size, dtype)

    def bernoulli(self, p=0.5, size=None):
        """Bools that are true with probability p."""
        return self._sample("bernoulli", (p,), size)

    def permutation(self, x, axis: int = 0):
        """The numbers below x in random order; of an array, a copy with the slices along an axis in random order."""
        if isinstance(x, int):
            x = jnp.arange(x)
        order = jnp.argsort(self._run("bits", (), (x.shape[axis],), U64), kind="stable")
        return jnp.take(x, order, axis=axis)

    def shuffle(self, x, axis: int = 0) -> None:
        """Puts the slices of an array along an axis in random order, in place."""
        x[...] = self.permutation(x, axis)

    def choice(self, a, size=None, replace: bool = True, p=None, axis: int = 0):
        """Random elements of `a` (or of the numbers below it), with probabilities p (uniform without), with or without
        replacement.

        Without replacement and with p: one after the other, with what is left renormalized.
        """
        a = jnp.arange(a) if isinstance(a, int) else jnp.asarray(a)
        n = a.shape[axis]
        shape = _shape(size)
        count = math.prod(shape)
        if (n == 0 and count) or (not replace and count > n):
            raise TraceValueError(f"choice: {count} of {n} elements{'' if replace else ' without replacement'}",
                                  "draw fewer, or with `replace=True`")
        if p is not None and np.shape(p) != (n,):
            raise TraceValueError(f"choice: {n} elements and probabilities of shape {np.shape(p)}", "give one for each element")
        if replace and p is None:
            order = self.integers(n, size=shape)
        elif replace:
            total = jnp.cumsum(jnp.asarray(p, np.float64))
            order = jnp.minimum(jnp.searchsorted(total, self.random(shape) * total[-1], side="right"), n - 1)
        else:
            keys = self._run("bits", (), (n,), U64) if p is None else self._keys(p, n)
            order = jnp.argsort(keys, kind="stable")[:count].reshape(shape)
        return jnp.take(a, order, axis=axis)

    def _keys(self, p, n: int):
        """Numbers whose smallest is at i with probability p[i], the next with what is left renormalized, and so on."""
        p = jnp.asarray(p, np.float64)
        return jnp.where(p > 0, self.standard_exponential(n) / jnp.where(p > 0, p, 1.0), np.inf)

    def categorical(self, logits, axis: int = -1, size=None):
        """Positions along an axis of `logits`, each with the probability softmax(logits) gives it (Gumbel's trick)."""
        logits = jnp.moveaxis(jnp.asarray(logits), axis, -1)
        shape = _shape(size, logits.shape[:-1])
        noise = self._sample("gumbel", (0.0, 1.0), (*shape, logits.shape[-1]), logits.dtype)
        return jnp.argmax(logits + noise, axis=-1)

    def dirichlet(self, alpha, size=None, dtype=np.float64):
        """Points of the simplex: along the last axis, positive numbers that sum to 1."""
        alpha = jnp.asarray(alpha, dtype)
        batch = _shape(size, alpha.shape[:-1])
        parts = self._sample("standard_gamma", (alpha,), (*batch, alpha.shape[-1]), dtype)
        return parts / parts.sum(-1, keepdims=True)

    def multinomial(self, n, pvals, size=None):
        """How often each of len(pvals) outcomes comes in n draws: one binomial for each of what is left."""
        pvals = jnp.asarray(pvals, np.float64)
        batch = _shape(size, np.broadcast_shapes(np.shape(n), pvals.shape[:-1]))
        left, mass, counts = jnp.broadcast_to(jnp.asarray(n, np.int64), batch), 1.0, []
        for i in range(pvals.shape[-1] - 1):
            share = jnp.clip(pvals[..., i] / jnp.maximum(mass, 1e-300), 0, 1)
            counts.append(self.binomial(left, share, batch))
            left, mass = left - counts[-1], mass - pvals[..., i]
        return jnp.stack([*counts, left], axis=-1)


tree.register(Generator, lambda g: ((g.state,), None), lambda _, children: Generator.from_state(children[0]))


ANY, MOST, TINY = None, np.finfo(np.float64).max, 5e-324  # TINY: the least float above 0
DOMAINS = {  # the bounds of each parameter
    **{name: {"loc": ANY, "scale": (0, MOST)} for name in ("normal", "laplace", "logistic", "gumbel")},
    "lognormal": {"mean": ANY, "sigma": (0, MOST)}, "exponential": {"scale": (0, MOST)},
    "rayleigh": {"scale": (0, MOST)}, "weibull": {"a": (TINY, MOST)}, "pareto": {"a": (TINY, MOST)},
    "standard_gamma": {"shape": (0, MOST)}, "gamma": {"shape": (0, MOST), "scale": (0, MOST)},
    "beta": {"a": (TINY, MOST), "b": (TINY, MOST)}, "chisquare": {"df": (TINY, MOST)}, "standard_t": {"df": (TINY, MOST)},
    "poisson": {"lam": (0, distributions.POISSON_MOST)}, "binomial": {"n": (0, distributions.POISSON_MOST), "p": (0, 1)},
    "negative_binomial": {"n": (TINY, MOST), "p": (TINY, 1)}, "geometric": {"p": (TINY, 1)}, "bernoulli": {"p": (0, 1)}}


def _check_domain(name: str, parameters: tuple) -> None:
    """TraceValueError for a parameter that is known and out of bounds; compiled code gives NaN, or -1 for a count."""
    for value, (parameter, bounds) in zip(parameters, DOMAINS[name].items()):
        if bounds is not None and isinstance(value, (int, float, np.generic, np.ndarray)):
            low, high = bounds
            if not np.all((value >= low) & (value <= high)):
                limits = f"above 0{'' if high == MOST else f' and at most {high:g}'}" if low == TINY else \
                    "at least 0" if high == MOST else f"between {low:g} and {high:g}"
                wrong = value if np.ndim(value) == 0 else value[~((value >= low) & (value <= high))].flat[0]
                raise TraceValueError(f"{name}: {parameter} must be {limits}, got {wrong}", "check the parameters of the call")


def _shape(size, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The shape that an argument `size` asks for."""
    if size is None:
        return default
    return tuple(map(index, size)) if np.iterable(size) else (index(size),)


def _single():
    raise TraceTypeError("Generator: it is one generator, not a batch", "make a batch with `split(n)`")


def _check_runs_once(trace: Trace | None, home: Trace | None, what: str) -> None:
    """TraceValueError when something between two traces runs more often than it is traced."""
    while trace is not home and trace is not None:
        if not trace.once:
            raise TraceValueError(f"Generator: {what} while `{trace.name}` is traced, and would give the same numbers each "
                                  "time that runs", "pass it to the function as an argument")
        trace = trace.parent



def key_of(seed: int) -> int:
    """A key from a seed of any size: its 64-bit digits, sign last, each enciphered under the key so far."""
    key, rest = np.uint64(0), abs(seed)
    while True:
        key = threefry(key, np.uint64(rest & MASK))
        rest >>= 64
        if not rest:
            return int(threefry(key, np.uint64(seed < 0)))


def _advanced(state, shape: tuple[int, ...]):
    """The state after a draw of that shape."""
    if isinstance(state, np.ndarray):   # it stays known, also while something is traced
        return state + np.array([0, max(math.prod(shape), 1)], U64)
    return state + iota(shape=(2,), axis=0, dtype=U64) * constant(largest(math.prod(shape), 1), U64)


def _draw(state, parameters, name: str, shape, dtype):
    """The values of a draw, traced."""
    if name == "bits":
        return stream(state, shape).word()
    if name == "split":
        keys = stream(state, shape).word()
        return jnp.stack([keys, jnp.zeros(keys.shape, U64)], axis=-1)
    floats = dtype if dtype.kind == "f" else np.dtype(np.float64)
    s = stream(state, shape, floats)
    if not name.endswith("integers"):
        parameters = [p if isinstance(p, (int, float)) else jnp.asarray(p).astype(floats) for p in parameters]
        return SAMPLERS[name](s, *parameters)
    return SAMPLERS[name](s, *parameters).astype(dtype)


SAMPLERS = {name: getattr(distributions, {"uniform": "uniform_between", "normal": "normal_at"}.get(name, name)) for name in (
    "random", "standard_normal", "standard_exponential", "standard_cauchy", "bernoulli", "integers", "small_integers",
    "uniform", "normal", "exponential", "laplace", "logistic", "gumbel", "lognormal", "rayleigh", "weibull", "pareto",
    "standard_gamma",
    "gamma", "beta", "chisquare", "standard_t", "poisson", "binomial", "negative_binomial", "geometric")}


@jit(static_argnames=("name", "shape", "dtype"))
def _compiled(state, parameters, *, name, shape, dtype):
    """A draw outside any trace: one program, which advances the state in place."""
    out = _draw(state, parameters, name, shape, np.dtype(dtype))
    state[...] = _advanced(state, shape)
    return out

