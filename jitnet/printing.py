"""A Graph as Python text that runs; the only place that names variables.

    def f(x, w):                # f32[64,784], f32[784,128]
        a = matmul(x, w)        # f32[64,128]   model.py:12
        return a

`exec` the text with `scope(graph)` in scope and it is the same function again: called on arrays it computes, traced it gives
the same Graph. Graphs inside equations (loop bodies, branches, kernels) become functions that stand before it, decorated with
the types they take. Scalars stand in the text with their dtype, arrays have a name that `scope` binds.
"""
from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator

import numpy as np

from .ir import Atom, Const, Eqn, Graph, Var, subgraphs
from .op import OPS, Op
from .types import DTYPES, SHORT_NAMES, ArrayType, is_float

WIDEST = 72  # comments line up behind the longest line up to this column


def print_graph(graph: Graph, sources: bool = True) -> str:
    """The Graph as Python text; with `sources`, each line names the user's line that it came from."""
    printer = _Printer(graph)
    return "\n".join(printer.text(inner, sources) for inner in printer.order).rstrip("\n")


def scope(graph: Graph) -> dict:
    """What the printed text needs in scope: ops, dtypes, the `graph` decorator, and the constants by name."""
    printer = _Printer(graph)
    ops = {eqn.op.name: eqn.op for inner in printer.order for eqn in inner.eqns}
    names = {name: emitter(op) for name, op in (OPS | ops).items()}
    names |= {name: dtype.type for name, dtype in DTYPES.items()}
    return names | {"graph": graph_of_types} | dict(printer.bound.values())


def rebuild(graph: Graph) -> Graph:
    """The Graph that its own printed text gives when it is executed and traced."""
    names = scope(graph)
    exec(compile(print_graph(graph), f"<{graph.name}>", "exec"), names)
    return _trace(names[_Printer(graph).functions[id(graph)]], graph.input_types)


def emitter(op: Op):
    """The op as printed text calls it: while tracing it always writes its equation, even when no argument is traced."""
    def call(*args, **params):
        from .tracer import bind, current_trace

        params = {k: np.dtype(v) if isinstance(v, type) and issubclass(v, np.generic) else v for k, v in params.items()}
        if current_trace() is not None:
            return bind(op, args, params)
        outs = op.evaluate([np.asarray(a) for a in args], params)
        return tuple(outs) if op.multiple_outputs else outs[0]
    return call


def graph_of_types(types: str):
    """A decorator: the Graph of a function of arrays of these types, as in `@graph("f32[3,4], i64[]")`."""
    return lambda function: _trace(function, parse_types(types))


def parse_types(text: str) -> tuple[ArrayType, ...]:
    """The types that a text such as `f32[3,4], i64[]` names."""
    return tuple(ArrayType(tuple(map(int, filter(None, sizes.split(",")))), DTYPES[dtype])
                 for dtype, sizes in re.findall(r"(\w+)\[([\d,]*)\]", text))


def _trace(function, types) -> Graph:
    from .tracer import trace

    def flat(*tracers):
        out = function(*tracers)
        return list(out) if isinstance(out, (tuple, list)) else [out]

    code = function.__code__
    return trace(flat, types, function.__name__, names=code.co_varnames[:code.co_argcount]).graph


