"""What is known of the sign of a scalar from how it is computed: exp(x - max(x)) and exp(-x * x) never exceed 1.

A number is "never above 0" here if it is 0, below 0 or NaN. Rounding changes no sign.
"""
from __future__ import annotations

from collections import Counter

import numpy as np

from ..symbols import SymScalar
from ..types import is_float
from .nest import Node

POSITIVE_OPS = frozenset(("abs", "exp", "exp2", "sqrt", "square", "sigmoid"))


def is_nonpositive(node: Node) -> bool:
    """Whether a float is never above 0."""
    return sign(node) == -1 or is_below_maximum(*without_casts(node))


def sign(node: Node) -> int:
    """1 of what is never below 0, -1 of what is never above it, 0 where that is not known."""
    factors, result = Counter(), 1
    pending = [node]
    while pending:
        node, kinds = without_casts(pending.pop())
        if not all(map(is_float, kinds)):
            return 0
        name = node.eqn.op.name if node.kind == "expr" else ""
        if name in ("multiply", "divide"):
            pending += node.operands
        elif name == "negative":
            result = -result
            pending += node.operands
        else:
            factors[node] += 1
    for node, count in factors.items():
        if count % 2:   # x * x is not below 0, nor is x / x
            result *= sign_of_factor(node)
    return result


def sign_of_factor(node: Node) -> int:
    """The same of what is no product."""
    if node.kind == "const" and type(node.value) is not SymScalar:
        return int(np.sign(node.value)) if node.value == node.value else 0
    return int(node.kind == "expr" and node.eqn.op.name in POSITIVE_OPS)


def is_below_maximum(node: Node, kinds: list[np.dtype]) -> bool:
    """Is this a value minus the largest one of all that it may be, rounded to those dtypes or not?"""
    if not all(map(is_float, kinds)) or node.kind != "expr" or node.eqn.op.name != "subtract":
        return False
    (value, kinds), (most, most_kinds) = map(without_casts, node.operands)
    if most.kind != "reduction" or most.eqn.op.combine != "max_reduce_":
        return False
    operand, operand_kinds = without_casts(most.operands[0])
    exact = all(kind == value.dtype or kind.itemsize > value.dtype.itemsize for kind in kinds + most_kinds + operand_kinds)
    return operand is value and is_float(value.dtype) and exact


def without_casts(node: Node) -> tuple[Node, list[np.dtype]]:
    """What a value is cast from, and the dtypes on the way from there."""
    kinds = [node.dtype]
    while node.kind == "expr" and node.eqn.op.name == "cast":
        (node,) = node.operands
        kinds.append(node.dtype)
    return node, kinds
