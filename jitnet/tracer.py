"""User code in, Graph out: `trace` runs a function on Tracers, which write an equation for everything done to them.

    a Trace     is the Graph being written. Traces nest (a loop body inside a jitted function); a value of an outer trace
                used in an inner one is captured: it becomes an extra input of the inner Graph.
    a Tracer    stands for an array. It is mutable as arrays are: `x[i] = v` rebinds it to a new Var, and a view made by
                basic slicing writes through to what it is a view of.

A Python scalar stays weak (NumPy 2): `weak` holds its class until an array gives it a dtype.
"""
from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .constants import Constants
from .errors import LeakedTracerError, Source, TraceOverflowError, TraceTypeError, user_source
from .ir import Const, Eqn, Graph, Var, interpret
from .op import METHODS, NUMPY_FUNCTIONS, Op
from .text import a_type
from .tracebacks import cutting
from .traced_operators import Operators, operand_dtype
from .types import I64, ArrayType

_local = threading.local()
_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


def _stack() -> list[Trace]:
    try:
        return _local.stack
    except AttributeError:
        _local.stack = []
        return _local.stack


def current_trace() -> Trace | None:
    """The innermost trace under way in this thread; None outside."""
    stack = _stack()
    return stack[-1] if stack else None


@contextmanager
def within(*traces: Trace):
    """In this block these are the traces under way; none: what is done there is done at once."""
    stack, _local.stack = _stack(), list(traces)
    try:
        yield
    finally:
        _local.stack = stack


class View:
    """How a tracer hangs on its base: get(base) is its value, put(base, value) the base after the view was written."""

    __slots__ = ("base", "get", "key", "put", "seen", "strides")

    def __init__(self, base: Tracer, get: Callable, put: Callable, key, strides):
        self.base, self.get, self.put, self.key, self.strides = base, get, put, key, strides
        self.seen = base.version


class Trace:
    """A Graph being written."""

    def __init__(self, name: str, allow_writes: bool = False, once: bool = False):
        self.name, self.eqns, self.inputs, self.allow_writes = name, [], [], allow_writes
        self.once = once  # what is written here runs once each time the enclosing trace's own equations do
        self.captured: dict[Var, Var] = {}  # Var of the enclosing trace -> input Var of this one
        self.parent: Trace | None = None
        self.open = False
        self.source: Source | None = None  # set while a transform applies a rule: the line of the equation that the rule is for
        self.constants = Constants()
        self.created: dict[Var, tuple] = {}  # Var of a 1-d iota -> its shape
        self.limits: set[tuple[Var, np.dtype]] = set()  # weak integers, and the dtype of an array that they meet

    def __enter__(self) -> Trace:
        self.parent, self.open = current_trace(), True
        _stack().append(self)
        return self

    def __exit__(self, *_):
        self.open = False
        _stack().pop()

    def resumed(self):
        """Makes this trace the current one again, while an inner one is under way."""
        return within(*_stack(), self)

    def input(self, type: ArrayType, name: str = "", weak=None, mutable: bool = False) -> Tracer:
        var = Var(type, name)
        self.inputs.append(var)
        return Tracer(self, var, weak, mutable=mutable)

    def lift(self, tracer: Tracer):
        """The atom that stands for a tracer in this trace; captures it when it belongs to an enclosing one."""
        if tracer.owner is self:
            return tracer.current()
        if self.parent is None or tracer.owner not in _stack():
            raise leaked(tracer)
        atom = self.parent.lift(tracer)
        if type(atom) is Const:
            return atom
        if atom not in self.captured:
            self.captured[atom] = Var(atom.type, atom.name)
        return self.captured[atom]

    def atom(self, value, dtype: np.dtype | None = None, name: str = "array"):
        """The Var or Const for any array-like value, converted to `dtype`."""
        if isinstance(value, Tracer):
            atom = self.lift(value)
            if dtype is None or atom.type.dtype == dtype:
                return atom
            from .ops import cast

            if type(atom) is Const:
                return Const(atom.value.astype(dtype))
            if name != "where":  # NumPy's wraps around
                value.must_fit(dtype)
            return self.emit(cast, [atom], {"dtype": dtype})[0].current()
        return self.constants.atom(value, dtype, name)

    def emit(self, op: Op, atoms: Sequence, params, source: Source | None = None) -> list[Tracer]:
        """Writes one equation on atoms of the right dtypes; returns the tracers of its outputs."""
        outs = tuple([Var(t) for t in op.out_types([a.type for a in atoms], params)])
        self.eqns.append(Eqn(op, tuple(atoms), params, outs, source or self.source or user_source()))
        return [Tracer(self, v) for v in outs]

    def graph(self, outputs: Sequence) -> Graph:
        return Graph((*self.inputs, *self.captured.values()), tuple(self.eqns), tuple(outputs), self.name, ("trace",))


