"""Comparisons of arrays within tolerances by dtype, random arrays, and what else of `test_utils` needs no symbols."""
from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from . import context, nd
from .context import Context, current_context
from .nd import NDArray
from .types import BF16, F16, is_float

# Defaults

def default_context() -> Context:
    """The context that checks use when none is given: the current one."""
    return current_context()


def set_default_context(ctx: Context) -> None:
    """Makes `ctx` this thread's context wherever no `with` says another."""
    context.set_default(ctx)


def default_dtype():
    """The dtype of random arrays and of checks: float32."""
    return np.float32


def default_rtols() -> dict[np.dtype, float]:
    """Relative tolerances by dtype; those of other dtypes are 0."""
    return {F16: 1e-2, BF16: 1e-1, np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-5}


def default_atols() -> dict[np.dtype, float]:
    """Absolute tolerances by dtype; those of other dtypes are 0."""
    return {F16: 1e-1, BF16: 1e-1, np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-20}


def default_numeric_eps() -> dict[np.dtype, float]:
    """Steps of finite differences by dtype: powers of two, which round nothing off."""
    return {F16: 2.0**-6, np.dtype(np.float32): 2.0**-9, np.dtype(np.float64): 2.0**-14}


def get_tolerance(dat, tol, default_tol: Mapping[np.dtype, float]) -> float:
    """The tolerance for an array: `tol`, a number or a dict by dtype, else the default of the array's dtype."""
    if isinstance(tol, (int, float, np.number)):
        return float(tol)
    dtype = np.dtype(dat.dtype)
    return (tol or {}).get(dtype, default_tol.get(dtype, 0.0))


def get_tols(x, y, rtol, atol) -> tuple[float, float]:
    """(rtol, atol) for two arrays: the larger one of what each asks for."""
    x, y = (np.asarray(v) if not hasattr(v, "dtype") else v for v in (x, y))
    return tuple([max(get_tolerance(v, tol, default) for v in (x, y))
                  for tol, default in ((rtol, default_rtols()), (atol, default_atols()))])


def list_gpus() -> list[int]:
    """The numbers of the GPUs that jitnet can use."""
    return list(range(context.num_gpus()))


# Random arrays and shapes

def random_arrays(*shapes: tuple[int, ...]):
    """Arrays of normal numbers, float32; one array for one shape, a list for several."""
    arrays = [np.asarray(np.random.standard_normal(shape), default_dtype()) for shape in shapes]
    return arrays[0] if len(arrays) == 1 else arrays


def random_uniform_arrays(*shapes: tuple[int, ...], low: float = 0.0, high: float = 1.0, dtype=np.float32) -> list[np.ndarray]:
    """Arrays of uniform numbers, in a list."""
    return [np.random.uniform(low, high, shape).astype(dtype) for shape in shapes]


def random_sample(population: Sequence, k: int) -> list:
    """k elements of the population, none twice, in their order."""
    picked = np.sort(np.random.permutation(len(population))[:k])
    return [population[i] for i in picked]


def rand_ndarray(shape, stype: str = "default", density=None, dtype=None, modifier_func=None, shuffle_csr_indices=False,
                 distribution=None, ctx=None) -> NDArray:
    """An NDArray of normal numbers. `stype` must be "default": arrays here are dense."""
    if stype != "default":
        raise ValueError(f'rand_ndarray: stype {stype!r} is not supported: NDArrays are dense; use stype="default"')
    return nd.array(random_arrays(tuple(shape)), dtype=dtype, ctx=ctx or default_context())


def rand_shape_nd(num_dim: int, dim: int = 10, allow_zero_size: bool = False) -> tuple[int, ...]:
    """A shape of `num_dim` axes with sizes from 1 (or 0) to `dim`."""
    return tuple([int(n) for n in np.random.randint(0 if allow_zero_size else 1, dim + 1, num_dim)])


def rand_shape_2d(dim0: int = 10, dim1: int = 10, allow_zero_size: bool = False) -> tuple[int, ...]:
    """A shape of two axes, with sizes from 1 (or 0) to those given."""
    return tuple([rand_shape_nd(1, n, allow_zero_size)[0] for n in (dim0, dim1)])


def rand_shape_3d(dim0: int = 10, dim1: int = 10, dim2: int = 10, allow_zero_size: bool = False) -> tuple[int, ...]:
    """A shape of three axes, with sizes from 1 (or 0) to those given."""
    return tuple([rand_shape_nd(1, n, allow_zero_size)[0] for n in (dim0, dim1, dim2)])


