"""One table tests every op: values and dtypes against NumPy, rules against finite differences, batching against a loop, index
maps."""
import itertools
import zlib

import numpy as np
import pytest

from jitnet import ops, testing
from jitnet.codegen import intrinsics
from jitnet.errors import TraceTypeError
from jitnet.op import OPS, Op
from jitnet.op_kinds import Call, Contraction, Creation, Elementwise, Gather, Movement, Reduction, between
from jitnet.types import BF16, DTYPES, F16, F32, F64, HALVES, I64, SHORT_NAMES, is_float, promote

ELEMENTWISE = [op for op in OPS.values() if isinstance(op, Elementwise) and op.samples and op is not ops.cast]
FLOAT_ONLY = {"sigmoid", "erf", "erfc", "erfinv", "lgamma", "digamma", "isnan", "isinf", "isfinite", "signbit"}


def seeded(*parts):
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def draw(rng, bounds, dtype, shape=(3, 4)):
    low, high = bounds
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind == "u":
        low, high = max(low, 0), max(high, 2)
    return rng.uniform(low, high, shape).astype(dtype) if is_float(dtype) else rng.integers(int(np.ceil(low)), int(high) + 1,
                                                                                              shape).astype(dtype)


def arguments(op, dtypes, rng, shapes=None):
    ranges = op.samples.ranges
    ranges = ranges + (ranges[-1],) * (len(dtypes) - len(ranges))
    shapes = shapes or [(3, 4)] * len(dtypes)
    return [draw(rng, r, d, s) for r, d, s in zip(ranges, dtypes, shapes)]


def arity(op):
    return len(op.array_names)


# Elementwise

@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_values_and_dtypes(op):
    rng, admitted = seeded(op.name), 0
    names = list(DTYPES) if arity(op) < 3 else ["b1", "i32", "f32", "f64"]
    for kinds in itertools.product(names, repeat=arity(op)):
        args = arguments(op, [DTYPES[k] for k in kinds], rng)
        if op.name == "power":
            args[1] = np.abs(args[1])
        with np.errstate(all="ignore"):
            try:
                mixed = not op.widens and BF16 in [a.dtype for a in args]  # of bfloat16 and others NumPy makes a float32
                expected = op.body(*(a.astype(promote(*(b.dtype for b in args))) for a in args) if mixed else args)
            except TypeError:
                expected = None
            if op.name in FLOAT_ONLY:
                kinds_of_floats = {1: F16, 2: F32}
                args_float = [a if is_float(a.dtype) else a.astype(kinds_of_floats.get(a.dtype.itemsize, F64)) for a in args]
                expected = op.body(*args_float)
            if expected is None or np.asarray(expected).dtype not in SHORT_NAMES:
                with pytest.raises(TraceTypeError):
                    testing.op_graph(op, args, {})
                continue
            admitted += 1
            testing.check_values(op, args, {}, expected, rtol=1e-6 if HALVES.isdisjoint(a.dtype for a in args) else 2e-2)
    assert admitted


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_expression_means_the_body(op):
    """The scalar expression, run in Python, is the NumPy body."""
    rng = seeded(op.name, "expr")
    for name in ("f32", "f64", "i32", "u8", "b1"):
        dtypes = [DTYPES[name]] * arity(op) if op.name != "where" else [DTYPES["b1"], DTYPES[name], DTYPES[name]]
        try:
            graph = testing.op_graph(op, args := arguments(op, dtypes, rng, [(8,)] * arity(op)), {})
        except TraceTypeError:
            continue
        eqn = graph.eqns[-1]
        if op.name == "power" and name not in ("f32", "f64"):
            args[1] = np.abs(args[1])
        operands = [a.astype(v.type.dtype) for a, v in zip(args, eqn.inputs)]
        text = op.expression([v.type for v in eqn.inputs]).format(**{n: n for n in op.array_names})
        out = eqn.outputs[0].type.dtype
        with np.errstate(all="ignore"):
            found = [eval(text, dict(intrinsics.PYTHON_SCOPE), dict(zip(op.array_names, row))) for row in zip(*operands)]
            expected = op.body(*operands)
        np.testing.assert_allclose(np.array(found).astype(out), expected, rtol=2e-6 if name == "f32" else 1e-12, err_msg=text)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_rules(op):
    if op.samples.integers:
        return
    rng = seeded(op.name, "rules")
    if op.name == "where":
        args = [rng.integers(0, 2, (3, 4)).astype(bool), rng.normal(size=(3, 4)), rng.normal(size=(4,))]
    else:
        shapes = [(3, 4), (4,)][:arity(op)]
        args = arguments(op, [np.float64] * arity(op), rng, shapes)
    testing.check_rules(op, args, {})
    testing.check_batch(op, args, {})