def leaked(tracer: Tracer, name: str = "") -> LeakedTracerError:
    """What is wrong with the use of a traced value outside its trace; name: of the op that it is used in."""
    what = f"{name and name + ': '}a traced value of `{tracer.owner.name}` ({tracer.type}) is used "
    if tracer.owner.open:
        return LeakedTracerError(what + "in another thread", "use it in the thread that traces the function")
    return LeakedTracerError(what + "after its trace has ended",
                             "return it from the function instead of keeping it in a global, an attribute or a list")


def bind(op: Op, arrays: Sequence, params) -> Any:
    """Applies an op to traced values: converts operands, writes the equation, returns the output Tracer or a tuple of them."""
    stack = _stack()
    if not stack:
        raise leaked(next(a for a in arrays if isinstance(a, Tracer)), op.name)
    trace = stack[-1]
    atoms, dtypes = [], []
    for a in arrays:
        if type(a) is Tracer:
            atom = (a._atom if a._view is None else a.current()) if a.owner is trace else trace.lift(a)
            atoms.append(atom)
            dtypes.append(a.weak or atom.type.dtype)
        else:
            atoms.append(None)
            dtypes.append(operand_dtype(a, op.name))
    if op.name in _COMPARISONS and int in dtypes and any(not isinstance(d, type) and d.kind in "iu" for d in dtypes):
        # the value of a Python integer that is an argument is not known here, and may lie beyond the range of the array's dtype
        dtypes = [I64 if d is int and type(a) is Tracer else d for a, d in zip(arrays, dtypes)]
    for i, dtype in enumerate(op.operand_dtypes(dtypes)):
        atom = atoms[i]
        if atom is None or (atom.type.dtype is not dtype and atom.type.dtype != dtype):
            try:
                atoms[i] = trace.atom(arrays[i], dtype, op.name)
            except TraceOverflowError:
                if op.name not in _COMPARISONS:
                    raise
                # a Python integer beyond the range of the array's dtype still compares, as in NumPy
                return bind(op, [np.asarray(a) if isinstance(a, int) else a for a in arrays], params)
    types = [a.type for a in atoms]
    if params or op.statics:
        params = op.canonical(types, params)
    outs = tuple([Var(t) for t in op.out_types(types, params)])
    trace.eqns.append(Eqn(op, tuple(atoms), params, outs, trace.source or user_source()))
    return tuple([Tracer(trace, v) for v in outs]) if op.multiple_outputs else Tracer(trace, outs[0])


_ONE_NUMBER = "a 0-d array is one number: use it as it stands, or `reshape(-1)`"


