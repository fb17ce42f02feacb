"""Random imperative programs give the same whether recorded operators wait or run at once: values, gradients, errors."""
import numpy as np
import pytest

import jitnet as mx
from jitnet import autograd, nd
from jitnet.errors import MXNetError
from jitnet.nd import pending

SHAPE = (3, 4)
UNARY = [nd.tanh, nd.exp, nd.relu, lambda x: x * 0.5, lambda x: 1 - x, lambda x: nd.softmax(x, axis=1), nd.sin,
         lambda x: nd.Dropout(x, p=0.5), lambda x: x.reshape((4, 3)).T, lambda x: x[1:2] + x, lambda x: x.sum(axis=0) + x,
         lambda x: nd.concat(x[:, 0:2], x[:, 1:3], dim=1)]
BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - 0.3 * b, nd.maximum,
          lambda a, b: nd.dot(a, b, transpose_b=True)[:, 0:1] + b]


class Program:
    """A program drawn from a seed. What it could observe is in `seen`."""

    def __init__(self, seed):
        self.r, self.seen = np.random.default_rng(seed), []
        mx.random.seed(seed)
        self.marked = [nd.array(self.r.normal(size=SHAPE)) for _ in range(2)]
        for x, request in zip(self.marked, ("write", "add")):
            x.attach_grad(request)
        self.arrays = [*self.marked, nd.array(self.r.normal(size=SHAPE))]

    def pick(self):
        return self.arrays[self.r.integers(len(self.arrays))]

    def see(self, value):
        self.seen.append(np.array(value))

    def compute(self):
        if self.r.random() < 0.5:
            made = UNARY[self.r.integers(len(UNARY))](self.pick())
        else:
            made = BINARY[self.r.integers(len(BINARY))](self.pick(), self.pick())
        if self.r.random() < 0.8:
            self.arrays.append(made)

    def read(self):
        x = self.pick()
        self.see([lambda: x.asnumpy(), lambda: x.mean().asscalar(), lambda: x.tolist(), lambda: (x * 2).asnumpy(),
                  lambda: nd.waitall() or 0][self.r.integers(5)]())

    def write(self):
        x = self.pick()
        with autograd.pause():
            [lambda: x.__setitem__(slice(None), 0.1), lambda: x.__iadd__(0.1), lambda: x[1].__setitem__(slice(None), 0.2),
             lambda: x.reshape((-1,))[2:5].__imul__(0.5), lambda: nd.sin(x, out=x), lambda: x.__setitem__(0, 0.3),
             lambda: nd.sgd_update(x, x * 0.1, out=x, lr=0.5), lambda: self.pick().copyto(x)][self.r.integers(8)]()

    def share(self):
        self.arrays.append(self.pick().detach())

    def forget(self):
        if len(self.arrays) > 4:
            del self.arrays[self.r.integers(3, len(self.arrays))]

    def paused(self):
        with autograd.pause():
            self.arrays.append(nd.tanh(self.pick()))

    def backward(self):
        head = self.pick()
        ct = nd.array(self.r.normal(size=SHAPE)) if self.r.random() < 0.3 else None
        head.backward(ct, retain_graph=bool(self.r.random() < 0.3))
        for x in self.marked:
            self.see(x.grad.asnumpy())

    def grad(self):
        for g in autograd.grad(self.pick(), self.marked[:1], create_graph=bool(self.r.random() < 0.5)):
            self.arrays.append(g)

    def run(self, steps=40):
        actions = [self.compute] * 12 + [self.read, self.write, self.share, self.forget, self.paused, self.backward, self.grad]
        with autograd.record():
            for _ in range(steps):
                try:
                    actions[self.r.integers(len(actions))]()
                except MXNetError as error:
                    self.see(np.frombuffer(type(error).__name__.encode(), np.uint8))
        for x in [*self.arrays, *(x.grad for x in self.marked)]:
            self.see(x.asnumpy())
        return self.seen


@pytest.mark.parametrize("seed", range(24))
def test_waiting_changes_nothing(seed, monkeypatch):
    waited = Program(seed).run()
    monkeypatch.setattr(pending, "defer", lambda *_: None)
    at_once = Program(seed).run()
    assert len(waited) == len(at_once)
    for a, b in zip(waited, at_once):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
