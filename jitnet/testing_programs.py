"""Random programs: graphs of every kind of op over random shapes, to test passes and compiled code against what a graph means.

    program = random_program(seed)                a Program of one to five inputs; `program.graph` is its Graph
    random_arguments(graph, seed)                 arrays for it

Values stay bounded and functions well conditioned, so that the last bits of a float stay the last bits. What jumps (comparisons,
casts to integers, positions of extremes) is applied only to values whose bits do not depend on how they are computed: "exact" ones.
`testing_compiled` compares what compiled graphs and `eval_graph` make of them.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import control, ops
from .ir import Graph, check_graph
from .tracer import Trace, Tracer
from .types import BOOL, F32, F64, I32, I64, ArrayType, broadcast_shapes

MOST_ELEMENTS = 40_000
INTS = tuple(np.dtype(d) for d in ("i8", "i4", "i2", "i1", "u1", "u8"))


@dataclass
class Value:
    """A traced value, a bound of its size, and whether its bits are the same however it is compiled."""

    x: Tracer
    bound: float = 1.0
    exact: bool = True

    @property
    def shape(self):
        return self.x.shape

    @property
    def dtype(self):
        return self.x.dtype


class Program:
    """A program under way. `choose(k)` gives a number from 0 to k - 1: from a generator, or from a recorded list."""

    STEPS = ("unary", "unary", "binary", "binary", "binary", "reduction", "reduction", "normalized", "movement", "movement", "movement",
             "integers", "choice", "cast", "gather", "scatter", "matmul", "joined", "written", "extreme", "running", "branch", "loop")

    def __init__(self, choose: Callable[[int], int], values: list[Value], *, depth: int = 0, steps=None, reverse: bool = True, floats=(F32, F64)):
        self.choose, self.values, self.depth, self.reverse, self.floats = choose, values, depth, reverse, floats
        self.kinds = steps or self.STEPS

    def run(self, length: int) -> None:
        """Adds the values of so many steps."""
        for _ in range(length):
            getattr(self, self.one_of(self.kinds))()

    def one_of(self, options: Sequence):
        return options[self.choose(len(options))]

    def put(self, x, bound=1.0, exact=True) -> Value | None:
        """Keeps a new value; large floats are scaled down."""
        if x.size > MOST_ELEMENTS or x.ndim > 4:
            return None
        if x.dtype.kind == "f" and bound > 4:
            factor = 2.0 ** -math.ceil(math.log2(bound))
            x, bound = x * np.asarray(factor, x.dtype), bound * factor
        self.values.append(value := Value(x, bound, exact))
        return value

    def pick(self, kinds="f", ndim=0, test=lambda v: True) -> Value:
        """A value of these kinds, most likely a recent one; made of another one where there is none."""
        found = [v for v in self.values if v.dtype.kind in kinds and v.x.ndim >= ndim and test(v)]
        if found:
            return found[-1 - min(self.choose(2 * len(found)) // 2, self.choose(len(found)), len(found) - 1)]
        source = next((v for v in reversed(self.values) if v.x.ndim >= ndim and v.exact), None)
        x = source.x if source else ops.iota(shape=(2, 3, 2, 1)[:max(ndim, 1)], axis=0, dtype=I64)
        dtype = {"f": self.floats[-1], "i": I64, "u": np.dtype("u1"), "b": BOOL}[kinds[0]]
        return Value(x if x.dtype == dtype else ops.cast(x, dtype=dtype) if dtype != BOOL else ops.not_equal(x, np.zeros((), x.dtype)), 8.0)

    def partner(self, v: Value, test=lambda v: True) -> Value:
        """A value of the same dtype that broadcasts with v: another one, or a row or total of v itself."""
        found = [u for u in self.values if u.dtype == v.dtype and broadcast_shapes(u.shape, v.shape) is not None and test(u)]
        if found and self.choose(4):
            return found[-1 - min(self.choose(len(found)), self.choose(len(found)))]
        axes = self.axes(v)
        if v.dtype.kind == "b" or any(v.shape[a] == 0 for a in axes):
            return v
        x = ops.max(v.x, axis=axes)
        return Value(self.keep(x, v, axes), v.bound, v.exact)

    def axes(self, v: Value) -> tuple[int, ...]:
        mask = self.choose(2 ** v.x.ndim) if self.choose(3) else 2 ** v.x.ndim - 1 if self.choose(2) else 1 << max(v.x.ndim - 1, 0)
        return tuple(a for a in range(v.x.ndim) if mask >> a & 1)

    @staticmethod
    def keep(x, v: Value, axes):
        return ops.reshape(x, shape=tuple(1 if a in axes else n for a, n in enumerate(v.shape)))

    # Elementwise

    def unary(self):
        v = self.pick()
        x, b = v.x, v.bound
        one, half = (np.asarray(c, x.dtype) for c in (1, 0.5))
        table = [
            lambda: (ops.tanh(x), 1, 0), lambda: (ops.sin(x), 1, 0), lambda: (ops.cos(x), 1, 0), lambda: (ops.sigmoid(x), 1, 0),
            lambda: (ops.exp(-(x * x)), 1, 0), lambda: (ops.exp(ops.minimum(x, one)), math.e, 0), lambda: (ops.log(x * x + one), b + 1, 0),
            lambda: (ops.sqrt(x * x + half), b + 1, 0), lambda: (ops.arctan(x), 2, 0), lambda: (ops.erf(x), 1, 0), lambda: (-x, b, 1),
            lambda: (ops.abs(x), b, 1), lambda: (x * half, b / 2, 1), lambda: (x + one, b + 1, 1), lambda: (x * x, b * b, 0),
            lambda: (one / (x * x + one), 1, 0), lambda: (ops.expm1(ops.tanh(x)), 2, 0), lambda: (ops.power(x * x + half, half), b + 1, 0),
            lambda: (ops.where(ops.greater(x, one * 0), x, half * x) if v.exact else x, b, 1),
            lambda: (ops.floor(x) if v.exact else ops.maximum(x, one * 0), b + 1, 1), lambda: (one - x, b + 1, 1)]
        out, bound, exact = self.one_of(table)()
        self.put(out, bound, exact and v.exact)

    def binary(self):
        v = self.pick()
        u = self.partner(v)
        v, u = (u, v) if self.choose(2) else (v, u)
        x, y, exact = v.x, u.x, v.exact and u.exact
        one = np.asarray(1, x.dtype)
        table = [
            lambda: (x + y, v.bound + u.bound, exact), lambda: (x - y, v.bound + u.bound, exact), lambda: (x * y, v.bound * u.bound, False),
            lambda: (x / (y * y + one), v.bound, False), lambda: (ops.maximum(x, y), max(v.bound, u.bound), exact),
            lambda: (ops.minimum(x, y * one), max(v.bound, u.bound), exact), lambda: (ops.arctan2(x, y * y + one), 2, False),
            lambda: (ops.hypot(x, y + one * 5), v.bound + u.bound + 5, False), lambda: (ops.logaddexp(x, y), max(v.bound, u.bound) + 1, False),
            lambda: (x + y * one, v.bound + u.bound, exact), lambda: (ops.where(ops.less(x, y), x, y) if exact else x + y, v.bound + u.bound, exact)]
        self.put(*self.one_of(table)())

    def integers(self):
        v = self.pick("iu")
        u = self.partner(v)
        x, y = v.x, u.x
        three = np.asarray(3, x.dtype)
        table = [lambda: x + y, lambda: x - y, lambda: x * y, lambda: -x, lambda: ops.abs(x), lambda: x & y, lambda: x ^ y, lambda: ~x,
                 lambda: x << (y & three), lambda: x >> (y & three), lambda: ops.maximum(x, y), lambda: x // (y | three), lambda: x % (y | three),
                 lambda: ops.sign(x), lambda: x + three, lambda: x < y, lambda: ops.equal(x, y), lambda: x >= y]
        self.put(self.one_of(table)(), 2.0 ** 63)

    def choice(self):
        c = self.pick("b")
        if self.choose(3) == 0:
            d = self.partner(c)
            return self.put(self.one_of([lambda: c.x & d.x, lambda: c.x | d.x, lambda: c.x ^ d.x, lambda: ~c.x, lambda: c.x + d.x])())
        found = [v for v in self.values if broadcast_shapes(v.shape, c.shape) is not None and v.dtype.kind != "b"]
        if not found:
            return None
        v = self.one_of(found)
        u = self.partner(v, lambda u: broadcast_shapes(u.shape, v.shape, c.shape) is not None)
        if broadcast_shapes(u.shape, v.shape, c.shape) is not None:
            self.put(ops.where(c.x, v.x, u.x), max(v.bound, u.bound), v.exact and u.exact)

    def cast(self):
        v = self.pick("fiub")
        if v.dtype.kind == "f":
            options = [*self.floats, *((I32, I64, np.dtype("i1")) if v.exact and v.bound < 100 else ())]
            return self.put(ops.cast(v.x, dtype=self.one_of(options)), v.bound, v.exact)
        if v.dtype.kind == "b" or self.choose(2):
            x = ops.cast(v.x, dtype=self.one_of(self.floats))
            return self.put(ops.minimum(ops.abs(x), np.asarray(3, x.dtype)), 3)
        return self.put(ops.cast(v.x, dtype=self.one_of((*INTS, BOOL))), 2.0 ** 63)

    # Reductions

    def reduction(self):
        v = self.pick("ffffiub", ndim=1)
        axes = self.axes(v)
        n = math.prod(v.shape[a] for a in axes)
        if v.dtype.kind == "b":
            out = self.one_of((ops.any, ops.all, ops.sum))(v.x, axis=axes)
            bound, exact = n, True
        else:
            op = self.one_of((ops.sum, ops.sum, ops.max, ops.min)) if n else ops.sum
            if n <= 5 and self.choose(6) == 0:
                op = ops.prod
            out, bound, exact = op(v.x, axis=axes), v.bound, v.exact
            if v.dtype.kind == "f" and op is ops.sum:
                out, exact = out * np.asarray(1 / max(n, 1), out.dtype), False
            elif op is ops.prod:
                bound, exact = max(v.bound, 1) ** n, False
            if v.dtype.kind != "f":
                exact = True
        if self.choose(2):
            out = self.keep(out, v, axes)
        if v.dtype.kind == "b" and out.dtype.kind == "i":
            bound = 2.0 ** 63
        self.put(out, bound, exact)

    def normalized(self):
        """Softmax, layer norm, or a difference from a row's mean: reductions that are read where they were reduced."""
        v = self.pick(ndim=1)
        axes = self.axes(v)
        n = math.prod(v.shape[a] for a in axes)
        if not n:
            return
        total = lambda x: self.keep(ops.sum(x, axis=axes), v, axes)
        size = np.asarray(n, v.dtype)
        kind = self.choose(4)
        if kind == 0:
            e = ops.exp(v.x - self.keep(ops.max(v.x, axis=axes), v, axes))
            return self.put(e / total(e), 1, False)
        centred = v.x - total(v.x) / size
        if kind == 1:
            return self.put(centred, 2 * v.bound, False)
        spread = ops.sqrt(total(centred * centred) / size + np.asarray(0.5, v.dtype))
        if kind == 2:
            return self.put(centred / spread, 3 * v.bound, False)
        self.put(ops.reshape(spread, shape=spread.shape), 2 * v.bound + 1, False)
        return self.put(ops.tanh(centred), 1, False)

    def extreme(self):
        v = self.pick("fi", ndim=1, test=lambda v: v.exact and v.x.size > 0)
        if v.x.size:
            self.put(self.one_of((ops.argmax, ops.argmin))(v.x, axis=(self.choose(v.x.ndim),)), 1000)

    def running(self):
        v = self.pick("ffi", ndim=1)
        axis = self.choose(v.x.ndim)
        if v.dtype.kind == "f":
            size = np.asarray(max(1, v.shape[axis]), v.dtype)
            self.put(*self.one_of([lambda: (ops.cumsum(v.x / size, axis=axis), v.bound, False), lambda: (ops.sort(v.x, axis=axis), v.bound, v.exact),
                                   lambda: (ops.cummax(v.x, axis=axis), v.bound, v.exact)])())
        else:
            self.put(ops.cumsum(v.x, axis=axis), 2.0 ** 63)

    # Movements

    def movement(self):
        v = self.pick("fffiub", ndim=self.choose(2))
        x = self.one_of([self.reshaped, self.reshaped, self.permuted, self.permuted, self.sliced, self.sliced, self.spread, self.padded])(v)
        if x is not None:
            self.put(x, v.bound, v.exact)

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
            start.append(low), step.append(k), size.append(max(0, room - self.choose(3)) if self.choose(2) else room)
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
            return self.put(x, max(v.bound, 2), v.exact)
        if v.dtype.kind == "f":
            x[where] *= np.asarray(0.5, v.dtype)
            x[..., :1] = x[..., -1:] if v.shape[-1] else 0
            return self.put(x, v.bound, v.exact)
        x[where] += x[where]
        return self.put(x, 2.0 ** 63)

    # Places that are data

    def index(self, n: int, shape=None) -> Tracer:
        """An index array within range(n)."""
        if shape is None and self.choose(3):
            v = self.pick("iu", ndim=0, test=lambda v: v.x.ndim <= 2 and v.x.size <= 200)
            return ops.remainder(ops.cast(v.x, dtype=I64), np.asarray(n, I64))
        shape = shape or (1 + self.choose(5),)
        return ops.remainder(ops.iota(shape=shape, axis=len(shape) - 1, dtype=I64) * np.asarray(1 + self.choose(3), I64), np.asarray(n, I64))

    def gather(self):
        v = self.pick("fffib", ndim=1, test=lambda v: v.x.size > 0)
        if not v.x.size:
            return
        axis = self.choose(v.x.ndim)
        first = self.index(v.shape[axis])
        if v.x.ndim > 1 and self.choose(3) == 0:
            other = (axis + 1) % v.x.ndim
            second = ops.remainder(first, np.asarray(v.shape[other], I64))
            return self.put(ops.gather(v.x, first, second, axes=(axis, other)), v.bound, v.exact)
        self.put(ops.gather(v.x, first, axes=(axis,)), v.bound, v.exact)

    def scatter(self):
        v = self.pick("ffi", ndim=1, test=lambda v: v.x.size > 0)
        if not v.x.size or v.x.size > 2000:
            return
        axis = self.choose(v.x.ndim)
        count = 1 + self.choose(3)
        shape = (count, *(n for a, n in enumerate(v.shape) if a != axis))
        updates = ops.broadcast_to(ops.max(v.x, axis=(axis,)), shape=shape)
        index = self.index(v.shape[axis], (count,))
        if self.choose(2):
            self.put(ops.scatter_set(v.x, updates, index, axes=(axis,)), v.bound, v.exact)
        else:
            self.put(ops.scatter_add(v.x, updates, index, axes=(axis,)), v.bound * (count + 1), False if v.dtype.kind == "f" else True)

    def matmul(self):
        v = self.pick("fffffi", ndim=2)
        x = v.x
        flipped = ops.transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))
        found = [u.x for u in self.values if u.dtype == v.dtype and u.x.ndim >= 2 and u.shape[-2] == v.shape[-1] and u.bound <= 8
                 and broadcast_shapes(u.shape[:-2], v.shape[:-2]) is not None]
        x, y = self.one_of([(x, flipped), (flipped, x), (x, self.one_of(found)) if found else (x, flipped)])
        if x.shape[-2] * y.shape[-1] > MOST_ELEMENTS or math.prod(x.shape) * y.shape[-1] > 2_000_000:
            return
        out = ops.matmul(x, y)
        if v.dtype.kind != "f":
            return self.put(out, 2.0 ** 63)
        self.put(out * np.asarray(1 / max(1, x.shape[-1]), v.dtype), v.bound * 8, False)

    # Control flow

    def inner(self, values: list[Value], length: int) -> Program:
        program = Program(self.choose, [*self.values[-4:], *values], depth=self.depth + 1, reverse=self.reverse, floats=self.floats)
        program.run(length)
        return program

    def like(self, program: Program, v: Value):
        """A value of the type of v (within its bounds) that depends on a recent value of a program."""
        last = program.pick("f" if v.dtype.kind == "f" else "iu")
        x = ops.sum(last.x, axis=None) if last.x.ndim else last.x
        if v.dtype.kind != "f":
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
        branches = [lambda x, k=k: self.like(self.inner([Value(x, v.bound, v.exact)], k), Value(x, v.bound, v.exact)) for k in (1, 2)]
        if self.choose(2):
            out = control.cond(pred, *branches, v.x)
        else:
            out = control.switch(ops.cast(pred, dtype=I32) * 2 - self.choose(2), [*branches, lambda x: x], v.x)
        self.put(out, max(1, v.bound), v.dtype.kind != "f")

    def loop(self):
        if self.depth >= 2:
            return
        a, b = self.pick("fi"), self.pick("f")
        rows = self.pick("fi", ndim=1, test=lambda v: v.shape[0] <= 8)
        kind = self.choose(4)
        reverse = bool(self.choose(2))

        exact = [False]

        def step(carry, row):
            x, y = (Value(c, max(v.bound, 1), c.dtype.kind != "f") for c, v in zip(carry, (a, b)))
            program = self.inner([x, y, *([Value(row, rows.bound, rows.exact)] if row is not None else [])], 2)
            new = [self.like(program, x), self.like(program, y)]
            if kind == 1 and a.x.shape == b.x.shape and a.dtype == b.dtype:
                new = [new[1], x.x]
            out, exact[0] = program.values[-1], program.values[-1].exact
            return tuple(new), (out.x, new[0])

        if kind < 3 and rows.shape[0] <= 8:
            (x, y), (z, zs) = control.scan(step, (a.x, b.x), rows.x, reverse=reverse)
            self.put(zs, max(a.bound, 1), a.dtype.kind != "f")
            self.put(z, 2.0 ** 63 if z.dtype.kind != "f" else 8, exact[0])
        elif self.reverse or self.choose(2):
            x, y = control.fori_loop(0, 3, lambda i, c: step(c, ops.cast(i, dtype=self.floats[-1]))[0], (a.x, b.x))
        else:
            n = ops.remainder(ops.cast(ops.sum(self.pick("iu").x, axis=None), dtype=I64), np.asarray(4, I64))
            x, y = control.fori_loop(n * 0, n, lambda i, c: step(c, None)[0], (a.x, b.x))
        self.put(x, max(a.bound, 1), a.dtype.kind != "f")
        self.put(y, max(b.bound, 1), False)


