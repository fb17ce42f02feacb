"""What a `call` equation of a custom_vjp or custom_jvp function knows of its derivatives, alone and vmapped.

The rules of the user run when a derivative is taken, on the values of that derivative's trace.
"""
from __future__ import annotations

from collections.abc import Sequence

from .. import tree
from ..errors import DerivativeError
from ..ir import Graph
from ..ops.control import scatter
from ..text import a_type
from ..tracer import Tracer, current_trace, trace
from ..types import is_float
from .values import FLOAT0, fresh, is_array, no_gradient, or_zeros, weak_class, zeros
from .vjp import vjp_values
from .vmap import batch_all, batch_values, spread


class Rule:
    """The derivatives of one `call` equation. Abstract; methods as in `ops.control`, with the Graph in place of params."""

    name = "function"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}>"


def merge(nondiff: dict, structure: tuple, fixed: dict, values: Sequence) -> list:
    """All positional arguments, from the leaves that are arrays."""
    rest = iter(values)
    diff = iter(tree.unflatten(structure, [fixed[k] if k in fixed else next(rest) for k in range(tree.size(structure))]))
    return [nondiff[n] if n in nondiff else next(diff) for n in range(len(nondiff) + len(structure[-1]))]


def _closed_over(kind: str, name: str, flags: Sequence[bool]) -> None:
    if any(flags):
        raise DerivativeError(f"{kind}: `{name}` closes over a value that is differentiated, which its rule does not know",
                              "pass the value as an argument")


def _floats(outs: Sequence, types: Sequence, what: str) -> list:
    """The values a rule returned, as tracers; DerivativeError where one does not have the type it should have."""
    values = []
    for x, t in zip(outs, types):
        value = fresh(x, t.dtype if weak_class(x) else None)
        if value.shape != t.shape or value.dtype != t.dtype:
            raise DerivativeError(f"{what} gives {value.type} where {t} is expected",
                                  "a derivative has the shape and dtype of its value")
        values.append(value)
    return values


class VjpRule(Rule):
    """What one call of a custom_vjp function knows of its derivative. forward: values -> (outputs, residuals); backward:
    (residuals, cotangents, types of the inputs) -> cotangents."""

    def __init__(self, custom, nondiff, structure, fixed, count: int, out_structure):
        self.custom, self.nondiff, self.structure, self.fixed, self.count = custom, nondiff, structure, fixed, count
        self.out_structure, self.name = out_structure, custom.name

    def forward(self, values: Sequence) -> tuple[list, object]:
        result = self.custom.fwd(*merge(self.nondiff, self.structure, self.fixed, values[:self.count]))
        if not isinstance(result, tuple) or len(result) != 2:
            raise DerivativeError(f"custom_vjp: the forward rule of `{self.name}` must return a pair (output, residuals), not "
                                  f"{a_type(result)}", "return `output, residuals`")
        outs, structure = tree.flatten(result[0])
        if structure != self.out_structure:
            raise DerivativeError(f"custom_vjp: the forward rule of `{self.name}` returns {tree.describe(structure)}, the "
                                  f"function {tree.describe(self.out_structure)}", "return the output of the function first")
        return outs, result[1]

    def backward(self, residuals, cts: Sequence, types: Sequence) -> list:
        ct = tree.unflatten(self.out_structure, cts)
        nondiff = [self.nondiff[n] for n in sorted(self.nondiff)]
        result = self.custom.bwd(*nondiff, residuals, ct)
        children = self.structure[-1]
        if not isinstance(result, (tuple, list)) or len(result) != len(children):
            found = f"{len(result)}" if isinstance(result, (tuple, list)) else a_type(result)
            raise DerivativeError(f"custom_vjp: the backward rule of `{self.name}` must return a tuple of {len(children)}, "
                                  f"one cotangent per argument, not {found}", "return None for an argument that has none")
        leaves: list = []
        for n, (x, child) in enumerate(zip(result, children)):
            flat, found = tree.flatten(x)
            if x is None:
                flat = [None] * tree.size(child)
            elif found != child:
                raise DerivativeError(f"custom_vjp: cotangent {n} of `{self.name}` is nested as {tree.describe(found)}, the "
                                      f"argument as {tree.describe(child)}", "nest it like the argument")
            leaves += flat
        leaves = [x for k, x in enumerate(leaves) if k not in self.fixed]
        marks = [x is not None and getattr(x, "dtype", None) != FLOAT0 and is_float(t.dtype) for x, t in zip(leaves, types)]
        given = _floats([x for x, m in zip(leaves, marks) if m], [t for t, m in zip(types, marks) if m],
                        f"custom_vjp: the backward rule of `{self.name}`")
        return scatter(marks, given)

    def pushforward(self, inputs, tangents, graph):
        raise DerivativeError(f"custom_vjp: `{self.name}` has no forward derivative",
                              "use reverse mode (`grad`, `vjp`, `jacrev`), or custom_jvp")

    def pullback(self, inputs, needed, graph: Graph):
        _closed_over("custom_vjp", self.name, needed[self.count:])
        types = graph.input_types
        here = current_trace()
        here.source, source = None, here.source  # the rule's own lines are the better ones
        outs, residuals = self.forward(inputs)
        outs = _floats(outs, graph.output_types, f"custom_vjp: the forward rule of `{self.name}`")
        here.source = source

        def pull(cts):
            here = current_trace()
            here.source, source = None, here.source
            full = [or_zeros(ct, t) if is_float(t.dtype) else no_gradient(t.shape) for ct, t in zip(cts, graph.output_types)]
            found = self.backward(residuals, full, types[:self.count])
            here.source = source
            return [*found, *[None] * (len(inputs) - self.count)]

        return outs, pull

    def batched(self, size: int, flags: Sequence[bool]) -> Rule:
        return BatchedVjpRule(self, size, list(flags))


