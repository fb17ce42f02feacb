"""Control flow for users: cond, switch, while_loop, fori_loop, scan, map. Names and signatures are JAX's.

Each function argument is traced once; values it closes over become operands. Outside a trace the same Graphs run on NumPy.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import tree
from .errors import TraceTypeError, TraceValueError
from .ir import Graph, Var
from .ops.control import switch as switch_op
from .ops.loops import bind_scan
from .ops.loops import while_loop as while_op
from .sizes import integer, largest
from .text import a_type
from .tracebacks import cutting
from .tracer import Tracer, bind, inline, trace
from .transforms.values import Staged, fresh, fresh_all, function_name, is_array, leaf_type, staged, weak_class
from .types import BOOL, I64, promote


def _leaf(t, weak) -> str:
    return f"{t}" if weak is None else f"a Python {weak.__name__}"


def _cast_outputs(graph: Graph, dtypes: Sequence) -> Graph:
    """The graph with its outputs converted to these dtypes."""
    from .ops import cast

    if [a.type.dtype for a in graph.outputs] == list(dtypes):
        return graph

    def run(*values):
        return [x if x.dtype == d else cast(x, dtype=d) for x, d in zip(inline(graph, values), dtypes)]

    return trace(run, graph.input_types, graph.name).graph


def _close(stages: Sequence[Staged], graphs: Sequence[Graph], num_args: int) -> tuple[list[Graph], list[Tracer]]:
    """(the graphs with the same captured values as last inputs, these values)."""
    captured: dict[Var, Tracer] = {}
    for stage in stages:
        captured.update((x._atom, x) for x in stage.captured)
    closed = []
    for stage, graph in zip(stages, graphs):
        own = dict(zip((x._atom for x in stage.captured), graph.inputs[num_args:]))
        extra = [own[v] if v in own else Var(v.type, v.name) for v in captured]
        closed.append(graph.replace(inputs=(*graph.inputs[:num_args], *extra)))
    return closed, list(captured.values())


def _consts_first(graph: Graph, num_args: int) -> Graph:
    """The graph with its captured inputs in front."""
    return graph.replace(inputs=(*graph.inputs[num_args:], *graph.inputs[:num_args]))


# Branches

@cutting
def cond(pred, true_fun: Callable, false_fun: Callable, *operands) -> Any:
    """true_fun(*operands) where the scalar pred holds, false_fun(*operands) elsewhere; only one of them runs.

    Both must return the same containers, shapes and dtypes. A vmapped pred runs both and selects.

    >>> import jitnet
    >>> float(jitnet.cond(True, lambda x: x + 1, lambda x: x - 1, 2.0))
    3.0
    """
    _check_scalar(pred, "cond", "the predicate")
    if isinstance(pred, Tracer):
        return staged(lambda p, xs: _switch(_truth(p), (false_fun, true_fun), xs, "cond"), (pred, operands), "cond")
    return staged(lambda xs: _switch(int(bool(pred)), (false_fun, true_fun), xs, "cond"), (operands,), "cond")


@cutting
def switch(index, branches: Sequence[Callable], *operands) -> Any:
    """branches[index](*operands); an index out of range takes the first or the last branch.

    All must return the same containers, shapes and dtypes. A vmapped index runs all of them and selects.

    >>> import jitnet
    >>> float(jitnet.switch(1, [lambda x: x, lambda x: x * x, lambda x: -x], 3.0))
    9.0
    """
    if not len(branches):
        raise TraceValueError("switch: there are no branches", "give at least one function")
    _check_scalar(index, "switch", "the index")
    if leaf_type(index, "switch").dtype.kind not in "iu":
        raise TraceTypeError(f"switch: the index is {leaf_type(index, 'switch')}, not an integer",
                             "convert it with `astype(np.int64)`")
    if isinstance(index, Tracer):
        from .ops import cast

        return staged(lambda i, xs: _switch(cast(i, dtype=I64), branches, xs, "switch"), (index, operands), "switch")
    return staged(lambda xs: _switch(min(max(int(index), 0), len(branches) - 1), branches, xs, "switch"), (operands,), "switch")


def _check_scalar(x, caller: str, what: str) -> None:
    if not is_array(x):
        raise TraceTypeError(f"{caller}: {what} is {a_type(x)}, not a scalar", "pass a number, a bool or a 0-d array")
    t = leaf_type(x, caller)
    if t.shape:
        raise TraceTypeError(f"{caller}: {what} is {t}, not a scalar",
                             "choose element by element with `where`, or make it one value with `all()` or `any()`")


def _truth(pred):
    """The index of cond's branch: 1 where the predicate holds."""
    from .ops import cast, not_equal

    holds = pred if pred.dtype == BOOL else not_equal(pred, np.zeros((), pred.dtype))
    return cast(holds, dtype=I64)