# All other ops: arguments and parameters

def cases():
    rng = seeded("cases")
    f = lambda *shape: rng.uniform(-3, 3, shape)
    i = lambda high, *shape: rng.integers(0, high, shape)
    yield ops.cast, [f(3, 4)], {"dtype": F32}
    yield ops.cast, [i(5, 3)], {"dtype": F32}
    for shape in ((6, 4), (2, 12), (24,), (1, 4, 1, 6)):
        yield ops.reshape, [f(4, 6)], {"shape": shape}
    yield ops.reshape, [f()], {"shape": (1, 1)}
    yield ops.reshape, [f(2, 0)], {"shape": (0, 3)}
    for axes in itertools.permutations(range(3)):
        yield ops.transpose, [f(2, 3, 4)], {"axes": axes}
    yield ops.broadcast_to, [f(3, 1)], {"shape": (2, 3, 4)}
    yield ops.broadcast_to, [f()], {"shape": (2,)}
    yield ops.slice, [f(5, 6)], {"start": (1, 0), "size": (2, 3), "step": (2, 2)}
    yield ops.slice, [f(5, 6)], {"start": (4, 5), "size": (5, 3), "step": (-1, -2)}
    yield ops.slice, [f(5, 6)], {"start": (0, 3), "size": (0, 2)}
    yield ops.slice, [f(5, 6)], {"start": (1, 3), "size": (3, 2)}
    yield ops.pad, [f(2, 3), f()], {"low": (1, 0), "high": (2, 3)}
    yield ops.concatenate, [f(2, 3), f(2, 1), f(2, 2)], {"axis": 1}
    yield ops.concatenate, [f(2, 3), f(1, 3)], {"axis": 0}
    yield ops.update_slice, [f(5, 6), f(2, 3)], {"start": (1, 0), "step": (2, 2)}
    yield ops.update_slice, [f(5), f(2)], {"start": (3,)}
    for axis in ((0,), (1,), (0, 2), None):
        for op in (ops.sum, ops.prod, ops.max, ops.min):
            yield op, [f(3, 2, 4)], {"axis": axis}
        for op in (ops.any, ops.all):
            yield op, [i(2, 3, 2, 4)], {"axis": axis}
    for op in (ops.argmax, ops.argmin):
        yield op, [f(3, 4)], {"axis": 1}
    yield ops.matmul, [f(3, 4), f(4, 2)], {}
    yield ops.matmul, [f(2, 1, 3, 4), f(5, 4, 2)], {}
    yield ops.gather, [f(4, 5, 3), i(5, 2, 6)], {"axes": (1,)}
    yield ops.gather, [f(4, 5), i(5, 6), i(4, 6)], {"axes": (1, 0)}
    yield ops.gather, [f(4, 5), i(4)], {"axes": (0,)}
    own = [np.broadcast_to(np.arange(n).reshape([-1 if k == a else 1 for k in range(2)]), (4, 2)) for a, n in ((0, 4),)]
    yield ops.gather, [f(4, 5), own[0], i(5, 4, 2)], {"axes": (0, 1), "along": 1}
    for op in (ops.scatter_add, ops.scatter_set):
        yield op, [f(4, 3), f(6, 4), i(3, 6)], {"axes": (1,)}
        yield op, [f(4, 3), f(2, 5), i(4, 2, 5), i(3, 2, 5)], {"axes": (0, 1)}
    for op in (ops.cumsum, ops.cumprod, ops.cummax, ops.cummin):
        yield op, [f(3, 5)], {"axis": 1}
        yield op, [f(4)], {"axis": 0}
    yield ops.linear_recurrence, [f(3, 5) / 3, f(3, 5)], {"axis": 1}
    yield ops.sort, [f(3, 5)], {"axis": 1}
    yield ops.sort, [f(3, 5)], {"axis": 0}
    yield ops.argsort, [f(3, 5)], {"axis": 0}
    yield ops.solve, [f(4, 4), f(4, 2)], {}
    yield ops.solve, [f(4, 4), f(2, 4, 1)], {}
    yield ops.solve, [f(3, 1, 4, 4), f(2, 4, 1)], {}
    yield ops.inv, [f(2, 3, 3)], {}
    yield ops.det, [f(2, 3, 3)], {}
    yield ops.slogdet, [f(2, 3, 3)], {}
    yield ops.cholesky, [np.eye(3) + 0 * f(2, 3, 3)], {}
    for shape in ((4, 4), (2, 5, 3), (2, 3, 5)):
        yield ops.qr, [f(*shape)], {"complete": False}
        yield ops.svd, [f(*shape)], {"full_matrices": False}
    yield ops.eigh, [f(2, 4, 4)], {"lower": True}
    yield ops.eigh, [f(2, 4, 4)], {"lower": False}
    yield ops.threefry, [i(9, 3).astype(np.uint64), i(99, 3).astype(np.uint64)], {}
    for side in ("left", "right"):
        yield ops.searchsorted, [np.sort(i(9, 8)).astype(float), i(9, 3, 4).astype(float)], {"side": side}


