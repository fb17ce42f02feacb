"""The kinds of ops, and the decorators that make ops of them.

A kind supplies what its ops have in common: dtypes, shapes, broadcasting, batching, derivatives from a rule, and what the
code generator and the tests need to know.
"""
from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from .errors import TraceTypeError, user_source
from .op import NUMPY_FUNCTIONS, Op, Samples
from .promotion import float_rule, ufunc_rule
from .types import BOOL, I64, ArrayType, broadcast_shapes, normalize_axes, promote


def between(low: float, high: float, *more: tuple[float, float], integers: bool = False) -> Samples:
    """Samples from [low, high] for the first argument (and for all others, unless `more` gives their ranges)."""
    return Samples(((low, high), *more), integers)


# Elementwise: one scalar expression at every point of the broadcast shapes

class Elementwise(Op):
    """out[i] = expr(x[i], y[i], ...), broadcast as NumPy does.

    dtypes: None (what the NumPy ufunc of that name does; without one, the common dtype), "float" (integers become floats as
    in NumPy), "test" (float in, bool out), "logical" (taken as bool, gives bool), or a function of the tuple of dtypes ->
    (operand dtypes, output dtype).
    bool_expr: the expression for bool operands, where it differs.
    jvp: per operand a function (t, out, *inputs) linear in t, or None where the derivative is zero: the Jacobian is
    diagonal, so the same function gives the vjp.
    """

    kind, widens = "elementwise", True

    def __init__(self, body, expr: str, *, dtypes=None, jvp=(), cheap: bool = True, bool_expr: str | None = None, **options):
        super().__init__(body, jvp=tuple(jvp), **options)
        self.expr, self.cheap, self.bool_expr = expr, cheap, bool_expr or expr
        self.ufunc = getattr(np, body.__name__, None) if dtypes is None else None
        self._dtype_rule = dtypes
        self._rules: dict[tuple, tuple] = {}
        ufunc = getattr(np, body.__name__, None)
        if isinstance(ufunc, np.ufunc):
            NUMPY_FUNCTIONS[ufunc] = self

    def expression(self, types: Sequence[ArrayType]) -> str:
        """The scalar expression for operands of these types."""
        return self.bool_expr if types[0].dtype == BOOL else self.expr

    def operand_dtypes(self, dtypes):
        return self._rule(tuple(dtypes))[0]

    def _rule(self, dtypes: tuple) -> tuple[Sequence[np.dtype], np.dtype]:
        found = self._rules.get(dtypes)
        if found is None:
            found = self._rules[dtypes] = self._find_rule(dtypes)
        return found

    def _find_rule(self, dtypes: tuple) -> tuple[Sequence[np.dtype], np.dtype]:
        rule = self._dtype_rule
        if isinstance(self.ufunc, np.ufunc):
            return ufunc_rule(self.name, self.ufunc, dtypes)
        if callable(rule):
            return rule(dtypes)
        if rule == "logical":
            return [BOOL] * len(dtypes), BOOL
        if rule is None:
            return [promote(*dtypes)] * len(dtypes), promote(*dtypes)
        common = float_rule(promote(*dtypes))
        return [common] * len(dtypes), BOOL if rule == "test" else common

    def out_types(self, types, params):
        first = types[0]
        shape = first.shape
        if len(types) == 1:
            dtype = self._rule((first.dtype,))[1]
        else:
            for t in types:
                if t.shape != shape and t.shape:
                    shape = broadcast_shapes(*[t.shape for t in types])
                    if shape is None:
                        raise TraceTypeError(f"{self.name}: shapes do not broadcast: " + " and ".join(map(str, types)),
                                             _broadcast_hint(types))
                    break
            dtype = self._rule(tuple([t.dtype for t in types]))[1]
        for t in types:
            if t.shape == shape and t.dtype is dtype:
                return [t]
        return [ArrayType(shape, dtype)]

    def jvp(self, tangents, outs, inputs, params):
        total = None
        for t, rule in zip(tangents, self.jvp_rule):  # missing rules are None
            term = None if t is None or rule is None else rule(t, outs[0], *inputs, **params)
            if term is not None:
                total = term if total is None else total + term
        return [None if total is None else _broadcast_like(total, outs[0])]

    def vjp(self, cts, outs, inputs, params, needed):
        if self.vjp_rule is not None:
            return self.vjp_rule(cts[0], outs[0], *inputs, **params)
        if not self.jvp_rule:
            return [None] * len(inputs)
        return [unbroadcast(rule(cts[0], outs[0], *inputs, **params), x.shape) if need and rule is not None else None
                for rule, x, need in itertools.zip_longest(self.jvp_rule, inputs, needed)]

    def batch(self, size, inputs, batched, params):
        return [self(*batches_aligned(inputs, batched), **params)]