def _switch(index, branches: Sequence[Callable], operands: tuple, caller: str):
    """The outputs of one of the branches; a Python int as index picks it while tracing."""
    leaves, structure = tree.flatten(operands)
    types, weak = [leaf_type(x, caller) for x in leaves], [weak_class(x) for x in leaves]
    stages = [Staged(f, types, structure, function_name(f), weak=weak) for f in branches]
    graphs = _agree(stages, caller)
    if isinstance(index, int):
        outs = inline(graphs[index], [*leaves, *stages[index].captured])
    else:
        graphs, captured = _close(stages, graphs, len(leaves))
        outs = bind(switch_op, [index, *fresh_all(leaves, types), *captured], {"branches": tuple(graphs)})
    return stages[0].out(outs)


def _agree(stages: Sequence[Staged], caller: str) -> list[Graph]:
    """The graphs of the branches with the same output types; Python numbers take the dtype of the other branches."""
    first = stages[0]
    for other in stages[1:]:
        if other.out_structure != first.out_structure:
            raise TraceTypeError(f"{caller}: `{other.name}` returns {tree.describe(other.out_structure)}, `{first.name}` "
                                 f"returns {tree.describe(first.out_structure)}",
                                 "return the same containers from all branches")
    dtypes = []
    for k, path in enumerate(tree.paths(first.out_structure)):
        kinds = [s.weak[k] or s.out_types[k].dtype for s in stages]
        strong = {d for d in kinds if not isinstance(d, type)}
        common = promote(*kinds)
        for s in stages[1:]:
            if s.out_types[k].shape != first.out_types[k].shape or len(strong) > 1 or (strong and common not in strong):
                raise TraceTypeError(f"{caller}: output{path} is {_leaf(s.out_types[k], s.weak[k])} in `{s.name}` and "
                                     f"{_leaf(first.out_types[k], first.weak[k])} in `{first.name}`",
                                     "return the same shape and dtype from all branches: `reshape` or `astype` one of them")
        dtypes.append(common)
    return [_cast_outputs(s.graph, dtypes) for s in stages]


# Carries

