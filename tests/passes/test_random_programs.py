"""Random programs keep their bits through every pass: exactly rounded operations on NaN, infinities, both zeros, subnormals."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.ir import Const, check_graph
from jitnet.ops.control import switch
from jitnet.ops.loops import scan
from jitnet.passes import PASSES
from jitnet.passes.simplify import RULES, simplify
from jitnet.printing import emitter
from jitnet.tracer import Trace
from jitnet.types import ArrayType, broadcast_shapes

NUMBERS = {"f": [0.0, 0.0, 0.0, -0.0, -0.0, 1.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan],
           "i": [0, 1, -1, 2, 7, -128], "b": [True, False]}
STEPS = ["unary", "binary", "binary", "binary", "binary", "choice", "movement", "movement", "movement",
         "reduction", "loop", "repeat"]
STEPS = ["unary", "binary", "binary", "binary", "binary", "choice", "movement", "movement", "movement",
         "reduction", "loop", "repeat"]
SHAPES = [(), (3,), (1,), (2, 3), (2, 1), (2, 2, 3)]
DTYPES = [np.dtype(d) for d in ("f4", "f4", "f8", "i4", "i8", "i1", "?")]


class Program:
    """A random program of exactly rounded operations only, for which NumPy gives the same bits in any layout."""

    def __init__(self, rng, length):
        self.rng, self.values = rng, []
        with Trace("program") as t:
            self.trace = t
            self.trace = t
            for k in range(4):
                dtype = DTYPES[rng.integers(len(DTYPES))]
                self.values.append(t.input(ArrayType(SHAPES[rng.integers(len(SHAPES))], dtype), f"x{k}"))
            for _ in range(length):
                getattr(self, rng.choice(STEPS))()
            outputs = [self.pick() for _ in range(8)]
            self.graph = t.graph([x.current() for x in outputs])

    def put(self, op, *operands, **params):
        out = emitter(op)(*operands, **params)
        self.values += [x for x in (out if isinstance(out, tuple) else (out,)) if x.size <= 500]

    def pick(self, kinds="fib", ndim=0):
        """A value of one of these kinds, most likely a recent one, so that rules find something to work on."""
        found = [x for x in self.values if x.dtype.kind in kinds and x.ndim >= ndim]
        if not found:
            return emitter(ops.broadcast_to)(self.number(np.dtype("f4") if "f" in kinds else np.dtype("?")), shape=(2, 3))
        return found[-1 - min(int(self.rng.exponential(4)), len(found) - 1)]

    def number(self, dtype):
        return np.asarray(self.rng.choice(NUMBERS[dtype.kind]), dtype)

    def operand(self, x):
        """Something to combine with x: a number, numbers everywhere, or a value of its dtype that broadcasts with it."""
        kind = self.rng.integers(3)
        if kind == 0:
            return self.number(x.dtype)
        if kind == 1:
            return np.full(x.shape, self.number(x.dtype))
        fits = [y for y in self.values if y.dtype == x.dtype and broadcast_shapes(x.shape, y.shape) is not None]
        return fits[self.rng.integers(len(fits))] if fits else self.number(x.dtype)

    def unary(self):
        x = self.pick()
        if x.dtype.kind == "b":
            return self.put([ops.logical_not, ops.invert][self.rng.integers(2)], x)
        if self.rng.random() < 0.4:
            wider = [d for d in DTYPES if d.kind != "b" and (x.dtype.kind == "i" or d.kind == "f")]
            return self.put(ops.cast, x, dtype=wider[self.rng.integers(len(wider))])
        return self.put(self.rng.choice([ops.negative, ops.negative, ops.abs, ops.floor]), x)

    def binary(self):
        x = self.pick()
        y = self.operand(x)
        if self.rng.random() < 0.5:
            x, y = y, x
        kind = np.asarray(x).dtype.kind if isinstance(x, np.ndarray) else x.dtype.kind
        table = {"f": [ops.add, ops.add, ops.subtract, ops.multiply, ops.multiply, ops.divide, ops.equal],
                 "i": [ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum, ops.bitwise_and, ops.not_equal],
                 "b": [ops.logical_and, ops.logical_or, ops.bitwise_and, ops.multiply, ops.add]}[kind]
        if kind == "f" and self.rng.random() < 0.2:
            return self.put(ops.power, self.pick("f"), np.float32(self.rng.choice([0, 1, 2, -1, 0.5])))
        return self.put(table[self.rng.integers(len(table))], x, y)

    def choice(self):
        x, c = self.pick(), self.pick("b")
        if broadcast_shapes(c.shape, x.shape) is None:
            c = self.number(np.dtype("?"))
        y = self.operand(x)
        shapes = [np.shape(a) if isinstance(a, np.ndarray) else a.shape for a in (c, x, y)]
        if broadcast_shapes(*shapes) is not None:
            self.put(ops.where, c, x, y)

    def movement(self):
        x, rng = self.pick(ndim=1), self.rng
        shape, n = x.shape, x.ndim
        what = rng.integers(8)
        if what == 0:
            self.put(ops.reshape, x, shape=[(x.size,), shape[::-1], (1, *shape), shape][rng.integers(4)])
        elif what == 1:
            self.put(ops.transpose, x, axes=tuple(map(int, rng.permutation(n))))
        elif what == 2:
            x = x if rng.random() < 0.7 else self.number(x.dtype)
            self.put(ops.broadcast_to, x, shape=[(2, *shape), shape][rng.integers(2)])
        elif what in (3, 4):
            step = tuple(int(rng.choice([1, 1, 2, -1])) for _ in shape)
            most = [(m + abs(k) - 1) // abs(k) for m, k in zip(shape, step)]
            size = tuple(m if m < 2 or rng.random() < 0.6 else int(rng.integers(1, m + 1)) for m in most)
            spans = [(s - 1) * abs(k) if m else 0 for m, s, k in zip(shape, size, step)]
            start = tuple(int(rng.integers(0, m - w)) + w * (k < 0) if m else 0 for m, w, k in zip(shape, spans, step))
            self.put(ops.slice, x, start=start, size=size, step=step)
        elif what == 5:
            low, high = (tuple(map(int, rng.integers(0, 2, n))) for _ in range(2))
            self.put(ops.pad, x, self.number(x.dtype), low=low, high=high)
        elif what == 6:
            same = [y for y in self.values if y.dtype == x.dtype and y.shape == shape]
            self.put(ops.concatenate, x, same[rng.integers(len(same))], axis=int(rng.integers(n)))
        else:
            same = [y for y in self.values if y.dtype == x.dtype and y.ndim == n]
            inside = [y for y in same if all(a <= b for a, b in zip(y.shape, shape))]
            v = inside[rng.integers(len(inside))]
            start = tuple(int(rng.integers(0, m - k + 1)) for m, k in zip(shape, v.shape))
            self.put(ops.update_slice, x, v, start=start, step=(1,) * n)

    def reduction(self):
        x = self.pick("ib", ndim=1)
        axes = tuple(a for a in range(x.ndim) if self.rng.random() < 0.5)
        if x.dtype.kind == "b":
            self.put(self.rng.choice([ops.any, ops.all]), x, axis=axes)
        elif self.rng.random() < 0.3:
            self.put(self.rng.choice([ops.argmax, ops.argmin]), x, axis=(int(self.rng.integers(x.ndim)),))
        else:
            self.put(self.rng.choice([ops.max, ops.min, ops.sum]), x, axis=axes)

    def repeat(self):
        """The last equation once more, for common subexpressions."""
        if self.trace.eqns and self.trace.eqns[-1].op.kind != "control":
            last = self.trace.eqns[-1]
            self.values += self.trace.emit(last.op, last.inputs, last.params)

    def loop(self):
        """A scan or switch whose Graphs are random chains over two carries of the type of x."""
        x = self.pick("fi")
        graphs = []
        for _ in range(2):
            with Trace("body") as t:
                a, b = t.input(x.type, "a"), t.input(x.type, "b")
                chain = [a, b]
                for _ in range(4):
                    op = [ops.add, ops.multiply, ops.subtract][self.rng.integers(3)]
                    y = [chain[-1], self.number(x.dtype)][self.rng.integers(2)]
                    chain.append(op(chain[self.rng.integers(len(chain))], y))
                graphs.append(t.graph([chain[self.rng.integers(len(chain))].current(), chain[-1].current()]))
        if self.rng.random() < 0.5:
            self.put(switch, np.int64(self.rng.integers(-1, 3)), x, x, branches=tuple(graphs))
        else:
            self.put(scan, x, x, body=graphs[0], num_consts=0, num_carry=2, length=3, reverse=False)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_keep_their_bits(graphs, seed):
    graph = check_graph(Program(np.random.default_rng(seed), 40).graph)
    before = graph
    for transform in PASSES:
        after = check_graph(transform(before))
        graphs.same_meaning(before, after, draws=3)
        before = after
    again = before
    for transform in PASSES:
        again = transform(again)
    assert len(again.eqns) <= len(before.eqns)


WRONG = {
    "x * 0.0 -> 0.0": (ops.multiply, lambda s, eqn: s.shaped(eqn, eqn.inputs[1]) if _is(eqn.inputs[1], 0.0) else None),
    "x - y -> y + x": (ops.subtract, lambda s, eqn: s.becomes(eqn, ops.add, *reversed(eqn.inputs))),
    "slice backwards": (ops.slice, lambda s, eqn: eqn.inputs[0] if eqn.params["size"] == eqn.inputs[0].type.shape else None),
}


def _is(atom, value):
    return type(atom) is Const and atom.is_scalar and atom.value == value


@pytest.mark.parametrize("name", WRONG)
def test_random_programs_find_a_wrong_rule(graphs, monkeypatch, name):
    op, rule = WRONG[name]
    monkeypatch.setitem(RULES, op, (*RULES[op], rule))
    found = 0
    for seed in range(60):
        graph = Program(np.random.default_rng(seed), 40).graph
        try:
            graphs.same_meaning(graph, check_graph(simplify(graph)), draws=3)
        except AssertionError:
            found += 1
    assert found