CASES = list(cases())
IDS = [f"{op.name}-{k}" for k, (op, _, _) in enumerate(CASES)]


def test_every_op_has_a_case():
    covered = {op.name for op, _, _ in CASES} | {op.name for op in ELEMENTWISE} | {"iota"}
    kinds = (Elementwise, Reduction, Movement, Gather, Contraction, Creation, Call)
    assert {op.name for op in OPS.values() if isinstance(op, kinds) and op.__module__.startswith("jitnet.ops")
            and not op.__module__.endswith(("control", "loops"))} <= covered


@pytest.mark.parametrize("op, arrays, params", CASES, ids=IDS)
def test_values_and_rules(op, arrays, params):
    expected = op.evaluate(arrays, testing.canonical(op, arrays, params))
    expected = expected if op.multiple_outputs else expected[0]
    if isinstance(op, Reduction) and op.dtypes == "bool":
        expected = expected.astype(bool)
    testing.check_values(op, arrays, params, expected)
    if op is ops.prod:
        arrays[0][0, 0, 0] = 0
    if op not in (ops.cast, ops.cholesky, ops.eigh):   # of matrices that change symmetrically: tests/numpy/test_linalg.py
        testing.check_rules(op, arrays, params)


@pytest.mark.parametrize("op, arrays, params", CASES, ids=IDS)
def test_batch_rules(op, arrays, params):
    if op is ops.searchsorted:
        arrays = [arrays[0], arrays[1]]
        rows = np.stack([np.sort(arrays[0]), np.sort(arrays[0] * 2), np.sort(arrays[0] - 1)])
        for batched, xs in (((True, False), [rows, arrays[1]]), ((False, True), [arrays[0], np.stack([arrays[1]] * 3)])):
            found = op.batch(3, xs, batched, params)[0]
            pick = lambda k, xs=xs, batched=batched: [x[k] if b else x for x, b in zip(xs, batched)]
            np.testing.assert_array_equal(found, np.stack([np.searchsorted(*pick(k), **params) for k in range(3)]))
        return
    if op is ops.cholesky:   # elements in another order are not positive definite
        matrices = 4 * np.eye(3) + np.random.default_rng(0).random((3, 2, 3, 3))
        np.testing.assert_array_equal(op.batch(3, [matrices], [True], {})[0], np.linalg.cholesky(matrices))
        return
    testing.check_batch(op, arrays, params)


MOVED = [c for c in CASES if isinstance(c[0], Movement) and c[0].index_map is not None]


@pytest.mark.parametrize("op, arrays, params", MOVED, ids=[f"{c[0].name}-{k}" for k, c in enumerate(MOVED)])
def test_index_maps(op, arrays, params):
    affine = testing.check_index_map(op, arrays[0], params)
    assert affine or (op is ops.reshape and params["shape"] in ((6, 4), (2, 12), (24,), (0, 3)))


