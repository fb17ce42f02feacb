"""Checks of samplers and of optimizers, and the small arrays that MXNet's own tests are written with: a part of `test_utils`.

A sampler is a function of how many samples it is to draw, `lambda n: mx.nd.random.normal(0, 1, n).asnumpy()`.

>>> import jitnet as mx
>>> from jitnet.test_utils import gen_buckets_probs_with_ppf, verify_generator
>>> mx.random.seed(0)
>>> buckets, probs = gen_buckets_probs_with_ppf(lambda q: 2 * q - 1, 5)
>>> _ = verify_generator(lambda n: mx.nd.random.uniform(-1, 1, n).asnumpy(), buckets, probs, nsamples=10000)
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from . import nd
from .nd import NDArray
from .testing_arrays import assert_almost_equal

Buckets = Sequence  # of (lower, upper), lower included, or of single values


def mean_check(generator: Callable[[int], np.ndarray], mu: float, sigma: float, nsamples: int = 1_000_000) -> bool:
    """Whether the mean of the samples lies within three standard errors of `mu`, where sigma is what one sample spreads."""
    samples = np.asarray(generator(nsamples))
    return bool(abs(samples.mean() - mu) < 3 * sigma / np.sqrt(nsamples))


def var_check(generator: Callable[[int], np.ndarray], sigma: float, nsamples: int = 1_000_000) -> bool:
    """Whether the variance of the samples lies within three standard errors of sigma squared, as a normal sampler's does."""
    samples = np.asarray(generator(nsamples))
    return bool(abs(samples.var(ddof=1) - sigma**2) < 3 * np.sqrt(2 * sigma**4 / (nsamples - 1)))


def gen_buckets_probs_with_ppf(ppf: Callable[[float], float], nbuckets: int) -> tuple[list[tuple[float, float]], list[float]]:
    """(buckets of equal probability, their probabilities), of a distribution with the quantile function `ppf`."""
    if nbuckets < 1:
        raise ValueError(f"nbuckets must be at least 1, got {nbuckets}")
    return [(ppf(k / nbuckets), ppf((k + 1) / nbuckets)) for k in range(nbuckets)], [1 / nbuckets] * nbuckets


def chi_square_check(generator: Callable[[int], np.ndarray], buckets: Buckets, probs: Sequence[float],
                     nsamples: int = 1_000_000) -> tuple[float, np.ndarray, np.ndarray]:
    """(p-value, counts, expected counts) of Pearson's chi-square test that samples fall into the buckets with `probs`.

    Buckets are values of a discrete distribution, or (lower, upper) of a continuous one.
    """
    from scipy import special

    if len(buckets) != len(probs):
        raise ValueError(f"{len(buckets)} buckets for {len(probs)} probabilities")
    samples = np.asarray(generator(nsamples)).reshape(-1)
    if isinstance(buckets[0], (tuple, list)):
        counts = np.array([np.count_nonzero((samples >= low) & (samples < high)) for low, high in buckets])
    else:
        counts = np.array([np.count_nonzero(samples == value) for value in buckets])
    expected = samples.size * np.asarray(probs, np.float64)
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(special.gammaincc((len(probs) - 1) / 2, statistic / 2)), counts, expected


def verify_generator(generator: Callable[[int], np.ndarray], buckets: Buckets, probs: Sequence[float],
                     nsamples: int = 1_000_000, nrepeat: int = 5, success_rate: float = 0.2,
                     alpha: float = 0.05) -> list[float]:
    """The p-values of `nrepeat` chi-square tests; AssertionError when fewer than `success_rate` of them exceed `alpha`."""
    results = [chi_square_check(generator, buckets, probs, nsamples) for _ in range(nrepeat)]
    found = [p for p, _, _ in results]
    passed = sum(p > alpha for p in found)
    if passed < nrepeat * success_rate:
        _, counts, expected = results[-1]
        raise AssertionError(f"Generator test fails: {passed} of {nrepeat} p-values exceed {alpha}, at least "
                             f"{nrepeat * success_rate:g} should: {found}\n  buckets:  {list(buckets)}\n  counts:   "
                             f"{counts.tolist()}\n  expected: {expected.tolist()}")
    return found


# Optimizers

def compare_ndarray_tuple(t1, t2, rtol=None, atol=None) -> None:
    """Asserts that two states of optimizers, arrays or nested tuples of them, are close."""
    if t1 is None or t2 is None:
        return
    if isinstance(t1, (tuple, list)):
        for one, other in zip(t1, t2, strict=True):
            compare_ndarray_tuple(one, other, rtol, atol)
    else:
        assert_almost_equal(t1, t2, rtol=rtol, atol=atol)


def compare_optimizer(opt1, opt2, shape, dtype, w_stype: str = "default", g_stype: str = "default", rtol: float = 1e-4,
                      atol: float = 1e-5, compare_states: bool = True) -> None:
    """Asserts that a step of two optimizers from one weight and gradient gives the same weight, and the same states."""
    if (w_stype, g_stype) != ("default", "default"):
        raise ValueError(f"arrays are dense, there are no storage types {w_stype!r}, {g_stype!r}")
    weight, grad = (nd.array(np.random.uniform(-1, 1, shape), dtype=dtype) for _ in range(2))
    weights, states = [], []
    for optimizer in (opt1, opt2):
        moved = weight.copy()
        states.append(optimizer.create_state_multi_precision(0, moved))
        optimizer.update_multi_precision(0, moved, grad.copy(), states[-1])
        weights.append(moved)
    if compare_states:
        compare_ndarray_tuple(*states, rtol=rtol, atol=atol)
    assert_almost_equal(*weights, rtol=rtol, atol=atol)


# Small arrays

def get_rtol(rtol: float | None = None, dtype=np.float64) -> float:
    """`rtol`, or 1e-5 when it is None."""
    return 1e-5 if rtol is None else rtol


def get_atol(atol: float | None = None, dtype=np.float64) -> float:
    """`atol`, or 1e-20 when it is None."""
    return 1e-20 if atol is None else atol


def get_etol(etol: float | None = None) -> float:
    """`etol`, the share of elements that may differ, or 0 when it is None."""
    return 0 if etol is None else etol


def assign_each(the_input: np.ndarray, function: Callable | None) -> np.ndarray:
    """A copy of an array with function(element) in place of each element."""
    out = np.array(the_input)
    return out if function is None else np.array([function(v) for v in out.flat], out.dtype).reshape(out.shape)


def assign_each2(input1: np.ndarray, input2: np.ndarray, function: Callable | None) -> np.ndarray:
    """A copy of `input1` with function(element of input1, element of input2) in place of each element."""
    out = np.array(input1)
    if function is None:
        return out
    found = [function(v, w) for v, w in zip(out.flat, np.asarray(input2).flat, strict=True)]
    return np.array(found, out.dtype).reshape(out.shape)


def create_2d_tensor(rows: int, columns: int, dtype=np.int64) -> NDArray:
    """An array (rows, columns) that holds the number of its row everywhere."""
    return nd.array(np.arange(rows).reshape(rows, 1), dtype=dtype).broadcast_to((rows, columns))


def create_vector(size: int, dtype=np.int64) -> NDArray:
    """The whole numbers below `size`."""
    return nd.arange(0, size, dtype=dtype)


def rand_coord_2d(x_low: int, x_high: int, y_low: int, y_high: int) -> tuple[int, int]:
    """Two random whole numbers, each from its low up to but not including its high."""
    return int(np.random.randint(x_low, x_high)), int(np.random.randint(y_low, y_high))