def np_reduce(dat: np.ndarray, axis, keepdims: bool, numpy_reduce_func: Callable) -> np.ndarray:
    """`dat` reduced along axes (None: all), one after the other."""
    axes = range(dat.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = sorted([a % dat.ndim for a in axes])
    out = dat
    for a in reversed(axes):
        out = numpy_reduce_func(out, axis=a)
    return out.reshape([1 if k in axes else n for k, n in enumerate(dat.shape)]) if keepdims else out


def collapse_sum_like(a, shape: tuple[int, ...]):
    """`a` summed along the axes that broadcasting `shape` to it made."""
    extra = a.ndim - len(shape)
    out = a.sum(axis=tuple(range(extra))) if extra else a
    thin = tuple([k for k, n in enumerate(shape) if n == 1 and out.shape[k] != 1])
    return out.sum(axis=thin, keepdims=True) if thin else out


# Comparisons

def plain(x) -> np.ndarray:
    """An NDArray, an array or numbers as a NumPy array."""
    return x.asnumpy() if isinstance(x, NDArray) else np.asarray(x)


def same(a, b) -> bool:
    """Whether two arrays have one shape and equal elements."""
    return np.array_equal(plain(a), plain(b))


def almost_equal(a, b, rtol=None, atol=None, equal_nan: bool = False, use_broadcast: bool = True) -> bool:
    """Whether |a - b| <= atol + rtol * |b| everywhere; by default within the tolerances of float64."""
    a, b = plain(a), plain(b)
    if not use_broadcast and a.shape != b.shape:
        raise AssertionError(f"shapes differ: {a.shape} and {b.shape}")
    return bool(np.allclose(_wide(a), _wide(b), 1e-5 if rtol is None else rtol, 1e-20 if atol is None else atol, equal_nan))


def _wide(a: np.ndarray) -> np.ndarray:
    """In float64, so that comparing halves rounds nothing."""
    return a.astype(np.float64) if is_float(a.dtype) or a.dtype == np.bool_ else a


def assert_almost_equal(a, b, rtol=None, atol=None, names: Sequence[str] = ("a", "b"), equal_nan: bool = False,
                        use_broadcast: bool = True, mismatches: tuple[int, int] = (10, 10)) -> None:
    """AssertionError unless |a - b| <= atol + rtol * |b| everywhere. The message lists up to mismatches[0] elements, the worst
    first. Tolerances are numbers or dicts by dtype; by default they are those of the less precise dtype.

    >>> from jitnet.test_utils import assert_almost_equal
    >>> assert_almost_equal(np.float32([1.0, 2.0]), np.float32([1.0, 2.00001]))
    """
    rtol, atol = get_tols(a, b, rtol, atol)
    a, b = plain(a), plain(b)
    if almost_equal(a, b, rtol, atol, equal_nan, use_broadcast):
        return
    a, b = np.broadcast_arrays(_wide(a), _wide(b))
    with np.errstate(invalid="ignore"):
        error = np.where(a == b, 0.0, np.abs(a - b)) / (atol + rtol * np.abs(b) + 1e-20)
    equal = (np.isnan(a) & np.isnan(b)) & equal_nan
    error = np.where(equal, 0.0, np.where(np.isnan(error), np.inf, error)).reshape(-1)
    wrong = int((error > 1).sum())
    worst = np.argsort(-error, kind="stable")[:min(max(mismatches[0], 1), max(wrong, 1))]
    lines = [f"{tuple(map(int, np.unravel_index(k, a.shape)))}: {names[0]}={a.flat[k]:.8g}, {names[1]}={b.flat[k]:.8g}, "
             f"{error[k]:.3g} times the tolerance" for k in worst]
    raise AssertionError(f"{names[0]} and {names[1]} differ beyond rtol={rtol:g}, atol={atol:g} in {wrong} of {a.size} "
                         f"elements of shape {a.shape}:\n  " + "\n  ".join(lines))


def assert_almost_equal_ignore_nan(a, b, rtol=None, atol=None, names: Sequence[str] = ("a", "b")) -> None:
    """`assert_almost_equal` where neither is NaN."""
    a, b = plain(a).copy(), plain(b).copy()
    nan = np.isnan(a) | np.isnan(b)
    a[nan] = b[nan] = 0
    assert_almost_equal(a, b, rtol, atol, names)


def assert_exception(f: Callable, exception_type: type[BaseException], *args, **kwargs) -> None:
    """AssertionError unless f(*args, **kwargs) raises that kind of exception."""
    try:
        f(*args, **kwargs)
    except exception_type:
        return
    raise AssertionError(f"{getattr(f, '__name__', f)} raised no {exception_type.__name__}")


def same_array(array1: NDArray, array2: NDArray) -> bool:
    """Whether two NDArrays share their memory."""
    return array1.context == array2.context and np.may_share_memory(array1._data, array2._data)


def retry(n: int) -> Callable:
    """Decorator: a test of random numbers that may fail n - 1 times before it fails."""
    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def run(*args, **kwargs):
            for _ in range(n - 1):
                try:
                    return test(*args, **kwargs)
                except AssertionError:
                    continue
            return test(*args, **kwargs)
        return run
    return decorate


@contextlib.contextmanager
def environment(*args):
    """Inside, environment variables have these values: `environment(name, value)` or a dict; None takes one away."""
    wanted = dict(args[0]) if len(args) == 1 else {args[0]: args[1]}
    before = {name: os.environ.get(name) for name in wanted}

    def put(values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    put(wanted)
    try:
        yield
    finally:
        put(before)