class _Printer:
    """Names for everything in a Graph: functions, constants and other objects for the whole text, variables per function."""

    def __init__(self, graph: Graph):
        self.taken = set(OPS) | set(DTYPES) | {"graph", "np"} | set(keyword.kwlist)
        self.functions: dict[int, str] = {}  # id(Graph) -> name
        self.bound: dict[int, tuple[str, object]] = {}  # id(object) -> (name, object)
        self.order: list[Graph] = []  # inner ones first
        self._visit(graph, "_")

    def _visit(self, graph: Graph, suffix: str = "_0"):
        if id(graph) in self.functions:
            return
        self.taken.update(eqn.op.name for eqn in graph.eqns)
        self.functions[id(graph)] = self._unique(identifier(graph.name, "function"), self.taken, suffix)
        for eqn in graph.eqns:
            for _, inner in subgraphs(eqn):
                self._visit(inner)
            for atom in eqn.inputs:
                self._bind_constant(atom)
            for value in eqn.params.values():
                self._bind_objects(value)
        for atom in graph.outputs:
            self._bind_constant(atom)
        self.order.append(graph)

    def _bind_constant(self, atom: Atom):
        if type(atom) is Const and not atom.is_scalar:
            self._bind(atom.value, "const")

    def _bind_objects(self, value):
        if isinstance(value, (tuple, list)):
            for v in value:
                self._bind_objects(v)
        elif isinstance(value, dict):
            for v in value.values():
                self._bind_objects(v)
        elif not _literal(value) and not isinstance(value, Graph):
            self._bind(value, identifier(getattr(value, "__name__", type(value).__name__).lower(), "object"))

    def _bind(self, value, base: str):
        if id(value) not in self.bound:
            k = 0
            while f"{base}_{k}" in self.taken:
                k += 1
            self.taken.add(f"{base}_{k}")
            self.bound[id(value)] = f"{base}_{k}", value

    @staticmethod
    def _unique(base: str, taken: set[str], suffix: str = "_") -> str:
        """A free name: the base itself, else with the suffix, else numbered."""
        name, k = base, 0
        while name in taken:
            name, k = f"{base}{suffix}" if k == 0 else f"{base}_{k}", k + 1
        taken.add(name)
        return name

    def text(self, graph: Graph, sources: bool) -> str:
        taken = self.taken.copy()
        names: dict[Var, str] = {}
        for k, var in enumerate(graph.inputs):
            names[var] = self._unique(identifier(var.name, f"in_{k}"), taken)
        letters = _letters(taken)
        lines = []
        for eqn in graph.eqns:
            for var in eqn.outputs:
                names[var] = next(letters)
            lines.append((self._assignment(eqn, names), _comment(eqn, sources)))
        outs = ", ".join(self._atom(a, names) for a in graph.outputs)
        types = ", ".join(map(str, graph.input_types))
        inner = graph is not self.order[-1]
        head = f"def {self.functions[id(graph)]}({', '.join(names[v] for v in graph.inputs)}):"
        first = (head, "" if inner else types)
        lines = [first, *lines]
        column = max((len(code) for code, comment in lines if comment and len(code) <= WIDEST), default=0)
        body = "".join(f"{code:<{column}}  # {comment}\n" if comment else f"{code}\n" for code, comment in lines)
        return (f"@graph(\"{types}\")\n" if inner else "") + body + f"    return {outs or '()'}\n"

    def _assignment(self, eqn: Eqn, names: dict[Var, str]) -> str:
        left = ", ".join(names[v] for v in eqn.outputs)
        if eqn.op.multiple_outputs and len(eqn.outputs) == 1:
            left += ","
        arguments = [self._atom(a, names) for a in eqn.inputs]
        arguments += [f"{k}={self._value(v)}" for k, v in eqn.params.items()]
        return f"    {left}{' = ' if left else ''}{eqn.op.name}({', '.join(arguments)})"

    def _atom(self, atom: Atom, names: dict[Var, str]) -> str:
        if type(atom) is Var:
            return names[atom]
        return scalar_text(atom.value) if atom.is_scalar else self.bound[id(atom.value)][0]

    def _value(self, value) -> str:
        """A static parameter as an expression."""
        if isinstance(value, Graph):
            return self.functions[id(value)]
        if id(value) in self.bound:
            return self.bound[id(value)][0]
        if isinstance(value, np.dtype):
            return SHORT_NAMES[value]
        if isinstance(value, tuple):
            return f"({', '.join(map(self._value, value))}{',' if len(value) == 1 else ''})"
        if isinstance(value, list):
            return f"[{', '.join(map(self._value, value))}]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k!r}: {self._value(v)}" for k, v in value.items()) + "}"
        if isinstance(value, np.generic):
            return scalar_text(np.asarray(value))
        if isinstance(value, float) and not np.isfinite(value):
            return f"f64('{value}')"
        return repr(value)


def _literal(value) -> bool:
    """Whether `_value` can write it down."""
    if isinstance(value, np.dtype):
        return value in SHORT_NAMES
    return value is None or isinstance(value, (bool, int, float, str, np.generic))


def scalar_text(value: np.ndarray) -> str:
    """A scalar with its dtype, as text that gives exactly the same bits (of NaN: a NaN): `f32(0.1)`, `b1(True)`."""
    x = value[()]
    dtype = value.dtype
    if not is_float(dtype):
        return f"{SHORT_NAMES[dtype]}({x})"
    if not np.isfinite(x):
        return f"{SHORT_NAMES[dtype]}('{float(x)}')"
    digits = next(d for d in (str(x), repr(float(x))) if dtype.type(float(d)) == x)
    return f"{SHORT_NAMES[dtype]}({digits.removesuffix('.0') if digits != '-0.0' else digits})"


def _comment(eqn: Eqn, sources: bool) -> str:
    types = ", ".join(str(v.type) for v in eqn.outputs)
    return f"{types}   {eqn.source.place}" if sources and eqn.source is not None else types


def identifier(text: str, default: str) -> str:
    """The text as a Python name; `default` when nothing of it is left."""
    name = re.sub(r"\W+", "_", text).strip("_")
    if keyword.iskeyword(name):
        return f"{name}_"
    return name if name and not name[0].isdigit() else f"{default}_{name}" if name else default


def _letters(taken: set[str]) -> Iterator[str]:
    """a, b, ..., z, aa, ab, ...: all that are free."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    prefixes = [""]
    while True:
        for prefix in prefixes:
            for letter in alphabet:
                name = prefix + letter
                if name not in taken and not hasattr(builtins, name):
                    taken.add(name)
                    yield name
        prefixes = [p + letter for p in prefixes for letter in alphabet]