class Tracer(Operators):
    """Stands for an array while a function is traced; does what a NumPy array does."""

    __slots__ = ("__weakref__", "_atom", "_view", "mutable", "owner", "version", "weak")
    __jitnet_priority__ = 2
    __array_priority__ = 1000
    __hash__ = None

    def __init__(self, trace: Trace, atom, weak: type | None = None, mutable: bool | None = None):
        self.owner, self._atom, self.weak, self.version, self._view = trace, atom, weak, 0, None
        self.mutable = bool(atom.type.shape) if mutable is None else mutable

    def __jitnet_bind__(self, op, arrays, params):
        return bind(op, arrays, params)

    # What it stands for

    @property
    def type(self) -> ArrayType:
        return self._atom.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self._atom.type.shape

    @property
    def dtype(self) -> np.dtype:
        return self._atom.type.dtype

    @property
    def ndim(self) -> int:
        return len(self._atom.type.shape)

    @property
    def size(self) -> int:
        return self._atom.type.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._atom.type.nbytes

    @property
    @cutting
    def T(self):
        return self.transpose()

    @property
    @cutting
    def mT(self):
        return self.swapaxes(-1, -2)

    @property
    @cutting
    def flat(self):
        return self.reshape(-1)

    real = property(lambda self: self)

    @property
    def imag(self):
        from .ops import zeros_like

        return zeros_like(self)

    def __repr__(self) -> str:
        return f"Tracer<{self.type}>"

    __copy__ = cutting(lambda self: self.copy())
    __deepcopy__ = cutting(lambda self, memo: self.copy())

    @cutting
    def __reduce__(self):
        raise LeakedTracerError(f"a traced value of `{self.owner.name}` ({self.type}) has no elements that could be "
                                "pickled", "pickle what the function returns")

    def __format__(self, spec: str) -> str:
        return repr(self)  # `print(f"loss {loss:.3f}")` shows the stand-in, as `print(loss)` does

    def __len__(self) -> int:
        if not self.shape:
            raise TraceTypeError("len() of a 0-d array", _ONE_NUMBER)
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TraceTypeError("iteration over a 0-d array", _ONE_NUMBER)
        return map(self.__getitem__, range(self.shape[0]))

    def must_fit(self, dtype: np.dtype) -> None:
        """Notes that a Python integer meets an array of that dtype: a value beyond its range is an error, as in NumPy."""
        if self.weak is int and dtype is not None and dtype.kind in "iu":
            self.owner.limits.add((self._atom, dtype))

    # Views and writes

    def current(self):
        """The atom that holds the value now; a view whose base was written is read again."""
        view = self._view
        if view is not None:
            base = view.base
            base.current()
            if base.version != view.seen:
                with self.owner.resumed():
                    self._atom = view.get(Tracer(self.owner, self.owner.lift(base)))._atom
                view.seen, self.version = base.version, self.version + 1
        return self._atom

    def alias(self, get: Callable, put: Callable, *, key=None, strides=None) -> Tracer:
        """A tracer of get(self) that writes through: put(self, new) is the value of self after the view was set to new.

        key: what the view shows, comparable (a slice written back into its own place is then no work); strides: in
        elements, where the view is not contiguous.
        """
        trace = current_trace()
        out = get(Tracer(trace, trace.lift(self)) if trace is not None else self)
        out._view = View(self, get, put, key, strides)
        return out

    def check_writable(self) -> Trace:
        """The trace under way, which must be the one this array belongs to."""
        trace = current_trace()
        array = self
        while array is not None:
            if array.owner is not trace:
                raise LeakedTracerError(f"an array of `{array.owner.name}` ({array.type}) is written "
                                        + (f"inside `{trace.name}`" if trace else "after its trace has ended"),
                                        "return the new value from the inner function, and write it outside")
            array = array._view.base if array._view is not None else None
        return trace

    def assign(self, value: Tracer) -> None:
        """Makes this array (and what it is a view of) hold the value, which has its type."""
        trace = self.check_writable()
        view = self._view
        if view is not None:
            base = view.base
            base.assign(view.put(Tracer(trace, base.current()), Tracer(trace, value.current())))
            view.seen = base.version
        self._atom = value.current()
        self.version += 1

    @cutting
    def __getitem__(self, key):
        from .numpy.indexing import getitem

        return getitem(self, key)

    @cutting
    def __setitem__(self, key, value):
        from .numpy.indexing import setitem

        setitem(self, key, value)

    # NumPy's protocols

    @cutting
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from .numpy.protocol import array_ufunc

        return array_ufunc(ufunc, method, inputs, kwargs)

    @cutting
    def __array_function__(self, function, types, args, kwargs):
        handler = NUMPY_FUNCTIONS.get(function)
        if handler is None:
            name = f"{function.__module__}.{function.__name__}"
            raise TraceTypeError(f"{name}: jitnet cannot compile this function of a traced value ({self.type})",
                                 "write it with functions that `jitnet.numpy` has, or call it outside the compiled function")
        return handler(*args, **kwargs)

    def __array_namespace__(self, api_version=None):
        from . import numpy

        return numpy

    def __getattr__(self, name: str):
        method = METHODS.get(name)
        if method is None:
            from .numpy.protocol import method_named  # the import fills the table

            method = method_named(name)
        return cutting(functools.partial(method, self))