class _Carry:
    """The carry of a loop: initial leaves, and the types that go round. counted: a pair of a counter and the user's carry."""

    def __init__(self, init, caller: str, counted: bool = False):
        self.caller, self.counted = caller, counted
        self.leaves, self.structure = tree.flatten(init)
        self.names = [name.removeprefix("[1]") if counted else name for name in tree.paths(self.structure)]
        self.types = [leaf_type(x, caller) for x in self.leaves]
        self.weak = [weak_class(x) for x in self.leaves]

    def stage(self, make: Callable[[], Staged], num_before: int = 0) -> tuple[Staged, Graph]:
        """The body, traced by make() with the types of the carry until it gives back what it takes; Python numbers in the
        initial value take the dtype of what the body returns for them."""
        for _ in range(4):
            stage = make()
            dtypes, changed = [], False
            for k, path in enumerate(self.names):
                dtype = self._fit(k, stage.out_types[k], stage.weak[k], path, stage.name)
                changed |= dtype != self.types[k].dtype
                dtypes.append(dtype)
            if not changed:
                rest = [t.dtype for t in stage.graph.output_types[len(dtypes):]]
                return stage, _cast_outputs(stage.graph, [*dtypes, *rest])
            for k, dtype in enumerate(dtypes):
                if dtype != self.types[k].dtype:
                    self.types[k], self.weak[k] = self.types[k].with_dtype(dtype), None
        raise TraceTypeError(f"{self.caller}: the dtypes of the carry of `{stage.name}` never settle",
                             "give the initial value explicit dtypes")

    def _fit(self, k: int, out, out_weak, path: str, name: str) -> np.dtype:
        """The dtype of a leaf of the carry that fits both what goes in and what comes out."""
        found = self.types[k]
        if out.shape == found.shape:
            if out.dtype == found.dtype or (out_weak and promote(found.dtype, out_weak) == found.dtype):
                return found.dtype
            if self.weak[k] and promote(out.dtype, self.weak[k]) == out.dtype:
                return out.dtype
        hint = "start from the type that comes out, or convert with `astype`" if out.shape == found.shape else \
            "a carry keeps its shape: collect growing results as ys, or start from the full shape"
        raise TraceTypeError(f"{self.caller}: the carry{path} of `{name}` goes in as {_leaf(found, self.weak[k])} and comes "
                             f"out as {_leaf(out, out_weak)}", hint)

    def check_structure(self, found: tuple, name: str) -> None:
        if found != self.structure:
            before, after = (s[-1][1] if self.counted else s for s in (self.structure, found))
            raise TraceTypeError(f"{self.caller}: the carry of `{name}` goes in as {tree.describe(before)} and comes out as "
                                 f"{tree.describe(after)}", "return the carry in the containers it came in")

    def values(self) -> list[Tracer]:
        return fresh_all(self.leaves, self.types)


@cutting
def while_loop(cond_fun: Callable, body_fun: Callable, init_val) -> Any:
    """The carry after body_fun was applied, from init_val on, for as long as cond_fun(carry) holds.

    The carry keeps its containers, shapes and dtypes; body_fun may write into it. Forward derivatives only: `scan` and
    `fori_loop` with fixed bounds have reverse ones too.

    >>> import jitnet
    >>> int(jitnet.while_loop(lambda n: n < 100, lambda n: n * 2, 1))
    128
    """
    return staged(lambda init: _while(cond_fun, body_fun, init, "while_loop"), (init_val,), "while_loop")


def _while(cond_fun: Callable, body_fun: Callable, init, caller: str):
    carry = _Carry(init, caller, counted=caller == "fori_loop")
    n = len(carry.leaves)

    def make():
        stage = Staged(body_fun, carry.types, (tuple, (carry.structure,)), function_name(body_fun), weak=carry.weak, own=True)
        carry.check_structure(stage.out_structure, stage.name)
        return stage

    body, graph = carry.stage(make)
    test = Staged(cond_fun, carry.types, (tuple, (carry.structure,)), function_name(cond_fun), weak=carry.weak, own=True)
    if test.out_structure != tree.LEAF or test.out_types[0].shape or test.out_types[0].dtype != BOOL:
        found = test.out_types[0] if test.out_structure == tree.LEAF else tree.describe(test.out_structure)
        raise TraceTypeError(f"{caller}: the condition `{test.name}` returns {found}, not a bool",
                             "compare, or use `all()` or `any()`")
    outs = bind(while_op, [*test.captured, *body.captured, *carry.values()],
                {"cond": _consts_first(test.graph, n), "body": _consts_first(graph, n), "cond_consts": len(test.captured),
                 "body_consts": len(body.captured)})
    return tree.unflatten(carry.structure, outs)


@cutting
def scan(f: Callable, init, xs=None, length: int | None = None, reverse: bool = False, unroll: int = 1) -> tuple:
    """(last carry, ys) of `carry, y = f(carry, x)` for every x along the first axis of xs, the ys stacked.

    xs may be any container of arrays of equal first axis, or None with a `length`; reverse: from the last x to the first. The
    carry keeps its containers, shapes and dtypes; f may write into it. `unroll` is taken for compatibility: loops run natively,
    it changes nothing.

    >>> import jitnet, numpy as np
    >>> jitnet.scan(lambda c, x: (c + x, c * x), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 2., 9.]))
    """
    return staged(lambda init, xs: _scan(f, init, xs, length, reverse, "scan"), (init, xs), "scan")