def test_index_maps_on_random_shapes(rng):
    for _ in range(60):
        shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(0, 4)))
        x = rng.normal(size=shape)
        testing.check_index_map(ops.transpose, x, {"axes": tuple(int(a) for a in rng.permutation(len(shape)))})
        testing.check_index_map(ops.reshape, x, {"shape": (-1, *shape[2:])} if len(shape) > 1 else {"shape": (1, -1)})
        step = [int(rng.choice([-2, -1, 1, 2])) for _ in shape]
        start = [int(rng.integers(0, n)) for n in shape]
        size = [int(rng.integers(0, 1 + (s // -k + 1 if k < 0 else (n - 1 - s) // k + 1))) for n, s,
                k in zip(shape, start, step)]
        testing.check_index_map(ops.slice, x, {"start": tuple(start), "size": tuple(size), "step": tuple(step)})
        wide = (2, *(3 if n == 1 else n for n in shape))
        testing.check_index_map(ops.broadcast_to, x, {"shape": wide})


def test_iota():
    for dtype in (I64, F32):
        graph = testing.op_graph(ops.iota, [], {"shape": (2, 3), "axis": 1, "dtype": dtype})
        np.testing.assert_array_equal(graph()[0], np.array([[0, 1, 2], [0, 1, 2]], dtype))


@pytest.mark.parametrize("op", [ops.sum, ops.prod, ops.max, ops.min, ops.any, ops.all, ops.argmax, ops.argmin],
                         ids=lambda op: op.name)
def test_reduction_dtypes(op):
    rng = seeded(op.name, "dtypes")
    for dtype in DTYPES.values():
        x = draw(rng, (-2, 2), dtype)
        numpy = getattr(np, op.name)
        tolerance = {F16: 2e-3, BF16: 2e-2}.get(dtype, 1e-5)   # NumPy rounds a half after each step
        testing.check_values(op, [x], {"axis": (1,)}, numpy(x, axis=1), rtol=tolerance)


def test_indices_out_of_bounds():
    x, v = np.zeros((3, 4)), np.zeros(1)
    for bad in (-1, 4):
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 1 with size 4"):
            ops.gather(x, np.array([bad]), axes=(1,))
        with pytest.raises(IndexError):
            ops.scatter_add(x, np.zeros((1, 3)), np.array([bad]), axes=(1,))
    assert ops.gather(v, np.zeros((0,), np.int64), axes=(0,)).shape == (0,)


# The tester, tested

def test_planted_wrong_rules_are_found():
    def wrong(x):
        """sin with the derivative of something else."""
        return np.sin(x)

    op = Elementwise(wrong, "sin_({x})", dtypes="float", jvp=(lambda t, out, x: t * np.cos(1.001 * x),),
                     samples=between(-2, 2), register=False)
    x = np.linspace(0.5, 2, 5)
    with pytest.raises(AssertionError, match="jvp against finite differences"):
        testing.check_rules(op, [x], {})

    def tilted(x, *, axes):
        """transpose with a wrong index map, vjp and batch rule."""
        return np.transpose(x, axes)

    bad = Movement(tilted, type_rule=ops.transpose.type_rule, index_map=lambda index, t, p: [index[k] for k in p["axes"]],
                   jvp="linear",
                   vjp=lambda ct, out, x, axes: np.transpose(ct, axes), register=False,
                   batch=lambda size, inputs, batched,
                   p: [ops.transpose(inputs[0], axes=(0, *(a + 1 for a in reversed(p["axes"]))))])
    cube = np.arange(27.0).reshape(3, 3, 3)
    for check in (testing.check_rules, testing.check_index_map, testing.check_batch):
        with pytest.raises(AssertionError):
            check(bad, [cube] if check is not testing.check_index_map else cube, {"axes": (1, 2, 0)})
    assert isinstance(bad, Op)


@pytest.mark.parametrize("planted", ["forward", "reverse"])
def test_check_grads_finds_a_planted_rule(planted, monkeypatch):
    x = np.linspace(0.2, 0.9, 4)
    testing.check_grads(lambda x: np.tanh(x) * x, [x], order=2)
    monkeypatch.setattr(ops.tanh, "jvp_rule", (lambda t, out, x: t * (1 - out),))
    with pytest.raises(AssertionError, match=f"{planted} derivative"):
        testing.check_grads(lambda x: np.tanh(x) * x, [x], modes=(planted,))