def batches_aligned(inputs: Sequence, batched: Sequence[bool]) -> list:
    """The operands with axes of size 1 behind the batch axis of those that have one, so that what follows it broadcasts."""
    from .ops import reshape

    rank = max([x.ndim - b for x, b in zip(inputs, batched)])
    return [reshape(x, shape=(x.shape[0], *(1,) * (rank + 1 - x.ndim), *x.shape[1:])) if b and x.ndim <= rank else x
            for x, b in zip(inputs, batched)]


def _broadcast_hint(types) -> str:
    a, b = types[0], types[-1]
    name = "x"
    if a.ndim == 2 and b.ndim == 1 and a.shape[0] == b.shape[0]:
        line = user_source()
        last = re.search(r" [-+*/] ([A-Za-z_]\w*)$", line.text) if line else None   # `return h + bias`
        name = last[1] if last else "b"
    return f"line the axes up with `reshape`, or add one with `{name}[:, None]`"


def _broadcast_like(x, like):
    from .ops import broadcast_to

    return x if x.shape == like.shape else broadcast_to(x, shape=like.shape)


def unbroadcast(ct, shape: tuple[int, ...]):
    """The cotangent summed over the axes along which an operand of that shape was broadcast."""
    if ct.shape == shape:
        return ct
    from .ops import broadcast_to, reshape, sum

    extra = len(ct.shape) - len(shape)
    if extra < 0 or any(n == 1 != m for n, m in zip(ct.shape[extra:], shape)):   # a rule that gave less than the full shape
        return unbroadcast(broadcast_to(ct, shape=broadcast_shapes(ct.shape, shape)), shape)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 and ct.shape[extra + i] != 1)
    ct = sum(ct, axis=axes) if axes else ct
    return ct if ct.shape == shape else reshape(ct, shape=shape)


# Reduction

class Reduction(Op):
    """Combines the elements along `axis`, a tuple of axes that vanish.

    combine: intrinsic name "add_reduce_"..., or "argmax"/"argmin". identity: dtype -> start value (None: no identity, empty
    is an error). dtypes: "same", "sum" (bool and small integers widen to 64 bits), "bool" (any, all), "index" (int64
    position).
    """

    kind, widens = "reduction", True

    def __init__(self, body, combine: str, *, identity=None, dtypes="same", **options):
        super().__init__(body, **options)
        self.combine, self.identity, self.dtypes = combine, identity, dtypes

    def operand_dtypes(self, dtypes):
        (d,) = super().operand_dtypes(dtypes)
        if self.dtypes == "bool":
            return [BOOL]
        if self.dtypes == "sum" and d.kind in "biu":
            return [np.dtype(np.uint64) if d.kind == "u" else I64]
        return [d]

    def canonical(self, types, params):
        axes = normalize_axes(params["axis"], types[0].ndim, self.name)
        if self.identity is None and any(types[0].shape[a] == 0 for a in axes):
            raise TraceTypeError(f"{self.name}: an empty axis has no {self.name}: {types[0]}", "check the size before reducing")
        return {"axis": axes}

    def out_types(self, types, params):
        (t,) = types
        axes = params["axis"]
        dtype = {"bool": BOOL, "index": I64}.get(self.dtypes, t.dtype)
        return [ArrayType(tuple(n for i, n in enumerate(t.shape) if i not in axes), dtype)]

    def jvp(self, tangents, outs, inputs, params):
        return [None if self.jvp_rule is None else self.jvp_rule(tangents[0], outs[0], *inputs, **params)]

    def vjp(self, cts, outs, inputs, params, needed):
        return [None if self.vjp_rule is None else self.vjp_rule(cts[0], outs[0], *inputs, **params)]

    def batch(self, size, inputs, batched, params):
        return [self(*inputs, axis=tuple(a + 1 for a in params["axis"]))]


# Everything whose rules are its own

