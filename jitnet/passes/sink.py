"""sink: sums that a scan carries along become one sum over all its rounds, after it.

    c = c + x_t.T @ y_t    ->  c0 + reshape(X, (T k, m)).T @ reshape(Y, (T k, n)): one long product for many short ones
    c = c + sum(z_t, axes) ->  c0 + sum(Z, (0, axes)), where the rounds' Z is stored anyway, or small

This is the gradient of what a loop uses in every round: weights, biases. The carry must be read by nothing but its own sum.
Reshapes, transposes and sums between the product and the carry are linear: they are done once, on the total.
"""
from __future__ import annotations

import math

from .. import ops
from ..ir import Atom, Const, Eqn, Var, uses
from ..types import F32, F64
from .open_loop import STACK_BYTES, OpenScan, definitions_of
from .rewrite import Rewriter

SMALL_STACK = 4 << 20  # a stack that only a sum reads: larger ones cost more than the sum in every round


def sink_sums(loop: OpenScan, outside: dict[Atom, Eqn], kinds: tuple[bool, ...] = (True, False)) -> None:
    """Takes the sums out of an open scan: their operands become ys, their totals stand after the loop.

    outside: the definitions in front of it. kinds: True for products, False for other terms, which may then find the products'
    operands stacked.
    """
    for products in kinds:
        written, loop.after = loop.after, Rewriter()
        for k in reversed(range(len(loop.carries))):
            if loop.carries[k][0].type.dtype in (F32, F64):
                _sink_carry(loop, k, products, _is_zero(loop.carries[k][1], outside))
        loop.after.eqns += written.eqns  # a carry that has lost both kinds of terms gets its sums back first


def _is_zero(atom: Atom, outside: dict[Atom, Eqn]) -> bool:
    while atom in outside and outside[atom].op is ops.broadcast_to:
        atom = outside[atom].inputs[0]
    return type(atom) is Const and atom.is_scalar and not atom.value


def _sink_carry(loop: OpenScan, k: int, products: bool, zeros: bool) -> None:
    sink = _Sink(loop)
    (var, init), out = loop.carries[k], loop.next[k]
    if sink.readers.get(var, []).count(None) or len(sink.readers.get(var, ())) != 1:
        return
    if type(out) is not Var or sink.readers.get(out) != [None]:
        return
    terms = sink.terms(out)
    if sum(a is var for a in terms) != 1:
        return
    loop.after.source = loop.eqn.source
    taken, rest = [], []
    for a in terms:
        total = None if a is var else sink.product(a) if products else sink.summed(a)
        (rest if total is None else taken).append(a if total is None else total)
    if not taken:
        return
    result = loop.last[k]
    if len(rest) == 1:
        total: Atom = init
        del loop.carries[k], loop.next[k], loop.last[k]
    else:
        total = loop.last[k] = Var(out.type)
        loop.next[k] = loop.add_terms(rest)
    if len(rest) == 1 and zeros:
        total = taken.pop(0)  # 0 + u -> u
    for part in taken:
        total = loop.after.emit(ops.add, [total, part])
    loop.results[result] = total
    loop.sweep()