# Tracing a function

@dataclass(frozen=True)
class Traced:
    """A function as a Graph. `captured`: tracers of the enclosing trace, the last inputs of the graph. `written`: which of
    the arguments were written in place; their new values are the last outputs. `limits`: arguments that are Python
    integers, and dtypes that they must fit into."""

    graph: Graph
    captured: tuple[Tracer, ...]
    written: tuple[int, ...]
    limits: tuple[tuple[int, np.dtype], ...] = ()


def trace(function: Callable[..., Sequence], types: Sequence[ArrayType], name: str, *, weak: Sequence[type | None] = (),
          names: Sequence[str] = (), allow_writes: bool = False, mutable: Sequence[bool] = (), once: bool = False) -> Traced:
    """The Graph of `function`, which takes one tracer per type and returns a flat list of array-likes."""
    pad = (None,) * len(types)
    with Trace(name, allow_writes, once) as t:
        tracers = [t.input(*parts) for parts in zip(types, (*names, *("",) * len(types)), (*weak, *pad), (*mutable, *pad))]
        results = [t.atom(check_output(r, name)) for r in function(*tracers)]
        written = tuple(i for i, x in enumerate(tracers) if x.version)
        if written and not allow_writes:
            raise TraceTypeError(f"`{name}` writes into its argument {written[0]}, which a transformed function cannot do",
                                 "copy it first: `x = x.copy()`")
        results += [tracers[i].current() for i in written]
        graph = t.graph(results)
    parent = t.parent
    limits = tuple([(i, dtype) for i, v in enumerate(t.inputs) for atom, dtype in t.limits if atom is v])
    return Traced(graph, tuple(Tracer(parent, v) for v in t.captured), written, limits)


def check_output(value, name: str):
    """The value itself when it can be an output: an array or a number."""
    if isinstance(value, (Tracer, bool, int, float, np.ndarray, np.generic)) or hasattr(value, "__jitnet_bind__"):
        return value
    getattr(value, "__jitnet_refuse__", lambda: None)()   # what knows better why it is no output
    raise TraceTypeError(f"`{name}` returns {a_type(value)}, which is no array",
                         "return arrays, numbers, or tuples, lists, dicts and dataclasses of them")


def inline(graph: Graph, args: Sequence) -> list:
    """The outputs of a graph applied to traced values (or arrays): its equations are written into the current trace."""
    trace = current_trace()

    def apply(eqn, atoms):
        return [t.current() for t in trace.emit(eqn.op, atoms, eqn.params, eqn.source)]

    atoms = [trace.atom(x, v.type.dtype) for x, v in zip(args, graph.inputs, strict=True)]
    return [Tracer(trace, a) for a in interpret(graph, atoms, apply, lambda c: c)]