def _scan(f: Callable, init, xs, length, reverse: bool, caller: str) -> tuple:
    name = function_name(f)
    rows, xs_structure = tree.flatten(xs)
    row_types = [leaf_type(x, caller) for x in rows]
    length = _length(row_types, tree.paths(xs_structure), length, name, caller)
    carry = _Carry(init, caller, counted=caller == "fori_loop")
    n = len(carry.leaves)
    ys_structure = None

    def step(carried, x):
        nonlocal ys_structure
        out = f(carried, x)
        if not isinstance(out, tuple) or len(out) != 2:
            raise TraceTypeError(f"{caller}: `{name}` must return a pair (carry, y), not {a_type(out)}",
                                 "return `carry, None` without a y")
        carry.check_structure(tree.structure(out[0]), name)
        ys_structure = tree.structure(out[1])
        return out

    def make():
        types = [*carry.types, *(t.with_shape(t.shape[1:]) for t in row_types)]
        return Staged(step, types, (tuple, (carry.structure, xs_structure)), name, weak=carry.weak, own=True)

    stage, graph = carry.stage(make)
    operands = [*stage.captured, *carry.values(), *(fresh(x) for x in rows)]
    outs = bind_scan(operands, _consts_first(graph, n + len(rows)), len(stage.captured), n, length, bool(reverse))
    return tree.unflatten(carry.structure, outs[:n]), tree.unflatten(ys_structure, outs[n:])


def _length(types: Sequence, paths: Sequence[str], length, name: str, caller: str) -> int:
    """How many rounds a scan has."""
    if length is not None:
        length = integer(length)
    for t, path in zip(types, paths):
        if not t.shape:
            raise TraceTypeError(f"{caller}: xs{path} of `{name}` is {t}, which has no axis to go along",
                                 "close over what is the same for all rounds")
        if length is None:
            length = t.shape[0]
        elif t.shape[0] != length:
            raise TraceTypeError(f"{caller}: xs{path} of `{name}` has {t.shape[0]} rows, where {length} are expected",
                                 "all of xs must have the same first axis, equal to `length` where that is given")
    if length is None:
        raise TraceTypeError(f"{caller}: the number of rounds of `{name}` is not known", "pass xs, or `length`")
    return length


@cutting
def fori_loop(lower, upper, body_fun: Callable, init_val) -> Any:
    """The carry after `carry = body_fun(i, carry)` for i in range(lower, upper), from init_val on.

    With Python integers as bounds it has derivatives both ways; with traced ones it is a while_loop (forward only).

    >>> import jitnet
    >>> int(jitnet.fori_loop(0, 5, lambda i, total: total + i, 0))
    10
    """
    for bound in (lower, upper):
        _check_scalar(bound, "fori_loop", "a bound")
        if leaf_type(bound, "fori_loop").dtype.kind not in "iu":
            raise TraceTypeError(f"fori_loop: a bound is {leaf_type(bound, 'fori_loop')}, not an integer", "use integers")

    def body(state):
        i, carry = state
        return i + 1, body_fun(i, carry)

    body.__name__ = function_name(body_fun)
    if not isinstance(lower, Tracer) and not isinstance(upper, Tracer):
        def fixed(init):
            def step(state, _):
                return body(state), None

            step.__name__ = body.__name__
            rounds = largest(0, integer(upper) - integer(lower))
            return _scan(step, (integer(lower), init), None, rounds, False, "fori_loop")[0][1]

        return staged(fixed, (init_val,), "fori_loop")

    def counted(lower, upper, init):
        return _while(lambda state: state[0] < upper, body, (lower, init), "fori_loop")[1]

    return staged(counted, (lower, upper, init_val), "fori_loop")


@cutting
def map(f: Callable, xs) -> Any:
    """f applied to every row of xs, one after the other, the results stacked: a scan without a carry.

    >>> import jitnet, numpy as np
    >>> jitnet.map(lambda x: x * x, np.array([1.0, 2.0]))
    array([1., 4.])
    """
    def body(_, x):
        return None, f(x)

    body.__name__ = function_name(f)
    return staged(lambda xs: _scan(body, None, xs, None, False, "map")[1], (xs,), "map")