class _Sink:
    """What is looked up while one carry is taken out."""

    def __init__(self, loop: OpenScan):
        self.loop, self.definition = loop, definitions_of(loop)
        self.readers = uses(loop.graph())
        self.moving = loop.reached([*loop.carries, *loop.xs])

    def once(self, atom: Atom) -> bool:
        return len(self.readers.get(atom, ())) == 1

    def terms(self, atom: Var) -> list[Atom]:
        """What a value is the sum of."""
        found, pending = [], [atom]
        while pending:
            a = pending.pop()
            eqn = self.definition.get(a)
            if eqn is not None and eqn.op is ops.add and self.once(a) and all(x.type == a.type for x in eqn.inputs):
                pending += reversed(eqn.inputs)
            else:
                found.append(a)
        return found

    def linear(self, atom: Atom) -> tuple[Atom, list[Eqn]]:
        """(what a value is computed from by reshapes, transposes and sums, these equations, the last one first)."""
        chain: list[Eqn] = []
        while self.once(atom) and atom in self.definition and self.definition[atom].op in (ops.reshape, ops.transpose, ops.sum):
            chain.append(self.definition[atom])
            atom = chain[-1].inputs[0]
        return atom, chain

    def product(self, atom: Atom) -> Atom | None:
        """The sum of a matrix product over all rounds; None where there is none to take out."""
        base, chain = self.linear(atom)
        eqn = self.definition.get(base)
        if eqn is None or eqn.op is not ops.matmul or not self.once(base):
            return None
        x, y = eqn.inputs
        if x not in self.moving or y not in self.moving:
            return None
        new = self.loop.new_bytes(x, self.definition) + self.loop.new_bytes(y, self.definition)
        if self.loop.added + new > STACK_BYTES:
            return None
        return self.apply(chain, *self.total_product(x, y, base.type.shape[:-2], chain))

    def total_product(self, x: Var, y: Var, batch: tuple[int, ...], chain: list[Eqn]) -> tuple[Atom, int]:
        """(the product over rounds and the contracted axis, how many equations of the chain it has done already)."""
        axes = tuple(range(len(batch)))
        fold = bool(batch) and x.type.shape[:-2] == y.type.shape[:-2] == batch and bool(chain) \
            and chain[-1].op is ops.sum and chain[-1].params["axis"] == axes
        emit = self.loop.after.emit
        a, b = self.long(x, 1, fold), self.long(y, 0, fold)
        a = emit(ops.transpose, [a], axes=(*range(a.type.ndim - 2), a.type.ndim - 1, a.type.ndim - 2))
        return emit(ops.matmul, [a, b]), int(fold)

    def long(self, atom: Var, contracted: int, fold: bool) -> Atom:
        """The stack (rounds, *batch, 2 axes) of an operand as (*batch, rounds * contracted axis, other axis)."""
        emit, stack = self.loop.after.emit, self.loop.stack(atom, self.definition)
        *batch, k, n = (stack.type.shape[i] for i in range(1, stack.type.ndim))
        inner, other = (len(batch) + 2, len(batch) + 1) if contracted else (len(batch) + 1, len(batch) + 2)
        k, n = (n, k) if contracted else (k, n)
        between = tuple(range(1, len(batch) + 1))
        if fold:
            axes, shape = (0, *between, inner, other), (self.loop.length * math.prod(batch) * k, n)
        else:
            axes, shape = (*between, 0, inner, other), (*batch, self.loop.length * k, n)
        return emit(ops.reshape, [emit(ops.transpose, [stack], axes=axes)], shape=shape)

    def summed(self, atom: Atom) -> Atom | None:
        """The sum of a term over all rounds, if its stack is there, or it is a sum itself and its stack small."""
        base, chain = self.linear(atom)
        if type(base) is not Var or base not in self.moving:
            return None
        new, reduces = self.loop.new_bytes(base, self.definition), any(eqn.op is ops.sum for eqn in chain)
        if new and (not reduces or new > SMALL_STACK or self.loop.added + new > STACK_BYTES):
            return None
        both = bool(chain) and chain[-1].op is ops.sum  # two sums at once
        axes = (0, *[a + 1 for a in chain[-1].params["axis"]]) if both else (0,)
        total = self.loop.after.emit(ops.sum, [self.loop.stack(base, self.definition)], axis=axes)
        return self.apply(chain, total, int(both))

    def apply(self, chain: list[Eqn], value: Atom, done: int) -> Atom:
        """The linear equations applied to the total, without the first `done` of them."""
        for eqn in reversed(chain[:len(chain) - done]):
            value = self.loop.after.emit(eqn.op, [value], **eqn.params)
        return value
