"""Shapes and dtypes of an operator's inputs and outputs, inferred from one another as far as they go.

A shape is a tuple in which 0 stands for an unknown size, or None when not even the number of axes is known. A rule takes
(operator, ins, outs, params), lists of shapes (or dtypes, None when unknown), and returns both completed. Rules:

    forward       outputs follow from inputs: the body is traced on them, with several sizes in place of unknown ones
    elementwise   all inputs and outputs have one shape, whichever is known
    same_type     all inputs and outputs have one dtype
"""
from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import numpy as np

from ..errors import JitnetError, OperatorError
from ..types import F32, ArrayType

TRIED = (2, 12, 60)  # in place of an unknown size; what divides by small numbers divides these too, as far as it can
_node = threading.local()
_agreeing: set[tuple] = set()  # calls that `check` found right


@contextlib.contextmanager
def named(name: str):
    """Inside, errors of inference speak of the node of this name."""
    before = getattr(_node, "name", None)
    _node.name = name
    try:
        yield
    finally:
        _node.name = before


def where() -> str:
    """How errors begin: with the name of the node, where a symbol is inferred."""
    name = getattr(_node, "name", None)
    return "" if name is None else f"Error in operator {name}: "


def check(op, arrays: Sequence, **params) -> None:
    """OperatorError unless the shapes and dtypes of the arrays agree with each other, as the operator's rules say.

    What NumPy would broadcast, or not even look at, is then no surprise later. `params`: those that the rules ask for.
    """
    plain = type(arrays[0]) is np.ndarray  # then sizes are numbers, and agree again when they did before
    if plain:
        key = (op.name, *[(a.shape, a.dtype) for a in arrays], *params.values())
        if key in _agreeing:
            return
    outs = [None] * op.num_outputs(params)
    op.shape_rule(op, [a.shape for a in arrays], outs, params)
    if not op.same_dtype:
        op.type_rule(op, [a.dtype for a in arrays], outs, params)
    if plain:
        if len(_agreeing) > 4096:
            _agreeing.clear()
        _agreeing.add(key)


def show(shape) -> str:
    """A shape as messages show it."""
    return "unknown" if shape is None else "[" + ",".join(map(str, shape)) + "]"


def contradiction(what: str, provided, inferred) -> OperatorError:
    """The error for a shape that was given and another one that follows."""
    return OperatorError(f"{where()}{what}: Shape inconsistent, Provided = {show(provided)}, inferred shape={show(inferred)}",
                         "give the shape that follows from the other inputs, or none")


def is_known(shape) -> bool:
    """Whether every size is known."""
    return shape is not None and 0 not in shape


def merge(provided, inferred, what: str):
    """What two statements about one shape say together; OperatorError when they contradict each other."""
    if provided is None or inferred is None:
        return inferred if provided is None else provided
    if len(provided) != len(inferred):
        raise contradiction(what, provided, inferred)
    out = []
    for a, b in zip(provided, inferred):
        if a and b and a != b:
            raise contradiction(what, provided, inferred)
        out.append(a or b)
    return tuple(out)


def forward(op, ins: Sequence, outs: Sequence, params):
    """Output shapes of inputs as far as they are known."""
    if any(s is None for s in ins):
        return list(ins), list(outs)
    count = op.num_outputs(params)
    if all(map(is_known, ins)):
        try:
            found = _shapes(op, ins, params)
        except (JitnetError, ValueError) as error:
            what, hint = (error.what, error.hint) if isinstance(error, JitnetError) else (str(error), "")
            raise OperatorError(f"{where()}{what}", hint) from None
    else:
        found = _partly_known(op, ins, params, count)
    return list(ins), [merge(out, s, f"output {k}") for k, (out, s) in enumerate(zip(outs, found))]


def _shapes(op, ins: Sequence, params) -> list[tuple[int, ...]]:
    """Shapes of the outputs for inputs of these shapes."""
    return [t.shape for t in op.abstract([ArrayType(tuple(s), F32) for s in ins], params)[:op.num_outputs(params)]]


def _agreed(new, old):
    """The sizes that two shapes have in common, 0 for the others; None when they have not as many axes."""
    if old is None or len(new) != len(old):
        return None
    return tuple([a if a == b else 0 for a, b in zip(new, old)])


def _partly_known(op, ins: Sequence, params, count: int) -> list:
    """Output shapes of inputs with unknown sizes: what is the same whichever size is tried in their place."""
    found = None
    for size in TRIED:
        try:
            shapes = _shapes(op, [[n or size for n in s] for s in ins], params)
        except (JitnetError, ValueError):
            return [None] * count
        if found is not None:
            shapes = [_agreed(new, old) for new, old in zip(shapes, found)]
        found = shapes
    return found


def elementwise(op, ins: Sequence, outs: Sequence, params):
    """All shapes are one and the same."""
    common = None
    for name, shape in zip((*op.inputs(params), *op.output_names(params)), (*ins, *outs)):
        common = merge(shape, common, name)
    return [common] * len(ins), [common] * len(outs)


def broadcast(op, ins: Sequence, outs: Sequence, params):
    """Output of known inputs under broadcasting; axes that are unknown stay so."""
    if any(s is None for s in ins):
        return list(ins), list(outs)
    ndim = max(map(len, ins))
    result = []
    for axis in range(-ndim, 0):
        sizes = [s[axis] for s in ins if len(s) >= -axis]
        wide = {n for n in sizes if n > 1}
        if len(wide) > 1:
            raise OperatorError(f"{where()}operands could not be broadcast together with shapes "
                                f"{' '.join(map(show, ins))}", "sizes of an axis must agree or be 1")
        result.append(wide.pop() if wide else 0 if 0 in sizes else 1)
    return list(ins), [merge(outs[0], tuple(result), "output")]


def same_type(op, ins: Sequence, outs: Sequence, params):
    """All dtypes are one and the same."""
    known = [np.dtype(d) for d in (*ins, *outs) if d is not None]
    if not known:
        return list(ins), list(outs)
    for name, d in zip(op.inputs(params), ins):
        if d is not None and np.dtype(d) != known[0]:
            raise OperatorError(f"{where()}input {name}: expected {known[0]}, got {np.dtype(d)}",
                                "convert one with `cast`")
    return [known[0]] * len(ins), [known[0]] * len(outs)


def forward_type(op, ins: Sequence, outs: Sequence, params):
    """Inputs keep their own dtypes; those unknown are float32 for the output's sake, which the parameter `dtype` may give."""
    dtype = params.get("dtype")
    out = np.dtype(dtype) if dtype is not None else np.dtype(ins[0]) if ins and ins[0] is not None else None
    return list(ins), [out] * len(outs)
