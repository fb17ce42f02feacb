"""Equations of a fused graph -> steps of a GPU program. The walk, the storage and the loops are those of the CPU (steps.py).

What differs: kernels come from the GPU's toolchain, copies and products are its library's, and an op without a kernel comes
to the host and goes back.
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..ir import Atom, Eqn, Graph, Var
from ..passes.epilogue import epilogue, product_op
from ..passes.fuse import MAX_PARTS
from ..passes.gradient_epilogues import gradient_epilogues
from ..passes.pipeline import pipeline
from ..passes.plan import Arena
from ..runtime.cuda.operations import Copy, HostOp
from ..runtime.cuda.products import Product
from ..runtime.cuda.stream import Gpu
from ..runtime.joining import Span
from ..runtime.program import KernelStep, Slot
from ..sizes import computed, is_open
from ..types import is_float
from .epilogues import roles
from .matmul_steps import layout
from .nest import LoopNest, is_out_of_bounds
from .running_steps import running
from .spans import reach
from .steps import LOWERINGS, Builder, KernelInfo


def gpu_pipeline(graph: Graph, gpu: Gpu) -> list[tuple[str, Graph]]:
    """The graph after every pass, the last one that of the epilogues which the device's library has."""
    def known() -> Collection[str]:
        return gpu.products.epilogues

    def has(name: str, operands: Sequence[Atom], definition: Mapping[Atom, Eqn]) -> bool:
        return is_known(gpu, like(name, operands, definition))

    before = "gradient_epilogues", lambda graph: gradient_epilogues(graph, known, has)
    stages = pipeline(graph, gpu=True, before=before)
    return [*stages, ("epilogue", epilogue(stages[-1][1], known))]


def like(name: str, operands: Sequence[Atom], definition: Mapping[Atom, Eqn]) -> Product:
    """A product of rows with a matrix before it is known where they lie: transposes are walked, all else is contiguous."""
    turned = [a.type.ndim == 2 and a in definition and definition[a].op.name == "transpose" for a in operands]
    (*rows, k), (_, n) = (a.type.shape for a in operands)
    leading = [a.type.shape[0 if t else -1] for a, t in zip(operands, turned)]
    dtype = operands[0].type.dtype
    return Product(dtype, dtype, math.prod(rows), n, k, *turned, *leading, epilogue=name)


class GpuBuilder(Builder):
    """Builds the steps of a graph for a GPU."""

    replaces = False   # what kernels load comes through a cache that does not see what they store
    parts = MAX_PARTS

    def __init__(self, graph: Graph, parent: GpuBuilder | None = None, level: int = 0, arena: Arena | None = None,
                 gpu: Gpu | None = None):
        super().__init__(graph, parent, level, arena)
        self.gpu = parent.gpu if parent else gpu

    def passes(self, graph: Graph) -> list[tuple[str, Graph]]:
        """The graph after every pass."""
        return gpu_pipeline(graph, self.gpu)

    def nest(self, nest: LoopNest, slots: dict[Atom, Slot], eqns, source, serial: bool = False) -> None:
        """One step that runs a loop nest on these slots."""
        if is_out_of_bounds(nest):
            self.failure(source)
            return
        reads = sum(b.atom.type.nbytes for b in nest.buffers if b.role == "input")
        buffers = self.buffers(nest, slots, source)
        kernel = self.gpu.driver.toolchain.kernel(nest)
        step = KernelStep(kernel, tuple(buffers), kernel.sizes, 1, spans=reach(nest), part=self.part)
        writes = sum(b.atom.type.nbytes for b in nest.buffers if b.role in ("output", "scratch"))
        self.steps.append(step)
        name = f"kernel_{len(self.infos)}"
        self.infos.append(KernelInfo(name, "kernel", kernel.source, tuple(eqns), reads, writes, nest, step=step))

    def copy(self, source: Slot, target: Slot, nbytes: int) -> None:
        if nbytes and source != target:
            step = KernelStep(Copy(nbytes), (source, target), (), 1, spans=(Span(nbytes, 0, False), Span(nbytes, 0, True)))
            self.steps.append(step)
            self.infos.append(KernelInfo("copy", "copy", step.kernel.source, (), nbytes, nbytes, step=step))

    def callback(self, eqn: Eqn) -> None:
        """Runs the NumPy body of an op on the host: its operands come there and the results go back, and the host waits."""
        op, params = eqn.op, eqn.params
        types = [[(tuple(a.type.shape), np.dtype(a.type.dtype)) for a in atoms] for atoms in (eqn.inputs, eqn.outputs)]
        kernel = HostOp(op, dict(params), tuple(types[0]), tuple(types[1]), f"# NumPy: {op.name}\n")
        step = KernelStep(kernel, tuple(self.stored(a) for a in (*eqn.inputs, *eqn.outputs)), (), 1)
        reads, writes = sum(a.type.nbytes for a in eqn.inputs), sum(v.type.nbytes for v in eqn.outputs)
        self.steps.append(step)
        self.infos.append(KernelInfo(op.name, "callback", kernel.source, (eqn,), reads, writes,
                                     note=f"{op.name} runs through NumPy on the host, which waits for its operands", step=step))


