"""Every elementwise op compiled, on every dtype it takes: the kernel gives what NumPy gives, special values included."""
import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.errors import TraceTypeError
from jitnet.op import OPS, Elementwise
from jitnet.testing import op_graph
from jitnet.types import DTYPES

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5])
WIDE = {"lgamma", "digamma", "erfinv"}  # steep near their poles: compared less closely


def arguments(op, dtype, rng):
    ranges = op.samples.ranges + (op.samples.ranges[-1],) * 3
    out = []
    for k in range(len(op.array_names)):
        low, high = ranges[k]
        if dtype == np.bool_ or (op is ops.where and k == 0):
            out.append(rng.integers(0, 2, 40).astype(bool))
        elif dtype.kind == "f":
            values = rng.uniform(low, high, 40)
            values[:8] = SPECIAL if k == 0 else np.roll(SPECIAL, k)
            out.append(values.astype(dtype))
        else:
            low = 0 if dtype.kind == "u" or (op.name in ("power", "left_shift", "right_shift") and k == 1) else int(low)
            out.append(rng.integers(low, int(high) + 1, 40).astype(dtype))
    return out


def admitted(dtype):
    """(op, arguments) of the elementwise ops that compute in this dtype (those that convert it first run as another dtype)."""
    rng = np.random.default_rng(7)
    for op in OPS.values():
        if isinstance(op, Elementwise) and op.samples and op is not ops.cast:
            args = arguments(op, dtype, rng)
            try:
                alone = len(op_graph(op, args, {}).eqns) == 1
            except TraceTypeError:
                continue
            if alone:
                yield op, args


@pytest.mark.parametrize("name", DTYPES)
def test_every_op(name):
    """One function computes them all, so that they compile together."""
    chosen = list(admitted(DTYPES[name]))
    flat = [a for _, args in chosen for a in args]

    def everything(*xs):
        xs, out = list(xs), []
        for op, args in chosen:
            out.append(op(*(xs.pop(0) for _ in args)))
        return out

    found = jitnet.jit(everything)(*flat)
    for (op, args), value in zip(chosen, found, strict=True):
        graph = op_graph(op, args, {})
        with np.errstate(all="ignore"):
            (expected,) = graph(*args)
        assert value.dtype == expected.dtype, op.name
        tolerance = {4: 3e-6, 8: 1e-14}.get(expected.dtype.itemsize, 0) if expected.dtype.kind == "f" else 0
        tolerance *= 20 if op.name in WIDE else 1
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance, err_msg=f"{op.name} of {name}")


@pytest.mark.parametrize("name", DTYPES)
def test_casts(name):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2, 20).astype(bool) if name == "b1" else rng.uniform(0, 100, 20).astype(DTYPES[name])

    def everything(x):
        return [x.astype(d) for d in DTYPES.values()]

    for found, expected in zip(jitnet.jit(everything)(x), everything(x), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", DTYPES)
def test_reductions(name):
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2, (5, 7)).astype(bool) if name == "b1" else rng.uniform(0, 3, (5, 7)).astype(DTYPES[name])

    def everything(x):
        return [f(x, axis=a) for f in (np.sum, np.prod, np.max, np.min, np.any, np.all) for a in (0, 1, None)] + [
            f(x, axis=a) for f in (np.argmax, np.argmin) for a in (0, 1)]

    for found, expected in zip(jitnet.jit(everything)(x), everything(x), strict=True):
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5 if name == "f32" else 1e-12)
