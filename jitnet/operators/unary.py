"""Operators of each element of one array. Results have the dtype of the input: integers are computed and then truncated."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import ops
from ..nn import functional
from . import infer
from .params import DType, Float, Scalar
from .registry import operator


def relu(x):
    """functional.relu; of NumPy arrays by one call of NumPy's, which has no branch to mispredict as `where` has."""
    return np.maximum(x, zero(x)) if type(x) is np.ndarray else functional.relu(x)


def zero(x):
    """The 0 of the dtype of x."""
    return x.dtype.type(0)


def unary(name: str, function: Callable, doc: str, aliases: Sequence[str] = ()) -> None:
    """Registers an operator `name(data)` that computes `function` and keeps the dtype."""
    def body(data):
        out = function(data)
        return out if out.dtype == data.dtype else out.astype(data.dtype)
    body.__doc__ = doc
    operator(name, aliases=aliases, shape_rule=infer.elementwise, method=True)(body)


def _halfway_out(x):
    return np.where(x < 0, np.ceil(x - 0.5), np.floor(x + 0.5))


def _halfway_down(x):
    low, high = np.floor(x), np.ceil(x)
    return np.where(x - low <= high - x, low, high)


def _gamma(x):
    # Below 1/2 by reflection: gamma(x) gamma(1 - x) = pi / sin(pi x)
    mirrored = x < 0.5
    y = np.exp(ops.lgamma(np.where(mirrored, 1 - x, x)))
    out = np.where(mirrored, np.pi / (np.sin(np.pi * x) * y), y)
    return np.where((x < 0) & (x == np.floor(x)), np.asarray(np.nan, x.dtype), out)  # the poles: sin(pi x) is not quite 0


unary("abs", np.absolute, "Absolute value; the derivative at 0 is 0.", ("_abs",))
unary("arccos", np.arccos, "Angle in [0, pi] of a cosine.")
unary("arccosh", np.arccosh, "Inverse of the hyperbolic cosine.")
unary("arcsin", np.arcsin, "Angle in [-pi/2, pi/2] of a sine.")
unary("arcsinh", np.arcsinh, "Inverse of the hyperbolic sine.")
unary("arctan", np.arctan, "Angle in (-pi/2, pi/2) of a tangent.")
unary("arctanh", np.arctanh, "Inverse of the hyperbolic tangent.")
unary("cbrt", np.cbrt, "Cube root.")
unary("ceil", np.ceil, "The smallest integer that is not below.")
unary("cos", np.cos, "Cosine of an angle in radians.")
unary("cosh", np.cosh, "Hyperbolic cosine.")
unary("degrees", np.degrees, "Degrees of an angle in radians.")
unary("erf", ops.erf, "Error function.")
unary("erfinv", ops.erfinv, "Inverse of the error function.")
unary("exp", np.exp, "e to the power of each element.")
unary("expm1", np.expm1, "exp(x) - 1, precise near 0.")
unary("fix", np.trunc, "The nearest integer towards 0.")
unary("floor", np.floor, "The largest integer that is not above.")
unary("gamma", _gamma, "Gamma function.")
unary("gammaln", ops.lgamma, "Logarithm of the absolute value of the gamma function.")
unary("_copy", lambda x: x.copy(), "The values themselves, in a new array.", ("identity",))
unary("log", np.log, "Natural logarithm.")
unary("log10", np.log10, "Logarithm to base 10.")
unary("log1p", np.log1p, "log(1 + x), precise near 0.")
unary("log2", np.log2, "Logarithm to base 2.")
unary("logical_not", lambda x: x == 0, "1 where an element is 0, else 0.")
unary("negative", np.negative, "The elements with the other sign.", ("_np_negative",))
unary("radians", np.radians, "Radians of an angle in degrees.")
unary("rcbrt", lambda x: 1 / np.cbrt(x), "1 / cube root.")
unary("reciprocal", lambda x: 1 / x, "1 / x.")
unary("relu", relu, "x where it is above 0, else 0; the derivative at 0 is 0.")
unary("rint", _halfway_down, "The nearest integer; halves go down.")
unary("round", _halfway_out, "The nearest integer; halves go away from 0.")
unary("rsqrt", lambda x: 1 / np.sqrt(x), "1 / square root.")
unary("sigmoid", ops.sigmoid, "1 / (1 + exp(-x)).")
unary("sign", np.sign, "-1, 0 or 1.")
unary("sin", np.sin, "Sine of an angle in radians.")
unary("sinh", np.sinh, "Hyperbolic sine.")
unary("softsign", lambda x: x / (1 + np.absolute(x)), "x / (1 + |x|).")
unary("sqrt", np.sqrt, "Square root; the derivative at 0 is infinite.")
unary("square", np.square, "x * x.")
unary("tan", np.tan, "Tangent of an angle in radians.")
unary("tanh", np.tanh, "Hyperbolic tangent.")
unary("trunc", np.trunc, "The integer part.")


@operator("Cast", params={"dtype": DType()}, aliases=("cast",), type_rule=infer.forward_type, shape_rule=infer.elementwise)
def cast(data, *, dtype):
    """The elements converted to a dtype."""
    return data.astype(dtype)


@operator("hard_sigmoid", params={"alpha": Float(0.2), "beta": Float(0.5)}, shape_rule=infer.elementwise)
def hard_sigmoid(data, *, alpha, beta):
    """alpha * x + beta, kept within [0, 1]."""
    return np.minimum(np.maximum(data * alpha + beta, zero(data)), data.dtype.type(1))


@operator("clip", params={"a_min": Scalar(), "a_max": Scalar()}, shape_rule=infer.elementwise, method=True)
def clip(data, *, a_min, a_max):
    """The elements kept within [a_min, a_max]; the derivative is 1 between and at the edges."""
    dtype = data.dtype
    low, high = (v.astype(dtype) if hasattr(v, "dtype") else dtype.type(v) for v in (a_min, a_max))
    if type(data) is np.ndarray:
        return np.minimum(np.maximum(data, low), high)
    return np.where(data < low, low, np.where(data > high, high, data))
