"""Steps of random programs, elementwise and reductions, on values whose bounds and exactness are kept track of.

Values stay bounded and functions well conditioned, so that the last bits of a float stay the last bits. What jumps
(comparisons, casts to integers, positions of extremes) is applied only to values whose bits do not depend on how they are
computed: "exact" ones.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import ops
from .tracer import Tracer
from .types import BOOL, F32, F64, I32, I64, broadcast_shapes, is_float

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


class Steps:
    """A program under way: its values, and the steps that compute new ones. Abstract: `Program` has all the steps.

    `choose(k)` gives a number from 0 to k - 1: from a generator, or from a recorded list.
    """

    STEPS: tuple[str, ...] = ()

    def __init__(self, choose: Callable[[int], int], values: list[Value], *, depth: int = 0, steps=None,
                 reverse: bool = True, floats=(F32, F64)):
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
        if is_float(x.dtype) and bound > 4:
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
        if dtype == BOOL:
            return Value(ops.not_equal(x, np.zeros((), x.dtype)))
        x = x if x.dtype == dtype else ops.cast(x, dtype=dtype)
        return Value(x, 2.0 ** 63) if not is_float(dtype) else Value(ops.minimum(ops.abs(x), np.asarray(4, dtype)), 4.0)

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
        mask = self.choose(2 ** v.x.ndim)
        if self.choose(3) == 0:   # all, or the last
            mask = 2 ** v.x.ndim - 1 if self.choose(2) else 1 << max(v.x.ndim - 1, 0)
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
            lambda: (ops.exp(-(x * x)), 1, 0), lambda: (ops.exp(ops.minimum(x, one)), math.e, 0),
            lambda: (ops.log(x * x + one), b + 1, 0), lambda: (ops.sqrt(x * x + half), b + 1, 0), lambda: (ops.arctan(x), 2, 0),
            lambda: (ops.erf(x), 1, 0), lambda: (-x, b, 1), lambda: (ops.abs(x), b, 1), lambda: (x * half, b / 2, 1),
            lambda: (x + one, b + 1, 1), lambda: (x * x, b * b, 0), lambda: (one / (x * x + one), 1, 0),
            lambda: (ops.expm1(ops.tanh(x)), 2, 0), lambda: (ops.power(x * x + half, half), b + 1, 0),
            lambda: (ops.where(ops.greater(x, one * 0), x, half * x) if v.exact else x, b, 1),
            lambda: (ops.floor(x) if v.exact else ops.maximum(x, one * 0), b + 1, 1), lambda: (one - x, b + 1, 1)]
        out, bound, exact = self.one_of(table)()
        self.put(out, bound, exact and v.exact)

    def binary(self):
        v = self.pick()
        u = self.partner(v)
        v, u = (u, v) if self.choose(2) else (v, u)
        x, y, exact = v.x, u.x, v.exact and u.exact
        total, larger = v.bound + u.bound, max(v.bound, u.bound)
        one = np.asarray(1, x.dtype)
        table = [
            lambda: (x + y, total, exact), lambda: (x - y, total, exact), lambda: (x * y, v.bound * u.bound, False),
            lambda: (x / (y * y + one), v.bound, False), lambda: (ops.maximum(x, y), larger, exact),
            lambda: (ops.minimum(x, y * one), larger, exact), lambda: (ops.arctan2(x, y * y + one), 2, False),
            lambda: (ops.hypot(x, y + one * 5), total + 5, False), lambda: (ops.logaddexp(x, y), larger + 1, False),
            lambda: (x + y * one, total, exact), lambda: (ops.where(ops.less(x, y), x, y) if exact else x + y, total, exact)]
        self.put(*self.one_of(table)())

    def integers(self):
        v = self.pick("iu")
        u = self.partner(v)
        x, y = v.x, u.x
        three = np.asarray(3, x.dtype)
        table = [lambda: x + y, lambda: x - y, lambda: x * y, lambda: -x, lambda: ops.abs(x), lambda: x & y, lambda: x ^ y,
                 lambda: ~x, lambda: x << (y & three), lambda: x >> (y & three), lambda: ops.maximum(x, y),
                 lambda: x // (y | three), lambda: x % (y | three), lambda: ops.sign(x), lambda: x + three, lambda: x < y,
                 lambda: ops.equal(x, y), lambda: x >= y]
        self.put(self.one_of(table)(), 2.0 ** 63)

    def choice(self):
        c = self.pick("b")
        if self.choose(3) == 0:
            d = self.partner(c)
            table = [lambda: c.x & d.x, lambda: c.x | d.x, lambda: c.x ^ d.x, lambda: ~c.x, lambda: c.x + d.x]
            self.put(self.one_of(table)())
            return
        found = [v for v in self.values if broadcast_shapes(v.shape, c.shape) is not None and v.dtype.kind != "b"]
        if not found:
            return
        v = self.one_of(found)
        u = self.partner(v, lambda u: broadcast_shapes(u.shape, v.shape, c.shape) is not None)
        if broadcast_shapes(u.shape, v.shape, c.shape) is not None:
            self.put(ops.where(c.x, v.x, u.x), max(v.bound, u.bound), v.exact and u.exact)

    def cast(self):
        v = self.pick("fiub")
        if is_float(v.dtype):
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
            steady = v.exact or self.floats == (F64,)   # among many rounded float32 two extremes come close, and gradients jump
            op = self.one_of((ops.sum, ops.sum, ops.max, ops.min) if steady else (ops.sum,)) if n else ops.sum
            if n <= 5 and self.choose(6) == 0:
                op = ops.prod
            out, bound, exact = op(v.x, axis=axes), v.bound, v.exact
            if is_float(v.dtype) and op is ops.sum:
                out, exact = out * np.asarray(1 / max(n, 1), out.dtype), False
            elif op is ops.prod:
                bound, exact = max(v.bound, 1) ** n, False
            if not is_float(v.dtype):
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
            return None
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
        if is_float(v.dtype):
            size = np.asarray(max(1, v.shape[axis]), v.dtype)
            table = [lambda: (ops.cumsum(v.x / size, axis=axis), False), lambda: (ops.sort(v.x, axis=axis), v.exact),
                     lambda: (ops.cummax(v.x, axis=axis), v.exact)]
            out, exact = self.one_of(table)()
            self.put(out, v.bound, exact)
        else:
            self.put(ops.cumsum(v.x, axis=axis), 2.0 ** 63)
