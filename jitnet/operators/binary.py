"""Operators of the elements of two arrays, or of an array and a number.

Each function comes under three names: `elemwise_add` (or `_maximum`) wants arrays of one shape, `broadcast_add` broadcasts,
`_plus_scalar` takes a number, converted to the dtype of the array. The result has that dtype too, comparisons included.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import OperatorError
from . import infer
from .params import Scalar
from .registry import operator


def _keep(function: Callable) -> Callable:
    def keeping(x, y):
        out = function(x, y)
        return out if out.dtype == x.dtype else out.astype(x.dtype)
    return keeping


def same(function: Callable) -> Callable:
    """The function for arrays of one shape alone."""
    def body(lhs, rhs):
        if lhs.shape != rhs.shape:
            raise OperatorError(f"shapes differ: expected {infer.show(lhs.shape)}, got {infer.show(rhs.shape)}",
                                "the `broadcast_` form of the operator accepts them")
        return function(lhs, rhs)
    body.__doc__ = function.__doc__
    return body


def wide(function: Callable) -> Callable:
    """The function for arrays that broadcast."""
    def body(lhs, rhs):
        return function(lhs, rhs)
    body.__doc__ = function.__doc__
    return body


def like(x, scalar):
    """The number as one of the dtype of x: integers are cut off, not rounded."""
    if hasattr(scalar, "dtype"):
        return scalar.astype(x.dtype)
    return x.dtype.type(scalar if x.dtype.kind == "f" else int(scalar))


def outer_size(arrays, params) -> int:
    """Elements of two arrays broadcast against each other, an upper bound."""
    x, y = arrays
    return 0 if x.shape == y.shape else x.size * y.size


def with_number(function: Callable, reflected: bool = False) -> Callable:
    """The function of an array and a number."""
    def body(data, *, scalar):
        scalar = like(data, scalar)
        out = function(scalar, data) if reflected else function(data, scalar)
        return out if out.dtype == data.dtype else out.astype(data.dtype)
    body.__doc__ = function.__doc__
    return body


def binary(function: Callable, doc: str, same_names: Sequence[str], wide_names: Sequence[str], scalar_names: Sequence[str] = (),
           reflected_names: Sequence[str] = ()) -> None:
    """Registers a function of two arrays under its names; the first of each group is the one that JSON holds."""
    keeping = _keep(function)
    keeping.__doc__ = doc
    if same_names:
        operator(same_names[0], aliases=same_names[1:], shape_rule=infer.elementwise)(same(keeping))
    if wide_names:
        wide_fields = {"shape_rule": infer.broadcast, "growth": outer_size, "method": True}
        operator(wide_names[0], aliases=wide_names[1:], **wide_fields)(wide(keeping))
    for names, turned in ((scalar_names, False), (reflected_names, True)):
        if names:
            body = with_number(function, turned)
            body.__doc__ = doc
            operator(names[0], params={"scalar": Scalar()}, aliases=names[1:], shape_rule=infer.elementwise)(body)


def _divide(x, y):
    if x.dtype.kind == "f":
        return np.true_divide(x, y)
    return (x - np.fmod(x, y)) // y  # towards 0, as C does


def _remainder(x, y):
    nothing = np.equal(y, 0)
    return np.where(nothing, 0, np.remainder(x, np.where(nothing, 1, y))).astype(x.dtype)


def _first_wins(function: Callable, wins: Callable) -> Callable:
    """The extreme of two arrays, whose derivative goes to the first one where both are equal. NaN stays."""
    def chosen(x, y):
        if type(x) is np.ndarray:
            return function(x, y)
        return np.where(wins(x, y) | np.not_equal(x, x), x, y)
    return chosen


def _truth(function: Callable) -> Callable:
    return lambda x, y: function(np.not_equal(x, 0), np.not_equal(y, 0))


def _comparison(function: Callable, name: str, camel: str, doc: str) -> None:
    scalar_names = f"_{name}_scalar", f"_{camel.replace('_', '')}Scalar"
    binary(function, doc, (f"_{name}", f"_{camel}"), (f"broadcast_{name}",), scalar_names)


binary(np.add, "Sum.", ("elemwise_add", "_plus", "_Plus", "_add", "_grad_add"), ("broadcast_add", "broadcast_plus"),
       ("_plus_scalar", "_PlusScalar"))
binary(np.subtract, "Difference.", ("elemwise_sub", "_minus", "_Minus", "_sub"), ("broadcast_sub", "broadcast_minus"),
       ("_minus_scalar", "_MinusScalar"), ("_rminus_scalar", "_RMinusScalar"))
binary(np.multiply, "Product.", ("elemwise_mul", "_mul", "_Mul"), ("broadcast_mul",), ("_mul_scalar", "_MulScalar"))
binary(_divide, "Quotient; that of integers is cut off towards 0.", ("elemwise_div", "_div", "_Div"), ("broadcast_div",),
       ("_div_scalar", "_DivScalar"), ("_rdiv_scalar", "_RDivScalar"))
binary(_remainder, "Remainder with the sign of the divisor; 0 for the divisor 0.", ("_mod", "_Mod"), ("broadcast_mod",),
       ("_mod_scalar", "_ModScalar"), ("_rmod_scalar", "_RModScalar"))
binary(np.power, "Power.", ("_power", "_Power"), ("broadcast_power",), ("_power_scalar", "_PowerScalar"),
       ("_rpower_scalar", "_RPowerScalar"))
binary(_first_wins(np.maximum, np.greater_equal), "The larger element; the derivative of equal ones goes to the first.",
       ("_maximum", "_Maximum"), ("broadcast_maximum",), ("_maximum_scalar", "_MaximumScalar"))
binary(_first_wins(np.minimum, np.less_equal), "The smaller element; the derivative of equal ones goes to the first.",
       ("_minimum", "_Minimum"), ("broadcast_minimum",), ("_minimum_scalar", "_MinimumScalar"))
binary(np.hypot, "sqrt(x * x + y * y).", ("_hypot", "_Hypot"), ("broadcast_hypot",), ("_hypot_scalar", "_HypotScalar"))
_comparison(np.equal, "equal", "Equal", "1 where the elements are equal, else 0.")
_comparison(np.not_equal, "not_equal", "Not_Equal", "1 where the elements differ, else 0.")
_comparison(np.greater, "greater", "Greater", "1 where the first is above the second, else 0.")
_comparison(np.greater_equal, "greater_equal", "Greater_Equal", "1 where the first is not below the second, else 0.")
_comparison(np.less, "lesser", "Lesser", "1 where the first is below the second, else 0.")
_comparison(np.less_equal, "lesser_equal", "Lesser_Equal", "1 where the first is not above the second, else 0.")
_comparison(_truth(np.logical_and), "logical_and", "Logical_And", "1 where both elements differ from 0, else 0.")
_comparison(_truth(np.logical_or), "logical_or", "Logical_Or", "1 where one of the elements differs from 0, else 0.")
_comparison(_truth(np.logical_xor), "logical_xor", "Logical_Xor", "1 where exactly one of the elements differs from 0, else 0.")


@operator("add_n", variadic="num_args", aliases=("ElementWiseSum", "element_wise_sum", "_sum_n"), shape_rule=infer.elementwise)
def add_n(*data, num_args):
    """The sum of any number of arrays of one shape."""
    total = data[0]
    for x in data[1:]:
        total = same(np.add)(total, x)
    return total if num_args > 1 else total.copy()
