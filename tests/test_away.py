"""Calls with Arrays on a GPU alone: whatever the containers, arguments and results are those of the ordinary way."""
import collections
import dataclasses
import gc

import numpy as np
import pytest

import jitnet
from jitnet import away, errors, tree
from jitnet.testing_gpu import fake_gpus

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Layer:
    w: object
    b: object


def on_gpu(*shape):
    return jitnet.asarray(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), device="gpu")


@pytest.fixture
def driver():
    with fake_gpus() as made:
        yield made


CONTAINERS = [
    lambda a, b: (a, b), lambda a, b: ([a, (b,)],), lambda a, b: ({"w": a, "b": b}, None), lambda a, b: ((), [a], {}, [[b]]),
    lambda a, b: (collections.OrderedDict([(2, a), ("x", b)]),), lambda a, b: (Pair(a, (b, None)),),
    lambda a, b: (Layer(a, [b]),), lambda a, b: (collections.defaultdict(list, x=a, y=b),),
]


@pytest.mark.parametrize("make", CONTAINERS)
def test_containers_go_in_and_come_out(driver, make):
    f = jitnet.jit(lambda *args: tree.map(lambda x: x + 1, args))
    for k in range(4):
        a, b = on_gpu(3) * k, on_gpu(2, 2)
        out = f(*make(a, b))
        leaves, structure = tree.flatten(out)
        assert structure == tree.structure(make(a, b)) and all(type(x) is jitnet.Array for x in leaves)
        for got, x in zip(leaves, tree.leaves(make(a, b)), strict=True):
            np.testing.assert_array_equal(got.numpy(), x.numpy() + 1)
    assert f.traces == 1


def test_what_is_not_alike_goes_another_way(driver):
    f = jitnet.jit(lambda x, y=None: tree.map(lambda a: a * 2, (x, y)))
    a, b = on_gpu(3), on_gpu(2)
    for x in ([a, b], (a, b), [a], [b, a], {"x": a, "y": b}, {"y": b, "x": a}, Pair(a, b), a, None):
        for _ in range(2):
            assert type(f(x)[0]) is type(x) and f(x)[1] is None
    assert list(f({"y": b, "x": a})[0]) == ["y", "x"] and list(f({"x": a, "y": b})[0]) == ["x", "y"]
    np.testing.assert_array_equal(f(a, y=b)[1].numpy(), [0, 2])
    np.testing.assert_array_equal(f([a, a.numpy()])[0][1].numpy(), [0, 2, 4])   # a NumPy array among them
    host = jitnet.asarray([1.0])
    assert f(host)[0].device == jitnet.cpu() and f([3.0])[0][0].device == jitnet.cpu()
    with pytest.raises(TypeError, match="too many positional arguments"):
        f(a, b, a)
    with pytest.raises(jitnet.errors.DeviceError, match="does not go together"):
        f([a, host])


def test_methods_and_static_arguments(driver):
    class Model:
        def __init__(self, w):
            self.w = w

        @jitnet.jit
        def __call__(self, x):
            return x * self.w

    power = jitnet.jit(lambda x, n: x ** n, static_argnames="n")
    a = on_gpu(3)
    for k in (2, 3, 2):
        np.testing.assert_array_equal(Model(on_gpu(3) * k)(a).numpy(), [0, k, 4 * k])
        np.testing.assert_array_equal(power(a, k).numpy(), [0, 1, 2 ** k])


def test_inside_a_trace_it_is_part_of_that_trace(driver):
    f = jitnet.jit(lambda x: x + 1)
    a = on_gpu(3)
    f(a), f(a)
    np.testing.assert_array_equal(jitnet.jit(lambda x: f(x) + f(a))(a).numpy(), [2, 4, 6])


