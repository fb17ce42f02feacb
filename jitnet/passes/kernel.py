"""kernel_op, the op of a fused kernel; which equations kernels are made of, and where these read their operands."""
from __future__ import annotations

from collections.abc import Sequence

from ..codegen.affine import Affine, Axis
from ..ir import Eqn, eval_graph
from ..op_kinds import Control


class KernelOp(Control):
    """One fused kernel. params: body (Graph), domain (the shape it loops over), reduce (axes that its reductions combine)."""

    kind = "kernel"

    def out_types(self, types, params):
        return [a.type for a in params["body"].outputs]

    def evaluate(self, arrays, params):
        return eval_graph(params["body"], *arrays)


def kernel(*arrays, body, domain, reduce):
    """The outputs of a fused body."""
    return eval_graph(body, *arrays)


kernel_op = KernelOp(kernel)


def fusible(eqn: Eqn) -> bool:
    """Can this equation be part of a kernel?"""
    kind = eqn.op.kind
    if kind == "movement":
        return maps_index(eqn)
    return kind in ("elementwise", "creation", "reduction") or eqn.op.name == "gather"


def maps_index(eqn: Eqn) -> bool:
    """Is this movement an affine index map?"""
    if eqn.op.index_map is None:
        return False
    index = [Affine.of(Axis(n)) for n in eqn.outputs[0].type.shape]
    return eqn.op.index_map(index, eqn.inputs[0].type, eqn.params) is not None


def is_view(eqn: Eqn) -> bool:
    """Can the reader of a stored array see through this movement: an affine map, or a reshape of contiguous memory?"""
    return eqn.op.kind == "movement" and (eqn.op.name == "reshape" or maps_index(eqn))


def picks_from(eqn: Eqn, k: int) -> bool:
    """Is operand k the array that a gather picks from? It is read at places that data decides, so it must be stored."""
    return eqn.op.name == "gather" and k == 0


def operand_index(index: Sequence[Affine], shape: tuple[int, ...], out_shape: tuple[int, ...]) -> list[Affine]:
    """The index at which an operand of that shape is read when its broadcast result is wanted at `index`."""
    offset = len(out_shape) - len(shape)
    return [Affine() if n == 1 and out_shape[offset + k] != 1 else index[offset + k] for k, n in enumerate(shape)]


def operand_indices(eqn: Eqn, index: Sequence[Affine], reduce_axes: Sequence[Axis] = ()) -> list[Sequence[Affine] | None]:
    """Per operand the index it is read at when the result is wanted at `index`; None for the array a gather picks from.

    reduce_axes: the loop axes over which a reduction's operand is read.
    """
    op = eqn.op
    if op.name == "concatenate":   # of a kernel that computes an element of each part at a time
        return [index] * len(eqn.inputs)
    if op.kind == "movement":
        return [op.index_map(index, eqn.inputs[0].type, eqn.params)]
    if op.kind == "reduction":
        kept, reduced, axes = iter(index), iter(reduce_axes), eqn.params["axis"]
        return [[Affine.of(next(reduced)) if k in axes else next(kept) for k in range(eqn.inputs[0].type.ndim)]]
    if op.name == "gather":
        return [None] + [index[:eqn.inputs[1].type.ndim]] * (len(eqn.inputs) - 1)
    return [operand_index(index, a.type.shape, eqn.outputs[0].type.shape) for a in eqn.inputs]
