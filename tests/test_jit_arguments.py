"""jit: arguments of every kind: weak scalars, defaults, static values, what is written in place, and what does not fit."""
import types

import numpy as np
import pytest

import jitnet
from jitnet import errors

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def whole(error) -> str:
    """The message without the middle line, which names a line of this file."""
    lines = str(error.value).split("\n")
    return "\n".join(line for line in lines if "test_jit_arguments.py" not in line)


@jitnet.jit
def scale(x, factor=2.0, *, shift=0.0):
    return x * factor + shift


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "u4", "u8", "i8", "?", "f4"])
def test_a_python_integer_beyond_the_range_of_an_array_compares_as_in_numpy(dtype):
    x = np.array([0, 1, 3], dtype)
    compare = lambda x, n: (x < n, x <= n, x > n, x >= n, x == n, x != n, n < x, n == x)
    compiled = jitnet.jit(compare)
    for n in (-1, 0, 1, 255, 300, -200, 2**32, 2**40, -2**40):
        for got, want in zip(compiled(x, n), compare(x, n), strict=True):
            np.testing.assert_array_equal(got, want, err_msg=str(n), strict=True)


def test_python_scalars_stay_weak():
    assert scale(X, 3).dtype == np.float32
    assert scale(X, 3.5).dtype == np.float32
    assert scale(np.arange(3), 3).dtype == np.float64  # the shift is a float
    assert jitnet.jit(lambda x, y: x * y)(np.arange(3, dtype=np.int8), 3).dtype == np.int8
    assert jitnet.jit(lambda x, y: x * y)(X, np.float64(3)).dtype == np.float64


def test_defaults_and_keywords_bind_as_in_python():
    f = jitnet.jit(lambda x, y, z=1.0: x - y * z)
    x, y = X, X + 1
    for args, kwargs in [((x, y), {}), ((x,), {"y": y}), ((), {"y": y, "x": x}), ((x, y), {"z": 3.0}), ((x, y, 3.0), {})]:
        np.testing.assert_allclose(f(*args, **kwargs), f.__wrapped__(*args, **kwargs))
    assert f.traces == 2  # with z and without
    assert scale(X, shift=1.0)[0, 0] == 1
    np.testing.assert_allclose(jitnet.jit(lambda *xs, **named: xs[1] - named["k"])(X, X, k=X), 0)


def test_wrong_arguments_are_pythons_own_errors():
    with pytest.raises(TypeError, match=r"scale\(\) got an unexpected keyword argument 'size'"):
        scale(X, size=2)
    with pytest.raises(TypeError, match=r"scale\(\) missing a required argument: 'x'"):
        scale()


def test_arrays_that_are_not_contiguous_aligned_or_native():
    x = np.arange(24, dtype=np.float64).reshape(4, 6)
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(x.shape)
    raw[...] = x
    for array in (x[::2, ::-1], x.T, np.asfortranarray(x), x.astype(">f8"), raw, x[:0], x[:, 1:2]):
        for _ in range(2):
            np.testing.assert_array_equal(scale(array), array * 2.0)


def test_static_arguments():
    @jitnet.jit(static_argnames=("power", "mode"))
    def f(x, power, mode="up"):
        for _ in range(power):
            x = x * x
        return x if mode == "up" else -x

    np.testing.assert_allclose(f(X, 2), X ** 4)
    np.testing.assert_allclose(f(X, power=2, mode="down"), -X ** 4)
    np.testing.assert_allclose(f(X, 1, "down"), -X ** 2)
    assert f.traces == 3
    f(X, 2), f(X, power=2), f(power=2, x=X)
    assert f.traces == 3
    g = jitnet.jit(lambda x, n: x * n, static_argnums=1)
    assert g(X, 2).dtype == np.float32 and g(X, 2.0).dtype == np.float32
    assert g(np.arange(3), 2).dtype == np.int64 and g(np.arange(3), 2.0).dtype == np.float64  # 2 and 2.0 differ
    assert jitnet.jit(lambda x, n: x * n, static_argnums=(-1,))(X, 3)[1, 2] == 15


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_static_floats_are_told_apart_by_their_bits(kind):
    f = jitnet.jit(lambda x, n: x * n, static_argnames="n")
    signs = [bool(np.signbit(f(X, kind(n))[1, 2])) for n in (0.0, -0.0, 0.0)]
    assert signs == [False, True, False] and f.traces == 2
    assert np.isnan(f(X, kind("nan"))).all() and np.isnan(f(X, kind("nan"))).all() and f.traces == 3


def test_static_arguments_that_do_not_fit():
    f = jitnet.jit(lambda x, n: x * len(n), static_argnames="n")
    assert f(X, (1, 2))[0, 1] == 2
    with pytest.raises(errors.StaticArgumentError) as error:
        f(X, [1, 2])
    assert whole(error) == ("<lambda>: the static argument `n` is a list, which cannot be hashed\n"
                            "  pass a tuple instead of a list")
    assert f.traces == 1
    with pytest.raises(errors.StaticArgumentError) as error:
        jitnet.jit(lambda x, n: x, static_argnames="m")
    assert whole(error) == "jit: `<lambda>` has no parameter 'm' that could be static\n  its parameters are x, n"
    with pytest.raises(errors.StaticArgumentError) as error:
        jitnet.jit(lambda x, n: x, static_argnums=2)
    assert whole(error) == ("jit: `<lambda>` has no positional parameter number 2 that could be static\n"
                            "  its positional parameters are x, n")


