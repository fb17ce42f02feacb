"""Products x.T @ y of long x and y with a small result, as a sum of four products: the gradients of a dense layer's weights.

    transpose(x[k, m]) @ y[k, n]  ->  sum(transpose(x[4, k / 4, m]) @ y[4, k / 4, n], 0)

So they run on several cores, and beside the rows of the batch that they are made of: a thread multiplies those that it has just
computed (runtime/joining.py). What reads the product adds the parts up, always in the same order.
"""
from __future__ import annotations

from .. import ops
from ..ir import Atom, Eqn, Graph, Var, definitions
from ..types import F32, F64
from .rewrite import Rewriter, rewrite

PARTS = 4            # as many as the other products of a layer have pieces at least (runtime/gemm.py)
LEAST = 128          # rows of a part: fewer would be stored sooner than multiplied
STORED = 256 << 10   # bytes that the parts of a result have at most: they stay in the second cache
WORK = 1 << 19       # multiplications that are worth it


def split_products(graph: Graph) -> Graph:
    """The graph with long products in parts."""
    definition = definitions(graph)

    def applies(eqn: Eqn) -> bool:
        x, y = eqn.inputs
        origin = definition.get(x) if type(x) is Var else None
        return origin is not None and origin.op is ops.transpose and is_long(x.type, y.type)

    return rewrite(graph, {"matmul": (applies, _split)}, "split_products")


def is_long(x, y) -> bool:
    """Whether a product of matrices of these types is cut."""
    if len(x.shape) != 2 or len(y.shape) != 2 or x.dtype not in (F32, F64):
        return False
    (m, k), n = x.shape, y.shape[1]
    return (k >= PARTS * LEAST and k % PARTS == 0 and m > 1 and n > 1 and PARTS * m * n * x.dtype.itemsize <= STORED
            and m * n * k >= WORK)


def _split(out: Rewriter, eqn: Eqn) -> list[Atom]:
    x, y = eqn.inputs
    (m, k), n = x.type.shape, y.type.shape[1]
    x = out.emit(ops.reshape, [out.definition[x].inputs[0]], shape=(PARTS, k // PARTS, m))
    y = out.emit(ops.reshape, [y], shape=(PARTS, k // PARTS, n))
    return [out.emit(ops.sum, [out.emit(ops.matmul, [out.emit(ops.transpose, [x], axes=(0, 2, 1)), y])], axis=(0,))]
