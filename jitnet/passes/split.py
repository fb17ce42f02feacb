"""Reductions that one row cannot do alone: cut into chunks that run in parallel, then combined.

A full reduction has a single row, and a reduction over outer axes has few: its reduced elements are cut into chunks of a size
that depends on the shape alone (never on the number of threads, so the bits do not either). The first kernel writes one partial
result per chunk, the second combines them and does what followed the reduction.

A GPU has room for thousands of rows at once, so there a few long rows are cut as well, and what one block does soon is not.
There a kernel whose reductions read what others gave (softmax, variance, argmax) is cut too: two kernels for the reductions of
each level, and one for what has all elements again. Every one of them computes anew what it needs of the elements.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from ..codegen.loops import lower
from ..codegen.nest import LoopNest, as_columns
from ..ir import Eqn, Graph, Var
from ..op import Op
from ..sizes import largest, smallest
from ..types import ArrayType
from .kernel import kernel_op

CHUNK = 32768          # elements that one chunk of a full reduction combines
COLUMN_CHUNK = 16384   # elements (of all columns) in one chunk of a reduction over outer axes
COLUMN_CHUNKS = 32     # with twice as many chunks and more, each is twice as large
LEAST_ROWS = 64        # a chunk of rows is no shorter: combining must stay cheap
GPU_PARTS = 1024       # chunks of all rows, or of all strips of columns, that fill a GPU
GPU_CHUNK = 4096       # elements that one chunk of a row combines on a GPU at least, and a multiple of which it combines
GPU_STRIP = 32         # columns that a block of a GPU takes at a time
GPU_FEW = 32           # rows, or strips of columns, that leave most of a GPU idle: levels of reductions are worth their kernels
GPU_LONG = 65536       # elements of such a row, or strip, that take one block longer than several launches (a reckoning)


class PartialReduction(Op):
    """A reduction of every `chunk` consecutive reduced elements (row-major over the reduced axes): (chunks, *kept axes)."""

    kind = "reduction"

    def __init__(self, op):
        super().__init__(op.body, register=False)
        self.op, self.name = op, f"partial_{op.name}"
        self.combine, self.identity = op.combine, op.identity

    def out_types(self, types, params):
        (t,), axes = types, params["axis"]
        chunks = chunk_count(math.prod(t.shape[a] for a in axes), params["chunk"])
        (whole,) = self.op.out_types(types, {"axis": axes})
        return [ArrayType((chunks, *whole.shape), whole.dtype)]

    def evaluate(self, arrays, params):
        (x,), axes, chunk = arrays, params["axis"], params["chunk"]
        moved = np.moveaxis(x, axes, range(len(axes)))
        flat = moved.reshape(-1, *moved.shape[len(axes):])
        chunks = [flat[k * chunk:(k + 1) * chunk] for k in range(chunk_count(len(flat), chunk))]
        return [np.stack([self.op.evaluate([part], {"axis": (0,)})[0] for part in chunks])]


def chunk_count(elements: int, chunk: int) -> int:
    """The number of chunks; one at least, for an empty reduction has a result too."""
    return largest(1, -(-elements // chunk))


@functools.cache
def partial(op: Op) -> PartialReduction:
    """The partial form of a reduction."""
    return PartialReduction(op)


def chunk_size(nest: LoopNest) -> int | None:
    """Reduced elements per chunk; None when the rows are parallel enough, or a row's elements need its own reductions."""
    if nest.form == "map" or nest.rows:
        return None
    if len(nest.stages) > 2 or any(s.stores for s in nest.stages[1:]):
        return None
    columns = nest.column.extent if nest.column else 1
    inner = math.prod(a.extent for a in nest.inner[1:])
    many = math.prod(a.extent for a in nest.inner) * columns // (COLUMN_CHUNKS * COLUMN_CHUNK)
    elements = COLUMN_CHUNK * smallest(2, largest(1, many))
    wanted = CHUNK if nest.form == "rows" else largest(LEAST_ROWS, elements // largest(1, columns))
    return largest(1, wanted // largest(1, inner)) * largest(1, inner)


def gpu_chunk_size(nest: LoopNest) -> int | None:
    """The same for a GPU; None too when a chunk would hold all. A kernel with levels of reductions has to be worth it."""
    if nest.form == "map":
        return None
    nest = as_columns(nest)
    at_once = math.prod(a.extent for a in nest.rows) * (-(-nest.column.extent // GPU_STRIP) if nest.column else 1)
    elements, inner = (math.prod(a.extent for a in axes) for axes in (nest.inner, nest.inner[1:]))
    if not 0 < 2 * at_once <= GPU_PARTS or not elements:
        return None
    if has_levels(nest) and (at_once > GPU_FEW or elements * (GPU_STRIP if nest.column else 1) < GPU_LONG):
        return None
    step = GPU_CHUNK if nest.column is None else LEAST_ROWS
    chunk = -(-elements * at_once // (GPU_PARTS * step)) * step   # so that all chunks are about GPU_PARTS
    chunk = -(-chunk // inner) * inner
    return chunk if chunk < elements else None


def has_levels(nest: LoopNest) -> bool:
    """Does something with all elements of a row read what a reduction of it gave?"""
    return len(nest.stages) > 2 or any(s.stores for s in nest.stages[1:])


def split_kernel(eqn: Eqn, gpu: bool = False) -> list[Eqn]:
    """The kernel itself, or the kernels it is cut into: two where its reductions do not read one another."""
    body, domain, reduce = (eqn.params[k] for k in ("body", "domain", "reduce"))
    along_rows = len(domain) - 1 in reduce and len(reduce) < len(domain)   # a row each: parallel as they are
    if (along_rows and not gpu) or not any(e.op.kind == "reduction" for e in body.eqns):
        return [eqn]
    nest = lower(body, domain, reduce)
    chunk = (gpu_chunk_size if gpu else chunk_size)(nest)
    if chunk is None:
        return [eqn]
    if has_levels(nest):
        return split_levels(eqn, chunk)
    first: list[Eqn] = []
    combining: list[Eqn] = []
    parts: list[Var] = []      # what the first kernel leaves to the second
    late: set[Var] = set()     # what depends on a reduction
    for e in body.eqns:
        if e.op.kind == "reduction":
            op, params = partial(e.op), {"axis": e.params["axis"], "chunk": chunk}
            (t,) = op.out_types([a.type for a in e.inputs], params)
            parts.append(Var(t))
            first.append(e.replace(op=op, params=params, outputs=(parts[-1],)))
            combining.append(Eqn(e.op, (parts[-1],), {"axis": (0,)}, e.outputs, e.source))
            late.update(e.outputs)
        elif not late.isdisjoint(e.inputs):
            late.update(e.outputs)
        else:
            first.append(e)
    outer = dict(zip(body.outputs, eqn.outputs))
    early = [v for v in body.outputs if v not in late]
    rest = [e for e in body.eqns if e.op.kind != "reduction"]
    stored = [Var(p.type) for p in parts]
    first_body = body.replace(eqns=tuple(first), outputs=(*early, *parts))
    second_body = body.replace(inputs=(*body.inputs, *parts), eqns=(*combining, *rest),
                               outputs=tuple(v for v in body.outputs if v in late))
    rows = [n for k, n in enumerate(domain) if k not in reduce]
    return [kernel_eqn(eqn, first_body, domain, reduce, eqn.inputs, [*(outer[v] for v in early), *stored]),
            kernel_eqn(eqn, second_body, (parts[0].type.shape[0], *rows), (0,), (*eqn.inputs, *stored),
                       [outer[v] for v in second_body.outputs])]


def split_levels(eqn: Eqn, chunk: int) -> list[Eqn]:
    """The kernels of a kernel with levels of reductions; a level's reductions read nothing but what lower ones gave."""
    body, domain, reduce = (eqn.params[k] for k in ("body", "domain", "reduce"))
    rows, outer = [n for k, n in enumerate(domain) if k not in reduce], dict(zip(body.outputs, eqn.outputs))
    whole = [v for v in body.outputs if v.type.size == math.prod(domain)]
    rest = [v for v in body.outputs if v not in whole]
    level: dict[Var, int] = {}      # of the reductions that a value depends on: how many follow one another
    reductions: dict[int, list[Eqn]] = {}
    for e in body.eqns:
        below = max((level.get(a, 0) for a in e.inputs if type(a) is Var), default=0)
        if e.op.kind == "reduction":
            reductions.setdefault(below, []).append(e)
        level.update(dict.fromkeys(e.outputs, below + (e.op.kind == "reduction")))
    elements = [e for e in body.eqns if e.op.kind != "reduction"]
    known: dict[Var, Var] = {}      # what a reduction gives in the body -> outside
    made: list[Eqn] = []

    def add(eqns, domain, reduce, outputs: dict[Var, Var], parts=()) -> None:
        """A kernel with these outputs, which reads what reductions gave."""
        inner = body.replace(inputs=(*body.inputs, *known, *(v for v, _ in parts)), eqns=tuple(eqns), outputs=tuple(outputs))
        inputs = (*eqn.inputs, *known.values(), *(v for _, v in parts))
        made.append(kernel_eqn(eqn, inner, domain, reduce, inputs, list(outputs.values())))

    for number in sorted(reductions):
        found, first, second = {}, [], []
        for e in reductions[number]:
            op, params = partial(e.op), {"axis": e.params["axis"], "chunk": chunk}
            (t,) = op.out_types([a.type for a in e.inputs], params)
            part = Var(t)
            found[part] = Var(t)
            first.append(e.replace(op=op, params=params, outputs=(part,)))
            second.append(Eqn(e.op, (part,), {"axis": (0,)}, e.outputs, e.source))
        add([*elements, *first], domain, reduce, found)
        results = {v: outer.get(v) or Var(v.type) for e in reductions[number] for v in e.outputs}
        late = {v: outer[v] for v in rest if v not in known | results} if number == max(reductions) else {}
        count = next(iter(found)).type.shape[0]
        add([*second, *(elements if late else ())], (count, *rows), (0,), results | late, tuple(found.items()))
        known |= results
    if whole:
        add(elements, domain, (), {v: outer[v] for v in whole})
    return made


def kernel_eqn(eqn: Eqn, body: Graph, domain, reduce, inputs, outputs) -> Eqn:
    """A part of a kernel as a kernel: what its body does not read is left out, and its Vars are its own."""
    body, inputs = prune(body, inputs)
    fresh = {v: Var(v.type, v.name) for v in (*body.inputs, *(v for e in body.eqns for v in e.outputs))}
    eqns = tuple(e.replace(inputs=tuple(fresh.get(a, a) for a in e.inputs), outputs=tuple(fresh[v] for v in e.outputs))
                 for e in body.eqns)
    body = body.replace(inputs=tuple(fresh[v] for v in body.inputs), eqns=eqns, outputs=tuple(fresh[v] for v in body.outputs))
    return Eqn(kernel_op, inputs, {"body": body, "domain": tuple(domain), "reduce": tuple(reduce)}, tuple(outputs), eqn.source)


def prune(body: Graph, inputs) -> tuple[Graph, tuple]:
    """The body without equations and inputs that its outputs do not need, and the matching outer inputs."""
    needed, eqns = set(body.outputs), []
    for e in reversed(body.eqns):
        if not needed.isdisjoint(e.outputs):
            eqns.append(e)
            needed.update(e.inputs)
    kept = [(v, a) for v, a in zip(body.inputs, inputs) if v in needed]
    return body.replace(inputs=tuple(v for v, _ in kept), eqns=tuple(reversed(eqns))), tuple(a for _, a in kept)


def split_reductions(graph: Graph, gpu: bool = False) -> Graph:
    """The fused graph with its large-row reductions cut into chunks."""
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        eqns += split_kernel(eqn, gpu) if eqn.op is kernel_op else [eqn]
    return graph.replace("split_reductions", eqns=tuple(eqns))