def matmul(builder: GpuBuilder, eqn: Eqn) -> None:
    """A product of floats, and its epilogue, by the device's library; integers are loops by now, or run through NumPy."""
    x, y, *more = eqn.inputs
    out, *others = eqn.outputs
    name, after = eqn.params.get("epilogue", ""), eqn.params.get("after")
    if not is_float(out.type.dtype):
        builder.callback(eqn)
        return
    if out.type.size == 0:
        return
    p = layout(builder, x, y, after.inputs[0] if after else out)
    product = Product(x.type.dtype, out.type.dtype, p.m, p.n, p.k, p.a.transposed, p.b.transposed, p.a.leading, p.b.leading,
                      tuple(p.batch), tuple(p.strides), name)
    places, note = (p.a.slot, p.b.slot, builder.slots[out]), ""
    if name and not is_there(builder.gpu, product, places):
        product = replace(product, out_dtype=after.inputs[0].type.dtype, epilogue="")
        note = f"; it has no algorithm with {name} for it, so that kernels do what follows"
        places = (*places[:2], target(builder, after, eqn.outputs))
    extra = () if note or name.startswith("bgrad") else map(builder.stored, more)
    step = KernelStep(product, (*places, *extra, *(() if note else map(builder.slot, others))), (), 1)
    builder.steps.append(step)
    text, says = ("", "") if is_open(product) else (product.source, f"cuBLASLt: {product}{note}")
    builder.infos.append(KernelInfo("matmul", "blas", text, (eqn,), sum(atom.type.nbytes for atom in eqn.inputs),
                                    sum(v.type.nbytes for v in eqn.outputs), note=says, step=step))
    if note:
        outputs = [None if a is after.inputs[0] else builder.slots[v] for a, v in zip(after.outputs, eqn.outputs)]
        inner = builder.inner(builder.passes(after)[-1][1], builder.level)
        builder.steps += inner.build([places[2], *map(builder.stored, more)], outputs)


def is_there(gpu: Gpu, product: Product, places: Sequence[Slot]) -> bool:
    """Whether the device's library does a product with its epilogue, on a, b and out that lie there."""
    reads, writes = roles(product.epilogue)
    if product.batch and (writes or "aux" in reads):   # one call per matrix, or none of the kind for many
        return False
    return is_known(gpu, product, *map(alignment, places))


def is_known(gpu: Gpu, product: Product, *alignments: int) -> bool:
    """Whether the device's library does a product whose a, b and out are aligned like that."""
    p = product
    fixed = p.dtype, p.out_dtype, p.a_transposed, p.b_transposed, p.epilogue, len(p.batch)
    numbers = p.m, p.n, p.k, p.a_leading, p.b_leading, *p.batch, *itertools.chain(*p.strides), *alignments
    return computed(known_to, gpu, *fixed, *numbers) == 1


def known_to(gpu: Gpu, dtype, out_dtype, a_transposed, b_transposed, epilogue: str, axes: int, m: int, n: int, k: int,
             a_leading: int, b_leading: int, *more: int) -> int:
    """1 when the device's library does a product, with these alignments of its operands; 0 when it does not."""
    batch, more = more[:axes], more[axes:]
    strides, alignments = tuple(zip(*[iter(more[:3 * axes])] * 3)), more[3 * axes:]
    product = Product(dtype, out_dtype, m, n, k, a_transposed, b_transposed, a_leading, b_leading, batch, strides, epilogue)
    return int(gpu.products.has(product, *([alignments] if alignments else [])))


def target(builder: GpuBuilder, after: Graph, outputs: Sequence[Var]) -> Slot:
    """Where a product goes whose epilogue is done by kernels: to its place, if it is a result itself."""
    if after.inputs[0] in after.outputs:
        return builder.slots[outputs[after.outputs.index(after.inputs[0])]]
    slot = builder.allocate(after.inputs[0].type)
    builder.temporary.append((slot.offset, after.inputs[0].type.nbytes))
    return slot


def alignment(slot: Slot) -> int:
    """The bytes, at most 16, that a buffer's address is a multiple of."""
    return computed(divisor, slot.offset, *(stride for _, stride in slot.strides))


def divisor(*offsets: int) -> int:
    """The bytes, at most 16, that offsets are multiples of."""
    return min([16, *(n & -n for n in offsets if n)])


GpuBuilder.lowerings = {name: lower for name, lower in LOWERINGS.items() if lower is not running}
GpuBuilder.lowerings |= {"matmul": matmul, product_op.name: matmul}