class _Ruled(Op):
    """An op whose type, derivative and batch rules are given as functions.

    type_rule(types, params) -> ArrayType (or a list of them)
    canonical_rule(types, params) -> params
    jvp(tangents, out, *inputs, **params) -> tangent of the output; "linear": the op itself, applied to the tangents
    vjp(ct, out, *inputs, **params) -> cotangents, one per operand (None: zero)
    batch(size, inputs, batched, params) -> outputs
    """

    def __init__(self, body, *, type_rule, canonical_rule=None, batch=None, dtype_rule=None, **options):
        super().__init__(body, **options)
        self.type_rule, self.canonical_rule, self.batch_rule, self.dtype_rule = type_rule, canonical_rule, batch, dtype_rule

    def operand_dtypes(self, dtypes):
        return self.dtype_rule(dtypes) if self.dtype_rule else super().operand_dtypes(dtypes)

    def canonical(self, types, params):
        return self.canonical_rule(types, params) if self.canonical_rule else params

    def out_types(self, types, params):
        out = self.type_rule(types, params)
        return [out] if isinstance(out, ArrayType) else out

    def jvp(self, tangents, outs, inputs, params):
        if self.jvp_rule == "linear":
            from .ops import zeros_like

            return [self(*(zeros_like(x) if t is None else t for t, x in zip(tangents, inputs)), **params)]
        known = outs if self.multiple_outputs else outs[0]
        out = None if self.jvp_rule is None else self.jvp_rule(tangents, known, *inputs, **params)
        return list(out) if self.multiple_outputs and out is not None else [out] * len(outs)

    def vjp(self, cts, outs, inputs, params, needed):
        if self.vjp_rule is None:
            return [None] * len(inputs)
        out = self.vjp_rule(*((cts, outs) if self.multiple_outputs else (cts[0], outs[0])), *inputs, **params)
        return list(out) if isinstance(out, (tuple, list)) else [out]

    def batch(self, size, inputs, batched, params):
        return (self.batch_rule or super().batch)(size, inputs, batched, params)


class Movement(_Ruled):
    """Elements in other places, unchanged: reshape, transpose, broadcast, slice, pad, concatenate.

    index_map(out_index, in_type, params) -> in_index, lists of `codegen.affine.Affine`, one per axis (None when there is no
    such map): it is how a movement melts into the loads of the kernel that reads it.
    """

    kind = "movement"

    def __init__(self, body, *, index_map=None, **options):
        super().__init__(body, **options)
        self.index_map = index_map


class Gather(_Ruled):
    """Elements picked by integer arrays (`gather`), or added and written at such places (`scatter_add`, `scatter_set`)."""

    kind = "gather"


class Contraction(_Ruled):
    """Sums of products over shared axes: steps of BLAS where dtype and layout allow, loops elsewhere."""

    kind, widens = "contraction", True

    def operand_dtypes(self, dtypes):
        return [promote(*dtypes)] * len(dtypes)


class Creation(_Ruled):
    """Values made from nothing but their position: expr is over `i`, the position along params["axis"]."""

    kind = "creation"

    def __init__(self, body, expr: str, **options):
        super().__init__(body, **options)
        self.expr = expr

    def __call__(self, *args, **kwargs):
        from .tracer import bind, current_trace

        trace = current_trace()
        if trace is None:
            return self.body(*args, **kwargs)
        out = bind(self, *self.split(args, kwargs))
        if len(out.shape) == 1:
            trace.created[out._atom] = out.shape  # an `arange` of that length: indexing knows it again
        return out


class Call(_Ruled):
    """Runs a NumPy or SciPy function on whole arrays, through a callback from the native program; `explain` says so."""

    kind, widens = "call", True

    def __init__(self, body, *, multiple_outputs=False, **options):
        super().__init__(body, **options)
        self.multiple_outputs = multiple_outputs


class Control(Op):
    """Holds Graphs in its parameters: cond, while_loop, scan, custom derivatives. Each is a subclass with its own rules."""

    kind = "control"
    multiple_outputs = True


def _decorator(kind):
    def make(*args, **options):
        return lambda body: kind(body, *args, **options)
    make.__doc__ = kind.__doc__
    return make


elementwise, reduction, movement = _decorator(Elementwise), _decorator(Reduction), _decorator(Movement)
gather_op, contraction, creation, call = _decorator(Gather), _decorator(Contraction), _decorator(Creation), _decorator(Call)
