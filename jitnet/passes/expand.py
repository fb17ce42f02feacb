"""expand: equations that other equations say better. `inline_calls`: the last calls, once nothing can merge them.

    call(*operands, graph)   -> the equations of its graph, unless it is there to compute something a second time
    switch(constant, ...)    -> the branch it takes
    argmax, argmin           -> max or min and comparisons, which vectorize
    matmul of integers       -> products and a sum: BLAS has none
"""
from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..ir import Atom, Const, Eqn, Graph
from ..types import BOOL, F32, F64, HALVES, I32, I64, is_float
from .rewrite import Rewriter, everywhere, rewrite, scalar

BLAS_DTYPES = (F32, F64, *HALVES)   # halves are float32 by now, except for a library that takes them


def _call(out: Rewriter, eqn: Eqn) -> list[Atom]:
    return out.inline(eqn.params["graph"], eqn.inputs)


def _switch(out: Rewriter, eqn: Eqn) -> list[Atom]:
    branches = eqn.params["branches"]
    chosen = min(max(int(eqn.inputs[0].value), 0), len(branches) - 1)
    return out.inline(branches[chosen], eqn.inputs[1:])


def _arg_extreme(out: Rewriter, eqn: Eqn) -> list[Atom]:
    """The first position of the extreme: the smallest at which x equals it. A NaN equals nothing, but is itself the extreme.

    Where x differs stands the largest integer, rather than the size of the axis: the kernel does not depend on sizes.
    """
    (x,), axes = eqn.inputs, eqn.params["axis"]
    shape = x.type.shape
    count = math.prod(shape[a] for a in axes)
    dtype = I32 if count <= np.iinfo(np.int32).max else I64
    extreme = ops.max if eqn.op is ops.argmax else ops.min
    best = out.emit(extreme, [x], axis=axes)
    best = out.emit(ops.reshape, [best], shape=tuple(1 if a in axes else n for a, n in enumerate(shape)))
    hit = out.emit(ops.equal, [x, best])
    if is_float(x.type.dtype):
        hit = out.emit(ops.logical_or, [hit, out.emit(ops.not_equal, [x, x])])
    inner = tuple(n if a in axes else 1 for a, n in enumerate(shape))
    if len(axes) == 1:
        position = out.emit(ops.iota, [], shape=inner, axis=axes[0], dtype=dtype)
    else:  # row-major over all the axes
        position = out.emit(ops.reshape, [out.emit(ops.iota, [], shape=(count,), axis=0, dtype=dtype)], shape=inner)
    found = out.emit(ops.where, [hit, position, scalar(np.iinfo(dtype).max, dtype)])
    first = out.emit(ops.min, [found], axis=axes)
    return [first if dtype == I64 else out.emit(ops.cast, [first], dtype=I64)]


def _matmul(out: Rewriter, eqn: Eqn) -> list[Atom]:
    """sum(x[..., m, k, 1] * y[..., 1, k, n], k). Narrow integers go through int32: their sums wrap around alike."""
    x, y = eqn.inputs
    dtype = x.type.dtype
    wide = I32 if dtype.itemsize < 4 and dtype != BOOL else dtype
    if wide != dtype:
        x, y = (out.emit(ops.cast, [a], dtype=wide) for a in (x, y))
    x = out.emit(ops.reshape, [x], shape=(*x.type.shape, 1))
    y = out.emit(ops.reshape, [y], shape=(*y.type.shape[:-2], 1, *y.type.shape[-2:]))
    product = out.emit(ops.multiply, [x, y])
    total = out.emit(ops.any if dtype == BOOL else ops.sum, [product], axis=(product.type.ndim - 2,))
    return [total if wide == dtype else out.emit(ops.cast, [total], dtype=dtype)]


# op -> (does it apply to this equation, the rule)
RULES = {
    "call": (lambda eqn: eqn.params["kind"] != "recompute", _call),
    "switch": (lambda eqn: type(eqn.inputs[0]) is Const, _switch),
    "argmax": (lambda eqn: True, _arg_extreme),
    "argmin": (lambda eqn: True, _arg_extreme),
    "matmul": (lambda eqn: eqn.outputs[0].type.dtype not in BLAS_DTYPES, _matmul),
}


@everywhere
def expand(graph: Graph) -> Graph:
    """The graph with calls inlined, and with argmax, argmin and integer matmul as equations that vectorize."""
    return rewrite(graph, RULES, "expand")


@everywhere
def inline_calls(graph: Graph) -> Graph:
    """The graph without calls whose purpose is served, and without a `switch` whose index turned out to be constant.

    The recomputing call of a `checkpoint` stays: inside the backward computation its values live for that call alone.
    """
    return rewrite(graph, {"call": RULES["call"], "switch": RULES["switch"]}, "inline_calls")