class BatchedVjpRule(VjpRule):
    """The rule of a vmapped call: the rules of the function, each mapped over the batch axis."""

    def __init__(self, inner: VjpRule, size: int, flags: list[bool]):
        self.inner, self.size, self.flags, self.count, self.name = inner, size, flags, inner.count, inner.name

    def forward(self, values):
        kept: dict = {}

        def run(*slices):
            outs, residuals = self.inner.forward(slices)
            leaves, kept["structure"] = tree.flatten(residuals)
            kept["fixed"] = {k: x for k, x in enumerate(leaves) if not is_array(x) or type(x) in (bool, int)}
            kept["outs"] = len(outs)
            return [*outs, *(x for k, x in enumerate(leaves) if k not in kept["fixed"])]

        types = [x.type.with_shape(x.shape[1:]) if b else x.type for x, b in zip(values, self.flags)]
        traced = trace(run, types, f"forward rule of {self.name}")
        marks = [*self.flags, *[False] * len(traced.captured)]
        found, batched = batch_values(traced.graph, [*values, *traced.captured], marks, self.size)
        n = kept["outs"]
        outs = [x if b else spread(x, self.size) for x, b in zip(found[:n], batched)]
        return outs, (found[n:], batched[n:], kept)

    def backward(self, residuals, cts, types):
        from ..ops import sum

        values, batched, kept = residuals
        given = [k for k, ct in enumerate(cts) if isinstance(ct, Tracer)]
        marks: list = []
        single = [t.with_shape(t.shape[1:]) if b else t for t, b in zip(types, self.flags)]

        def run(*slices):
            rest = iter(slices[:len(values)])
            leaves = [kept["fixed"][k] if k in kept["fixed"] else next(rest) for k in range(tree.size(kept["structure"]))]
            every = [no_gradient(ct.shape[1:]) for ct in cts]
            for k, ct in zip(given, slices[len(values):]):
                every[k] = ct
            found = self.inner.backward(tree.unflatten(kept["structure"], leaves), every, single)
            marks[:] = [x is not None for x in found]
            return [x for x in found if x is not None]

        slice_types = [x.type.with_shape(x.shape[1:]) if b else x.type for x, b in zip(values, batched)]
        traced = trace(run, [*slice_types, *(cts[k].type.with_shape(cts[k].shape[1:]) for k in given)],
                       f"backward rule of {self.name}")
        outs = batch_all(traced.graph, [*values, *(cts[k] for k in given), *traced.captured],
                         [*batched, *[True] * len(given), *[False] * len(traced.captured)], self.size)
        return [x if x is None or b else sum(x, axis=(0,)) for x, b in zip(scatter(marks, outs), self.flags)]


