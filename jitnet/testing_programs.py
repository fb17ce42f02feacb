"""Random programs: graphs of every kind of op over random shapes, to test passes and compiled code against what they mean.

    graph = random_graph(Recorder(seed), n=7)     a Graph; its shapes hold the size n
    random_arguments(graph, seed)                 arrays for it

The same choices with another n give a graph that differs in sizes alone (`same_structure` tells). `testing_compiled`
compares what compiled graphs and `eval_graph` make of them.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from . import control, ops
from .ir import Const, Graph, check_graph, subgraphs
from .testing_steps import INTS, MOST_ELEMENTS, Steps, Value
from .tracer import Trace, Tracer
from .types import BOOL, F32, F64, I32, I64, ArrayType, broadcast_shapes, is_float


class Program(Steps):
    """A program of all the steps: movements, places that are data, products and control flow too."""

    STEPS = ("unary", "unary", "binary", "binary", "binary", "reduction", "reduction", "normalized", "movement", "movement",
             "movement", "integers", "choice", "cast", "gather", "scatter", "matmul", "joined", "written", "extreme", "running",
             "branch", "loop")

    # Movements

    def movement(self):
        v = self.pick("fffiub", ndim=self.choose(2))
        table = [self.reshaped, self.reshaped, self.permuted, self.permuted, self.sliced, self.sliced, self.spread, self.padded]
        x = self.one_of(table)(v)
        if x is not None:
            self.put(x, max(v.bound, 1), v.exact)

    def reshaped(self, v):
        shape, kind = list(v.shape), self.choose(5)
        if kind == 0:
            shape = [-1] if v.x.size else [0]
        elif kind == 1 and len(shape) > 1:
            k = self.choose(len(shape) - 1)
            shape[k:k + 2] = [shape[k] * shape[k + 1]]
        elif kind == 2 and shape:
            k = self.choose(len(shape))
            for part in (2, 3, 5):
                if shape[k] and shape[k] % part == 0:
                    shape[k:k + 1] = [part, shape[k] // part] if self.choose(2) else [shape[k] // part, part]
                    break
        elif kind == 3:
            shape.insert(self.choose(len(shape) + 1), 1)
        else:
            shape = [n for n in shape if n != 1]
        return ops.reshape(v.x, shape=tuple(shape)) if len(shape) <= 4 else None

    def permuted(self, v):
        axes = list(range(v.x.ndim))
        for k in range(len(axes) - 1):
            j = k + self.choose(len(axes) - k)
            axes[k], axes[j] = axes[j], axes[k]
        return ops.transpose(v.x, axes=tuple(axes))

    def region(self, shape) -> tuple[list, list, list]:
        """start, size and (positive) step of a part of an array."""
        start, size, step = [], [], []
        for n in shape:
            k = 1 + self.choose(3) if self.choose(3) == 0 else 1
            low = self.choose(min(n, 4)) if n else 0
            room = (n - low + k - 1) // k
            start.append(low)
            step.append(k)
            size.append(max(0, room - self.choose(3)) if self.choose(2) else room)
        return start, size, step

    def sliced(self, v):
        start, size, step = self.region(v.shape)
        for a in range(v.x.ndim):
            if self.choose(4) == 0 and size[a]:
                start[a], step[a] = start[a] + (size[a] - 1) * step[a], -step[a]
        return ops.slice(v.x, start=tuple(start), size=tuple(size), step=tuple(step))

    def spread(self, v):
        shape = [1 + self.choose(4) if n == 1 and self.choose(2) else n for n in v.shape]
        if self.choose(2) and len(shape) < 4:
            shape.insert(0, 1 + self.choose(4))
        return ops.broadcast_to(v.x, shape=tuple(shape))

    def padded(self, v):
        low, high = (tuple(self.choose(3) for _ in v.shape) for _ in range(2))
        return ops.pad(v.x, np.asarray(1, v.dtype), low=low, high=high)

    def joined(self):
        v = self.pick("ffib", ndim=1)
        axis = self.choose(v.x.ndim)
        same = [u for u in self.values if u.dtype == v.dtype and u.x.ndim == v.x.ndim
                and all(m == n or a == axis for a, (m, n) in enumerate(zip(u.shape, v.shape)))] or [v]
        parts = [v, *(self.one_of(same) for _ in range(1 + self.choose(2)))]
        self.put(ops.concatenate(*(p.x for p in parts), axis=axis), max(p.bound for p in parts), all(p.exact for p in parts))

    def written(self):
        """In-place code: a view of a copy is written."""
        v = self.pick("ffi", ndim=1)
        x = ops.reshape(v.x, shape=v.shape).copy()
        start, size, step = self.region(v.shape)
        where = tuple(slice(s, s + n * k, k) for s, n, k in zip(start, size, step))
        if self.choose(2):
            x[where] = self.one_of((0, 1, 2))
            self.put(x, max(v.bound, 2), v.exact)
        elif is_float(v.dtype):
            x[where] *= np.asarray(0.5, v.dtype)
            x[..., :1] = x[..., -1:] if v.shape[-1] else 0
            self.put(x, v.bound, v.exact)
        else:
            x[where] += x[where]
            self.put(x, 2.0 ** 63)

    # Places that are data

    def index(self, n: int, shape=None) -> Tracer:
        """An index array within range(n)."""
        if shape is None and self.choose(3):
            v = self.pick("iu", ndim=0, test=lambda v: v.x.ndim <= 1)
            return ops.remainder(ops.cast(v.x, dtype=I64), np.asarray(n, I64))
        shape = shape or (1 + self.choose(5),)
        position = ops.iota(shape=shape, axis=len(shape) - 1, dtype=I64) * np.asarray(1 + self.choose(3), I64)
        return ops.remainder(position, np.asarray(n, I64))

    def gather(self):
        v = self.pick("fffib", ndim=1, test=lambda v: v.x.size > 0)
        if not v.x.size:
            return
        axis = self.choose(v.x.ndim)
        first = self.index(v.shape[axis])
        if v.x.ndim > 1 and self.choose(3) == 0:
            other = (axis + 1) % v.x.ndim
            second = ops.remainder(first, np.asarray(v.shape[other], I64))
            self.put(ops.gather(v.x, first, second, axes=(axis, other)), v.bound, v.exact)
        else:
            self.put(ops.gather(v.x, first, axes=(axis,)), v.bound, v.exact)

    def scatter(self):
        v = self.pick("ffi", ndim=1, test=lambda v: v.x.size > 0)
        if not v.x.size:
            return
        axis = self.choose(v.x.ndim)
        count = 1 + self.choose(3)
        shape = (count, *(n for a, n in enumerate(v.shape) if a != axis))
        updates = ops.broadcast_to(ops.max(v.x, axis=(axis,)), shape=shape)
        index = self.index(v.shape[axis], (count,))
        if self.choose(2):
            self.put(ops.scatter_set(v.x, updates, index, axes=(axis,)), v.bound, v.exact)
        else:
            self.put(ops.scatter_add(v.x, updates, index, axes=(axis,)), v.bound * (count + 1), not is_float(v.dtype))

    def matmul(self):
        v = self.pick("fffffi", ndim=2)
        x = v.x
        flipped = ops.transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))
        found = [u.x for u in self.values if u.dtype == v.dtype and u.x.ndim >= 2 and u.shape[-2] == v.shape[-1]
                 and u.bound <= 8 and broadcast_shapes(u.shape[:-2], v.shape[:-2]) is not None]
        x, y = self.one_of([(x, flipped), (flipped, x), (x, self.one_of(found)) if found else (x, flipped)])
        if max(x.ndim, y.ndim) <= 3 and self.choose(3) == 0:
            x, y = self.reused(x, y)
        if x.shape[-2] * y.shape[-1] > MOST_ELEMENTS or math.prod(x.shape) * y.shape[-1] > 2_000_000:
            return
        out = ops.matmul(x, y)
        if not is_float(v.dtype):
            self.put(out, 2.0 ** 63)
        else:
            self.put(out * np.asarray(1 / max(1, x.shape[-1]), v.dtype), v.bound * 8, False)

    def reused(self, x, y):
        """The operands with a new batch axis, along which one of them or both are the same."""
        count = 1 + self.choose(3)
        if self.choose(2):
            many = lambda z: ops.broadcast_to(z, shape=(count, *z.shape))
        else:   # between the batch axes and the matrices
            many = lambda z: ops.broadcast_to(ops.reshape(z, shape=(*z.shape[:-2], 1, *z.shape[-2:])),
                                              shape=(*z.shape[:-2], count, *z.shape[-2:]))
        single = lambda z: ops.reshape(z, shape=(*z.shape[:-2], 1, *z.shape[-2:]))
        pairs = [(many(x), many(y)), (single(x), many(y)), (many(x), single(y)), (x, many(y)), (many(x), y)]
        return self.one_of([(a, b) for a, b in pairs if broadcast_shapes(a.shape[:-2], b.shape[:-2]) is not None])

    # Control flow

    def inner(self, values: list[Value], length: int) -> Program:
        program = Program(self.choose, [*self.values[-4:], *values], depth=self.depth + 1, reverse=self.reverse,
                          floats=self.floats)
        program.run(length)
        return program

    def like(self, program: Program, v: Value):
        """A value of the type of v (within its bounds) that depends on a recent value of a program."""
        last = program.pick("f" if is_float(v.dtype) else "iu")
        x = ops.sum(last.x, axis=None) if last.x.ndim else last.x
        if not is_float(v.dtype):
            return v.x + ops.cast(x, dtype=v.dtype)
        x = x * np.asarray(1 / max(1, last.x.size), x.dtype)
        x = x if x.dtype == v.dtype else ops.cast(x, dtype=v.dtype)
        return ops.tanh(v.x + x) if self.choose(2) else ops.sin(v.x * x)

    def branch(self):
        if self.depth >= 2:
            return
        p = self.pick("b", test=lambda v: v.x.size > 0)
        v = self.pick("fi")
        pred = p.x if p.x.ndim == 0 else ops.any(p.x, axis=None)

        def branch(x, length):
            operand = Value(x, v.bound, v.exact)
            return self.like(self.inner([operand], length), operand)

        branches = [lambda x: branch(x, 1), lambda x: branch(x, 2)]
        if self.choose(2):
            out = control.cond(pred, *branches, v.x)
        else:
            out = control.switch(ops.cast(pred, dtype=I32) * 2 - self.choose(2), [*branches, lambda x: x], v.x)
        self.put(out, max(1, v.bound), not is_float(v.dtype))

    def loop(self):
        if self.depth >= 2:
            return
        a, b = self.pick("fi"), self.pick("f")
        rows = self.pick("fi", ndim=1, test=lambda v: v.shape[0] <= 8)
        kind = self.choose(4)
        reverse = bool(self.choose(2))

        exact = [False]

        def step(carry, row):
            x, y = (Value(c, max(v.bound, 1), not is_float(c.dtype)) for c, v in zip(carry, (a, b)))
            program = self.inner([x, y, *([Value(row, rows.bound, rows.exact)] if row is not None else [])], 2)
            new = [self.like(program, x), self.like(program, y)]
            if kind == 1 and a.x.shape == b.x.shape and a.dtype == b.dtype:
                new = [new[1], x.x]
            out, exact[0] = program.values[-1], program.values[-1].exact
            return tuple(new), (out.x, new[0])

        if kind < 3 and rows.shape[0] <= 8:
            (x, y), (z, zs) = control.scan(step, (a.x, b.x), rows.x, reverse=reverse)
            self.put(zs, max(a.bound, 1), not is_float(a.dtype))
            self.put(z, 2.0 ** 63 if not is_float(z.dtype) else 8, exact[0])
        elif self.reverse or self.choose(2):
            x, y = control.fori_loop(0, 3, lambda i, c: step(c, ops.cast(i, dtype=self.floats[-1]))[0], (a.x, b.x))
        else:
            n = ops.remainder(ops.cast(ops.sum(self.pick("iu").x, axis=None), dtype=I64), np.asarray(4, I64))
            x, y = control.fori_loop(n * 0, n, lambda i, c: step(c, None)[0], (a.x, b.x))
        self.put(x, max(a.bound, 1), not is_float(a.dtype))
        self.put(y, max(b.bound, 1), False)


class Recorder:
    """Choices from a seeded generator, recorded; or the recorded ones again."""

    def __init__(self, seed, recorded: Sequence[int] | None = None):
        self.rng, self.made, self.recorded = np.random.default_rng(seed), [], recorded

    def __call__(self, k: int) -> int:
        known = self.recorded is not None and len(self.made) < len(self.recorded)
        self.made.append(self.recorded[len(self.made)] % k if known else int(self.rng.integers(k)))
        return self.made[-1]


SHAPES = [(), ("n",), ("n", 3), (3, "n"), (1, "n"), ("n", 1), (2, "n", 3), ("n", 4), (2, 3), (4,), (1,), (2, 3, 4),
          (2, 2, 3, "n")]


def random_graph(choose: Callable[[int], int], n: int = 7, *, length: int = 12, floats: Sequence = (F32, F64), shapes=SHAPES,
                 steps=None, outputs: int = 4, reverse: bool = True) -> Graph:
    """The checked Graph of a random program of so many steps.

    n: the size that shapes call "n"; reverse: no loops without a gradient.
    """
    with Trace("program") as t:
        program = Program(choose, [], steps=steps, reverse=reverse, floats=floats)
        main = program.one_of(floats)
        for k in range(2 + choose(4)):
            dtype = program.one_of((main, main, main, *floats, *INTS, BOOL)) if k else main
            shape = tuple(n if d == "n" else d for d in program.one_of(shapes))
            x = t.input(ArrayType(shape, dtype), f"x{k}")
            program.values.append(Value(x, 2.0 if is_float(dtype) else 2.0 ** 63))
        inputs = len(program.values)
        program.run(length)
        made = program.values[inputs:] or program.values
        chosen = [made[-1], *(program.one_of(program.values if choose(8) == 0 else made) for _ in range(choose(outputs)))]
        return check_graph(t.graph([v.x.current() for v in chosen]))


def same_structure(a: Graph, b: Graph) -> bool:
    """Do two graphs differ in sizes and values alone?"""
    if [e.op for e in a.eqns] != [e.op for e in b.eqns] or len(a.outputs) != len(b.outputs):
        return False
    place = dict(zip(a.inputs, b.inputs))
    for e, f in zip(a.eqns, b.eqns):
        place.update(zip(e.outputs, f.outputs))
    pairs = [p for e, f in zip(a.eqns, b.eqns) for p in zip(e.inputs, f.inputs)] + list(zip(a.outputs, b.outputs))
    return all(type(x) is type(y) is Const or place.get(x) is y for x, y in pairs) and all(
        same_structure(g, h) for e, f in zip(a.eqns, b.eqns) for (_, g), (_, h) in zip(subgraphs(e), subgraphs(f)))


def random_arguments(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Arrays of the types of a graph's inputs: floats within [-2, 2], multiples of 1/256; integers over their whole range."""
    rng = np.random.default_rng(seed)
    arrays = []
    for t in graph.input_types:
        if is_float(t.dtype):
            a = np.round(rng.uniform(-2, 2, t.shape) * 256) / 256
        elif t.dtype.kind == "b":
            a = rng.integers(0, 2, t.shape)
        else:
            limits = np.iinfo(t.dtype)
            a = rng.integers(limits.min, limits.max, t.shape, dtype=t.dtype, endpoint=True)
        arrays.append(np.asarray(a, t.dtype))
    return arrays