class Recorder:
    """Choices from a seeded generator, recorded; or the recorded ones again."""

    def __init__(self, seed, recorded: Sequence[int] | None = None):
        self.rng, self.made, self.recorded = np.random.default_rng(seed), [], recorded

    def __call__(self, k: int) -> int:
        known = self.recorded is not None and len(self.made) < len(self.recorded)
        self.made.append(self.recorded[len(self.made)] if known else int(self.rng.integers(k)))
        return self.made[-1]


SHAPES = [(), ("n",), ("n", 3), (3, "n"), (1, "n"), ("n", 1), (2, "n", 3), ("n", 4), (2, 3), (4,), (1,), (2, 3, 4), (2, 2, 3, "n")]


def random_graph(choose: Callable[[int], int], n: int = 7, *, length: int = 12, floats: Sequence = (F32, F64), shapes=SHAPES, steps=None,
                 outputs: int = 4, reverse: bool = True) -> Graph:
    """The checked Graph of a random program of so many steps. n: the size that shapes call "n"; reverse: no loops without a gradient."""
    with Trace("program") as t:
        program = Program(choose, [], steps=steps, reverse=reverse, floats=floats)
        main = program.one_of(floats)
        for k in range(2 + choose(4)):
            dtype = program.one_of((main, main, main, *floats, *INTS, BOOL)) if k else main
            shape = tuple(n if d == "n" else d for d in program.one_of(shapes))
            program.values.append(Value(t.input(ArrayType(shape, dtype), f"x{k}"), 2.0 if dtype.kind == "f" else 2.0 ** 63))
        inputs = len(program.values)
        program.run(length)
        made = program.values[inputs:] or program.values
        chosen = [made[-1], *(program.one_of(program.values) if choose(8) == 0 else program.one_of(made) for _ in range(choose(outputs)))]
        return check_graph(t.graph([v.x.current() for v in chosen]))


def random_arguments(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Arrays of the types of a graph's inputs: floats within [-2, 2], multiples of 1/256; integers over their whole range."""
    rng = np.random.default_rng(seed)
    arrays = []
    for t in graph.input_types:
        if t.dtype.kind == "f":
            a = np.round(rng.uniform(-2, 2, t.shape) * 256) / 256
        elif t.dtype.kind == "b":
            a = rng.integers(0, 2, t.shape)
        else:
            limits = np.iinfo(t.dtype)
            a = rng.integers(limits.min, limits.max, t.shape, dtype=t.dtype, endpoint=True)
        arrays.append(np.asarray(a, t.dtype))
    return arrays
