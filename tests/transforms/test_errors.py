"""Whole messages of derivative errors, and a wrong rule that is found."""
import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.errors import DerivativeError, JitnetError
from jitnet.op_kinds import between, elementwise, reduction
from jitnet.testing import check_grads

X = np.array([1.0, 2.0])


def loss(x, y=1.0):
    return (x * x).sum()


def vector(x):
    return x * x


CASES = {
    "no scalar": (lambda: jitnet.grad(vector)(X), "grad: `vector` returns f64[2], and only a real scalar has a gradient",
                  "sum or average it, or use `jacrev`"),
    "integer output": (lambda: jitnet.value_and_grad(lambda x: x.astype(np.int64))(1.0),
                       "value_and_grad: `<lambda>` returns i64[], and only a real scalar has a gradient",
                       "convert it with `astype(np.float64)`"),
    "container output": (lambda: jitnet.grad(lambda x: (x, {"a": x}))(1.0),
                         "grad: `<lambda>` returns (*, {'a': *}), and only a real scalar has a gradient",
                         "return one number; what else is of use can come as aux with `has_aux=True`"),
    "integer input": (lambda: jitnet.grad(loss)(np.arange(3)),
                      "grad: argument 0 of `loss` is i64[3], and only floats have a derivative",
                      "convert it with `astype(np.float64)`, or differentiate with respect to other arguments"),
    "integer leaf": (lambda: jitnet.grad(lambda p: p["w"][0])({"w": [1.0, True]}),
                     "grad: argument 0['w'][1] of `<lambda>` is b1[], and only floats have a derivative",
                     "convert it with `astype(np.float64)`, or differentiate with respect to other arguments"),
    "argnums too large": (lambda: jitnet.grad(loss, 2)(X, 1.0),
                          "grad: argnums names argument 2, and `loss` was given 2 positional arguments",
                          "count positional arguments from 0; arguments passed by keyword cannot be differentiated"),
    "argnums of a keyword": (lambda: jitnet.jacrev(loss, (0, 1))(X, y=1.0),
                             "jacrev: argnums names argument 1, and `loss` was given 1 positional argument",
                             "count positional arguments from 0; arguments passed by keyword cannot be differentiated"),
    "argnums of a wrong kind": (lambda: jitnet.grad(loss, "x")(X), "grad: argnums must be integers, not 'x'",
                                "give the positions of the arguments, such as `argnums=(0, 1)`"),
    "no aux": (lambda: jitnet.grad(loss, has_aux=True)(X),
               "grad: with has_aux=True, `loss` must return a pair (output, aux), not a Tracer",
               "return `output, aux`, or leave has_aux out"),
    "no array": (lambda: jitnet.grad(lambda x: "text")(1.0), "`<lambda>` returns a str, which is no array",
                 "return arrays, numbers, or tuples, lists, dicts and dataclasses of them"),
    "argument that is no array": (lambda: jitnet.grad(loss)("text"), "grad: an argument is a str, not an array or a number",
                                  "pass arrays, numbers, or tuples, lists, dicts and dataclasses of them"),
    "integer output of jacfwd": (lambda: jitnet.jacfwd(lambda x: {"n": x.astype(np.int32)})(X),
                                 "jacfwd: output['n'] of `<lambda>` is i32[2], and only floats have a derivative",
                                 "return it as aux with `has_aux=True`, or convert it with `astype(np.float64)`"),
    "shape of a tangent": (lambda: jitnet.jvp(vector, (X,), (np.ones(3),)),
                           "jvp: argument 0 of `vector` is f64[2], and its tangent is f64[3]",
                           "a tangent has the shape and dtype of its value"),
    "dtype of a tangent": (lambda: jitnet.jvp(vector, (X,), (X.astype(np.float32),)),
                           "jvp: argument 0 of `vector` is f64[2], and its tangent is f32[2]",
                           "a tangent has the shape and dtype of its value"),
    "number of tangents": (lambda: jitnet.jvp(vector, (X,), (X, X)),
                           "jvp: the tangents are nested as (*, *), the primals as (*,)",
                           "give one tangent per primal, in the same containers"),
    "tangent of an integer": (lambda: jitnet.jvp(lambda x, n: x * n, (X, 3), (X, 1)),
                              "jvp: argument 1 of `<lambda>` is i64[], which has no tangent",
                              "close over it: `jvp(lambda x: f(x, n), ...)`"),
    "primals that are no tuple": (lambda: jitnet.jvp(vector, X, X),
                                  "jvp: primals and tangents must be tuples or lists, one entry per argument",
                                  "write `jvp(f, (x,), (t,))`"),
    "shape of a cotangent": (lambda: jitnet.vjp(vector, X)[1](np.ones(3)),
                             "vjp: the output of `vector` is f64[2], and its cotangent is f64[3]",
                             "a cotangent has the shape and dtype of its value"),
    "dtype of a cotangent": (lambda: jitnet.vjp(lambda x: {"y": x}, X)[1]({"y": np.ones(2, np.float32)}),
                             "vjp: output['y'] of `<lambda>` is f64[2], and its cotangent is f32[2]",
                             "a cotangent has the shape and dtype of its value"),
    "containers of a cotangent": (lambda: jitnet.vjp(lambda x: {"y": x}, X)[1](X),
                                  "vjp: the cotangent is nested as *, the output of `<lambda>` as {'y': *}",
                                  "give one cotangent per output, in the same containers"),
    "sizes under vmap": (lambda: jitnet.vmap(lambda x, p: x)(np.ones(2), {"w": np.ones(3)}),
                         "vmap: the mapped axes of `<lambda>` differ in size: argument [0] has 2, argument [1]['w'] has 3",
                         "map over axes of equal size, or pass None in in_axes for what is the same for all"),
    "no axis under vmap": (lambda: jitnet.vmap(vector)(1.0),
                           "vmap: argument [0] of `vector` is f64[], which has no axis to map over",
                           "pass an array with a batch axis, or None in in_axes for this argument"),
    "nothing mapped": (lambda: jitnet.vmap(vector, in_axes=None)(X), "vmap: no argument of `vector` is mapped over",
                       "give at least one argument an axis in in_axes"),
    "in_axes of a wrong length": (lambda: jitnet.vmap(vector, in_axes=(0, 0))(X),
                                  "vmap: in_axes has 2 entries, and `vector` was given 1 argument",
                                  "give in_axes one entry per argument, or one number for all"),
    "in_axes of a wrong container": (lambda: jitnet.vmap(vector, in_axes=({"a": 0},))([X]),
                                     "vmap: in_axes {'a': 0} does not fit the container [*]",
                                     "nest the axes like the container, or give one axis for all of it"),
    "out_axes of a mapped output": (lambda: jitnet.vmap(lambda x: {"y": x}, out_axes=None)(X),
                                    "vmap: output['y'] of `<lambda>` depends on mapped arguments, and out_axes says None",
                                    "give this output an axis in out_axes"),
    "a write into an argument": (lambda: jitnet.grad(writes)(X),
                                 "`writes` writes into its argument 0, which a transformed function cannot do",
                                 "copy it first: `x = x.copy()`"),
}