class JvpRule(Rule):
    """What one call of a custom_jvp function knows of its derivative."""

    def __init__(self, custom, nondiff, structure, fixed, count: int, out_structure):
        self.custom, self.nondiff, self.structure, self.fixed, self.count = custom, nondiff, structure, fixed, count
        self.out_structure, self.name = out_structure, custom.name

    def both(self, values: Sequence, tangents: Sequence, graph: Graph) -> tuple[list, list]:
        """(outputs, their tangents: None for integers); a tangent of None goes in as zeros."""
        types = graph.input_types[:self.count]
        full = [or_zeros(t, a) if is_float(a.dtype) else no_gradient(a.shape) for t, a in zip(tangents, types)]
        primals = merge({}, self.structure, self.fixed, values[:self.count])
        directions = merge({}, self.structure, self.fixed, full)
        result = self.custom.rule(*(self.nondiff[n] for n in sorted(self.nondiff)), tuple(primals), tuple(directions))
        if not isinstance(result, tuple) or len(result) != 2:
            raise DerivativeError(f"custom_jvp: the rule of `{self.name}` must return a pair (output, tangent), not a "
                                  f"{type(result).__name__}",
                                  "return `output, tangent`")
        (outs, out_structure), (out_tangents, tangent_structure) = map(tree.flatten, result)
        for found in (out_structure, tangent_structure):
            if found != self.out_structure:
                raise DerivativeError(f"custom_jvp: the rule of `{self.name}` returns {tree.describe(found)}, the function "
                                      f"{tree.describe(self.out_structure)}",
                                      "nest output and tangent like the output of the function")
        what = f"custom_jvp: the rule of `{self.name}`"
        marks = [is_float(t.dtype) for t in graph.output_types]
        found = _floats([t for t, m in zip(out_tangents, marks) if m], [t for t, m in zip(graph.output_types, marks) if m],
                        what)
        return _floats(outs, graph.output_types, what), scatter(marks, found)

    def pushforward(self, inputs, tangents, graph: Graph):
        _closed_over("custom_jvp", self.name, [t is not None for t in tangents[self.count:]])
        here = current_trace()
        here.source, source = None, here.source
        result = self.both(inputs, tangents, graph)
        here.source = source
        return result

    def pullback(self, inputs, needed, graph: Graph):
        # The tangent is linear in the tangents: its transpose is its pullback, at any point, so at zero.
        _closed_over("custom_jvp", self.name, needed[self.count:])
        places = [k for k, n in enumerate(needed[:self.count]) if n]
        marks = [is_float(t.dtype) for t in graph.output_types]

        def linear(*directions):
            tangents = dict(zip(places, directions))
            outs, out_tangents = self.both(inputs, [tangents.get(k) for k in range(self.count)], graph)
            return [*outs, *(t for t in out_tangents if t is not None)]

        types = [graph.input_types[k] for k in places]
        traced = trace(linear, types, f"rule of {self.name}")
        points = [zeros(t) for t in types]
        outs, pull_linear = vjp_values(traced.graph, [*points, *traced.captured],
                                       [True] * len(places) + [False] * len(traced.captured))
        n = len(graph.outputs)

        def pull(cts):
            found = pull_linear([None] * n + [ct for ct, m in zip(cts, marks) if m])
            return scatter([k in places for k in range(len(inputs))], found)

        return outs[:n], pull

    def batched(self, size: int, flags: Sequence[bool]) -> Rule:
        return BatchedJvpRule(self, size, list(flags))


class BatchedJvpRule(JvpRule):
    """The rule of a vmapped call: the rule of the function mapped over the batch axis."""

    def __init__(self, inner: JvpRule, size: int, flags: list[bool]):
        self.inner, self.size, self.flags, self.count, self.name = inner, size, flags, inner.count, inner.name

    def both(self, values, tangents, graph):
        given = [k for k, t in enumerate(tangents) if t is not None]
        types = [x.type.with_shape(x.shape[1:]) if b else x.type for x, b in zip(values, self.flags)]
        outs = graph.output_types
        single = _Types([*types], [t.with_shape(t.shape[1:]) for t in outs])

        def run(*slices):
            every = dict(zip(given, slices[len(values):]))
            found, found_tangents = self.inner.both(slices[:len(values)], [every.get(k) for k in range(self.count)], single)
            return [*found, *(t for t in found_tangents if t is not None)]

        traced = trace(run, [*types, *(types[k] for k in given)], f"rule of {self.name}")
        marks = [*self.flags, *(self.flags[k] for k in given), *[False] * len(traced.captured)]
        found = batch_all(traced.graph, [*values, *(tangents[k] for k in given), *traced.captured], marks, self.size)
        return found[:len(outs)], scatter([is_float(t.dtype) for t in outs], found[len(outs):])


class _Types:
    """The types of a call for one element of a batch, as its Graph has them."""

    def __init__(self, input_types, output_types):
        self.input_types, self.output_types = input_types, output_types