@pytest.mark.parametrize("argument, message", [
    ("abc", "scale: argument `x` is a str, which is no array and no number\n"
            "  name it in `static_argnames`, or pass an array, a number or a container of them"),
    ({"w": [X, object()]}, "scale: argument `x['w'][1]` is an object, which is no array and no number\n"
                           "  pass it as an argument of its own, named in `static_argnames`"),
    (1j, "scale: argument `x` is a complex number, which jitnet does not compile\n  pass real and imaginary parts apart"),
    (1 << 70, f"scale: argument `x` is {1 << 70}, which does not fit into 64 bits\n  pass a float"),
    (np.ma.masked_array(X), "scale: argument `x` is a masked array, which jitnet does not compile\n"
                            "  fill it first: `x.filled(0)`"),
    pytest.param(10 ** 5000, "scale: argument `x` is an integer of 16610 bits, which does not fit into 64 bits\n  pass a float",
                 id="digits"),
    (np.complex64([1]), "scale: argument `x`: jitnet does not compile the dtype complex64\n"
                        "  compute with real and imaginary parts apart"),
    (np.array(["a"]), "scale: argument `x`: jitnet does not compile the dtype <U1\n"
                      "  convert it with `astype` to one of b1, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64"),
    (jitnet.nd.ones(2), "scale: argument `x` is an NDArray, which `nd` and `autograd` compute with\n"
                        "  pass its values: `x.asnumpy()`"),
    (np.random.default_rng(0), "scale: argument `x` is a Generator of NumPy's, whose state compiled code cannot carry\n"
                               "  pass a `jitnet.random.Generator(seed)`: it draws as NumPy's does"),
    (types.SimpleNamespace(w=X), "scale: argument `x` is a SimpleNamespace, which is no array and no number\n"
                                 "  name it in `static_argnames`; if it holds arrays, make its class a dataclass, or "
                                 "`jitnet.tree.register` it"),
])
def test_arguments_that_do_not_fit(argument, message):
    before = scale.traces
    with pytest.raises(errors.JitnetError) as error:
        scale(argument)
    assert whole(error) == message
    assert scale.traces == before
    assert "test_jit_arguments.py" in str(error.value)


def test_arguments_written_in_place():
    @jitnet.jit
    def f(x, table):
        x += 1
        table["a"][1:] = 5
        return x * 2

    for make in (np.array, jitnet.asarray, lambda v: np.array(v)[::-1][::-1]):
        x, a, b = make([1.0, 2.0, 3.0]), make([0.0, 0.0, 0.0]), make([1.0])
        out = f(x, {"a": a, "b": b})
        np.testing.assert_array_equal(np.asarray(x), [2, 3, 4])
        np.testing.assert_array_equal(np.asarray(a), [0, 5, 5])
        np.testing.assert_array_equal(np.asarray(out), [4, 6, 8])
        np.testing.assert_array_equal(np.asarray(b), [1])


def test_in_place_through_strided_arguments():
    @jitnet.jit
    def f(x):
        x[0] = 9

    x = np.zeros((4, 4))
    f(x[:, 1])
    f(x[::2].T)
    want = np.zeros((4, 4))
    want[:, 1][0] = 9
    want[::2].T[0] = 9
    np.testing.assert_array_equal(x, want)


def test_in_place_arguments_that_cannot_be_written():
    @jitnet.jit
    def f(x, y):
        x += y

    x = np.zeros(4)
    f(x, x.copy())
    with pytest.raises(errors.TraceValueError) as error:
        f(x, x[::-1])
    assert whole(error) == ("f: argument `x` shares memory with `y`, and the function writes into it\n"
                            "  pass a copy of one of them: `x.copy()`")
    fixed = np.zeros(4)
    fixed.flags.writeable = False
    with pytest.raises(errors.TraceValueError) as error:
        f(fixed, x)
    assert whole(error) == "f: argument `x` is read-only, and the function writes into it\n  pass a copy: `x.copy()`"
    with pytest.raises(errors.TraceValueError) as error:
        f(np.lib.stride_tricks.as_strided(np.zeros(1), (4,), (0,)), x)
    assert whole(error) == ("f: argument `x` has elements in one place, and the function writes into it\n"
                            "  pass a copy: `x.copy()`")
    f(np.zeros((2, 0, 3)), np.zeros((2, 0, 3)))   # NumPy gives no elements strides of 0


def test_the_same_array_twice():
    np.testing.assert_array_equal(jitnet.jit(lambda x, y: x + y)(X, X), 2 * X)
    np.testing.assert_array_equal(jitnet.jit(lambda x, y: x + y)(X.T, X.T), 2 * X.T)
