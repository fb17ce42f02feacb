"""Reductions that one row cannot do alone: cut into chunks that run in parallel, then combined.

A full reduction has a single row, and a reduction over outer axes has few: its reduced elements are cut into chunks of a size that depends on the
shape alone (never on the number of threads, so the bits do not either). The first kernel writes one partial result per chunk, the second
combines them and does what followed the reduction.
"""
from __future__ import annotations

import math

import numpy as np

from ..codegen.loops import lower
from ..ir import Eqn, Graph, Var
from ..op import Op
from ..types import ArrayType
from .kernel import kernel_op

CHUNK = 32768          # elements that one chunk of a full reduction combines
COLUMN_CHUNK = 131072  # elements (of all columns) in one chunk of a reduction over outer axes
LEAST_ROWS = 64        # a chunk of rows is no shorter: combining must stay cheap


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
        parts = [self.op.evaluate([flat[k * chunk:(k + 1) * chunk]], {"axis": (0,)})[0] for k in range(chunk_count(len(flat), chunk))]
        return [np.stack(parts)]


def chunk_count(elements: int, chunk: int) -> int:
    return max(1, -(-elements // chunk))


_partial: dict[str, PartialReduction] = {}


def partial(op) -> PartialReduction:
    """The partial form of a reduction."""
    if op.name not in _partial:
        _partial[op.name] = PartialReduction(op)
    return _partial[op.name]


def chunk_size(nest) -> int | None:
    """Reduced elements per chunk for a kernel that should be cut; None when its rows are parallel enough or depend on its own reductions."""
    if nest.form == "map" or nest.form == "rows" and nest.rows:
        return None
    if len(nest.stages) > 2 or any(s.stores for s in nest.stages[1:]):
        return None
    if nest.form == "columns" and nest.rows:
        return None
    columns = nest.column.extent if nest.column else 1
    inner = math.prod(a.extent for a in nest.inner[1:])
    wanted = CHUNK if nest.form == "rows" else max(LEAST_ROWS, COLUMN_CHUNK // max(1, columns))
    return max(1, wanted // max(1, inner)) * max(1, inner)


def split_kernel(eqn: Eqn) -> list[Eqn]:
    """The kernel itself, or the two kernels it is cut into."""
    body, domain, reduce = (eqn.params[k] for k in ("body", "domain", "reduce"))
    if not reduce and not any(e.op.kind == "reduction" for e in body.eqns):
        return [eqn]
    chunk = chunk_size(lower(body, domain, reduce))
    if chunk is None:
        return [eqn]
    after: set[Var] = set()      # what depends on a reduction
    first: list[Eqn] = []
    partials: dict[Var, Var] = {}
    for e in body.eqns:
        if e.op.kind == "reduction":
            op = partial(e.op)
            params = {"axis": e.params["axis"], "chunk": chunk}
            (t,) = op.out_types([a.type for a in e.inputs], params)
            partials[e.outputs[0]] = Var(t)
            first.append(e.replace(op=op, params=params, outputs=(partials[e.outputs[0]],)))
            after.add(e.outputs[0])
        elif any(a in after for a in e.inputs if type(a) is Var):
            after.update(e.outputs)
        else:
            first.append(e)
    early = [v for v in body.outputs if v not in after]
    outer = dict(zip(body.outputs, eqn.outputs))
    stored = {v: Var(p.type) for v, p in partials.items()}
    first_eqn = _kernel(eqn, Graph(body.inputs, tuple(first), (*early, *partials.values()), "kernel"), domain, reduce,
                        (*(outer[v] for v in early), *stored.values()))
    kept = tuple(n for k, n in enumerate(domain) if k not in reduce)
    chunks = next(iter(partials.values())).type.shape[0]
    sources = {v: Var(p.type) for v, p in partials.items()}
    combining = [Eqn(e.op, (sources[e.outputs[0]],), {"axis": (0,)}, e.outputs, e.source) for e in body.eqns if e.op.kind == "reduction"]
    late = [v for v in body.outputs if v in after]
    rest = [e for e in body.eqns if e.op.kind != "reduction"]
    second = _kernel(eqn, Graph((*body.inputs, *sources.values()), (*combining, *rest), tuple(late), "kernel"), (chunks, *kept), (0,),
                     tuple(outer[v] for v in late), (*eqn.inputs, *stored.values()))
    return [first_eqn, second]


def _kernel(eqn: Eqn, body: Graph, domain, reduce, outputs, inputs=None) -> Eqn:
    """A kernel equation with what its body does not read left out."""
    body, inputs = prune(body, eqn.inputs if inputs is None else inputs)
    fresh = {v: Var(v.type, v.name) for e in body.eqns for v in e.outputs}   # the two halves share no Var
    fresh |= {v: Var(v.type, v.name) for v in body.inputs}
    eqns = tuple(e.replace(inputs=tuple(fresh.get(a, a) for a in e.inputs), outputs=tuple(fresh[v] for v in e.outputs)) for e in body.eqns)
    body = body.replace(inputs=tuple(fresh[v] for v in body.inputs), eqns=eqns, outputs=tuple(fresh[v] for v in body.outputs))
    return Eqn(kernel_op, inputs, {"body": body, "domain": tuple(domain), "reduce": tuple(reduce)}, outputs, eqn.source)


def prune(body: Graph, inputs) -> tuple[Graph, tuple]:
    """The body without equations and inputs that its outputs do not need, and the matching outer inputs."""
    needed, eqns = set(body.outputs), []
    for e in reversed(body.eqns):
        if any(v in needed for v in e.outputs):
            eqns.append(e)
            needed.update(a for a in e.inputs if type(a) is Var)
    kept = [(v, a) for v, a in zip(body.inputs, inputs) if v in needed]
    return body.replace(inputs=tuple(v for v, _ in kept), eqns=tuple(reversed(eqns))), tuple(a for _, a in kept)


def split_reductions(graph: Graph) -> Graph:
    """The fused graph with its large-row reductions cut into chunks."""
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        eqns += split_kernel(eqn) if eqn.op is kernel_op else [eqn]
    return graph.replace("split_reductions", eqns=tuple(eqns))