def test_the_function_is_taken_apart_without_flattening(driver, monkeypatch):
    f = jitnet.jit(lambda layers, x: [(x @ w + b, w) for w, b in layers])
    layers, x = [(on_gpu(3, 2), on_gpu(2)), (on_gpu(3, 4), on_gpu(4))], on_gpu(2, 3)
    want = f(layers, x)
    monkeypatch.setattr(tree, "flatten", None)
    out = f(layers, x)
    assert type(out) is list and type(out[1]) is tuple
    np.testing.assert_array_equal(out[1][0].numpy(), want[1][0].numpy())


def test_forgotten_programs_are_made_again(driver):
    f = jitnet.jit(lambda x: x + 1)
    f(on_gpu(3)), f(on_gpu(3))
    f.clear()
    gc.collect()
    np.testing.assert_array_equal(f(on_gpu(3)).numpy(), [1, 2, 3])
    assert f.traces == 1


def test_containers_that_are_too_large_go_the_ordinary_way(driver, monkeypatch):
    monkeypatch.setattr(away, "MOST_LEAVES", 2)
    f = jitnet.jit(lambda xs: [x + 1 for x in xs])
    for _ in range(3):
        assert [float(x[1]) for x in f([on_gpu(2)] * 3)] == [2, 2, 2]


def test_numbers_go_the_short_way(driver):
    """One that comes again stays on the device; one that changes is copied there, and neither is anybody else's."""
    f = jitnet.jit(lambda x, a, k, flag: x * a + k + flag)
    x = on_gpu(3)
    for _ in range(4):
        np.testing.assert_array_equal(f(x, 0.5, 2, True).numpy(), [3, 3.5, 4])
    copies = driver.calls["copy"]
    f(x, 0.5, 2, True)
    assert driver.calls["copy"] == copies
    for a in (0.25, 0.125, -0.0, 0.0, float("inf"), 2.0):
        np.testing.assert_array_equal(f(x + 1, a, -1, False).numpy(), (x.numpy() + 1) * np.float32(a) - 1)
    assert f.traces == 1
    signs = jitnet.jit(lambda x, a: np.copysign(x, a))
    for a in (0.0, -0.0, 0.0, -0.0, 0.0, -0.0):
        np.testing.assert_array_equal(signs(x + 1, a).numpy(), np.copysign([1, 2, 3], a))


def test_other_classes_of_numbers_are_other_programs(driver):
    f = jitnet.jit(lambda x, a: x * a)
    x = jitnet.asarray(np.arange(3), device="gpu")
    for a, dtype in ((2, np.int64), (2.0, np.float64), (True, np.int64), (np.float32(2), np.float64)) * 3:
        got = f(x, a)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.numpy(), np.arange(3) * a)
    with pytest.raises(errors.TraceValueError, match="does not fit into 64 bits"):
        f(x, 1 << 70)
    small = jitnet.jit(lambda x, a: x + a)
    bytes_ = jitnet.asarray(np.arange(3, dtype=np.int8), device="gpu")
    for _ in range(3):
        np.testing.assert_array_equal(small(bytes_, 5).numpy(), [5, 6, 7])
        with pytest.raises(errors.TraceOverflowError, match="out of bounds for int8"):
            small(bytes_, 300)


def test_many_numbers(driver):
    f = jitnet.jit(lambda x, *numbers: x + sum(numbers))
    x = on_gpu(2)
    for first in range(0, 2000, 50):
        numbers = [float(k) for k in range(first, first + 50)]
        for _ in range(2):
            np.testing.assert_array_equal(f(x, *numbers).numpy(), np.arange(2) + sum(numbers))
    gpu = x._data.gpu
    assert len(gpu.numbers) <= 256 and len(gpu.seen) <= 256


def test_numbers_that_a_function_writes_into_stay_inside(driver):
    def f(x, a):
        a += 1
        x *= a
    compiled, x, number = jitnet.jit(f), on_gpu(3), 2.0
    for _ in range(3):
        compiled(x, number)
    np.testing.assert_array_equal(x.numpy(), [0, 27, 54])
    np.testing.assert_array_equal(jitnet.jit(lambda x, a: x + a)(x, number).numpy(), [2, 29, 56])