def writes(x):
    x[0] = 0
    return x.sum()


@pytest.mark.parametrize("name", CASES)
def test_messages(name):
    call, what, hint = CASES[name]
    with pytest.raises(JitnetError) as caught:
        call()
    assert (caught.value.what, caught.value.hint) == (what, hint)
    lines = str(caught.value).split("\n")
    assert len(lines) == 3 and lines[1].startswith("  test_errors.py:")


def test_after_an_error_nothing_is_left_over():
    from jitnet.tracer import current_trace

    with pytest.raises(DerivativeError):
        jitnet.grad(vector)(X)
    assert current_trace() is None
    np.testing.assert_array_equal(jitnet.grad(loss)(X), 2 * X)


@elementwise("sin_({x})", dtypes="float", jvp=(lambda t, out, x: t * ops.cos(x) * 1.001,), samples=between(-3, 3),
             register=False)
def wrong_sine(x):
    """sin(x) with a derivative that is off by a thousandth."""
    return np.sin(x)


@jitnet.custom_jvp
def first_order_sine(x):
    """sin(x) whose derivative is right and has itself none."""
    return np.sin(x)


first_order_sine.defjvp(lambda primals, tangents: (np.sin(primals[0]), tangents[0] * jitnet.stop_gradient(np.cos(primals[0]))))


@reduction("add_reduce_", identity=lambda dtype: 0, jvp=lambda t, out, x, axis: t, vjp=lambda ct, out, x, axis: ct,
           samples=between(-3, 3),
           register=False)
def wrong_sum(x, *, axis=None):
    """A sum whose rules forget that axes vanish."""
    return np.sum(x, axis=axis)


def test_a_wrong_rule_is_found():
    check_grads(np.sin, (X,), order=2)
    check_grads(first_order_sine, (X,))
    for mode in ("forward", "reverse"):
        with pytest.raises(AssertionError, match=f"{mode} derivative of `wrong_sine`"):
            check_grads(wrong_sine, (X,), modes=(mode,))
        with pytest.raises(AssertionError, match=r"derivative of `(jvp|vjp) of first_order_sine`"):
            check_grads(first_order_sine, (X,), order=2, modes=(mode,))


def test_a_rule_of_a_wrong_shape_is_named():
    with pytest.raises(DerivativeError, match=r"wrong_sum: its vjp rule gives f64\[\] for an input of type f64\[2\]"):
        jitnet.grad(lambda x: wrong_sum(x))(X)
    with pytest.raises(DerivativeError, match=r"wrong_sum: its jvp rule gives f64\[2\] for an output of type f64\[\]"):
        jitnet.jvp(lambda x: wrong_sum(x), (X,), (X,))
