"""x[mask] with a traced mask: as many elements as the mask holds, known only when the program runs.

`Masked` stands for them. It keeps a value for every element of x, and computes on all of them; what is done with it must not
ask how many there are: elementwise functions, assignment to the same places, sums.

    x[x < 0] *= 0.1                                  where(x < 0, x * 0.1, x)
    x[mask] = np.sqrt(x[mask]) + 1
    x[mask].mean()

Everything else raises the error of the line where it was taken.
"""
from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import JitnetError, TraceIndexError, TraceTypeError
from ..ir import Const
from ..tracer import Tracer
from ..types import broadcast_shapes, short_dtype
from .protocol import as_array, astype

REDUCTIONS = {np.sum: "sum", np.prod: "prod", np.mean: "mean", np.any: "any", np.all: "all"}   # an empty one has a value


class Masked(np.lib.mixins.NDArrayOperatorsMixin):
    """The elements of an array where a mask of its leading axes holds; `values`: the array, 1 where it does not.

    1 is where logarithms, roots and quotients are defined, and so are their derivatives.
    """

    __slots__ = ("error", "mask", "values")

    def __init__(self, values: Tracer, mask: Tracer, error: JitnetError):
        self.values, self.mask, self.error = values, mask, error

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    def refuse(self, *_, **__):
        """Raises the error of the line where the elements were taken."""
        raise self.error

    __jitnet_refuse__ = __array__ = __len__ = __iter__ = __getitem__ = __setitem__ = __bool__ = __float__ = __int__ = refuse

    def __getattr__(self, name: str):
        raise self.error

    # Element by element

    def operand(self, other):
        """Another operand beside all values: the same elements of another array, or one value for every row of the mask."""
        if isinstance(other, Masked):
            if not same(self.mask, other.mask):
                raise self.error
            return other.values
        other = other if isinstance(other, (bool, int, float)) else as_array(other)
        rest = self.values.shape[self.mask.ndim:]
        shape = np.shape(other) if not isinstance(other, Tracer) else other.shape
        if len(shape) > len(rest) or broadcast_shapes(shape, rest) != rest:
            raise self.error
        return other

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method != "__call__" or ufunc.nout != 1 or kwargs.keys() - {"dtype"}:
            raise self.error
        value = ufunc(*(x.values if x is self else self.operand(x) for x in inputs), **kwargs)
        if value.shape != self.values.shape:
            raise self.error
        if out is None:
            return Masked(value, self.mask, self.error)
        (target,) = out
        if not isinstance(target, Masked):
            raise self.error
        if not np.can_cast(value.dtype, target.dtype, "same_kind"):
            raise TraceTypeError(f"{ufunc.__name__}: a {short_dtype(value.dtype)} result cannot be written into a "
                                 f"{short_dtype(target.dtype)} array", "convert the array first: `x = x.astype(...)`")
        target.values = astype(value, target.dtype)
        return target

    def astype(self, dtype):
        return Masked(astype(self.values, dtype), self.mask, self.error)

    def copy(self):
        return Masked(self.values, self.mask, self.error)

    # Reductions over all elements

    def __array_function__(self, function, types, args, kwargs):
        if function not in REDUCTIONS or len(args) != 1 or args[0] is not self:
            raise self.error
        return self.reduced(REDUCTIONS[function], **kwargs)

    def reduced(self, name: str, axis=None, **kwargs):
        if axis is not None or kwargs.keys() - {"dtype"}:
            raise self.error
        return getattr(np, name)(self.values, where=self.spread(), **kwargs)

    def spread(self):
        """The mask with the axes of the values."""
        rest = self.values.ndim - self.mask.ndim
        return ops.reshape(self.mask, shape=(*self.mask.shape, *(1,) * rest)) if rest else self.mask

    def sum(self, **kwargs):
        return self.reduced("sum", **kwargs)

    def prod(self, **kwargs):
        return self.reduced("prod", **kwargs)

    def mean(self, **kwargs):
        return self.reduced("mean", **kwargs)

    def any(self, **kwargs):
        return self.reduced("any", **kwargs)

    def all(self, **kwargs):
        return self.reduced("all", **kwargs)


def taken(x: Tracer, mask) -> Masked:
    """x[mask] for a traced mask of leading axes."""
    check_mask(x, mask)
    error = TraceIndexError("a traced mask as an index: the size of the result depends on its values",
                            "use `jitnet.where(mask, x, other)`; what is computed from `x[mask]` element by element can be "
                            "summed, or assigned to `x[mask]`")
    found = Masked(x, mask, error)
    found.values = ops.where(found.spread(), Tracer(x.owner, x.current()), np.ones((), x.dtype))
    return found


def check_mask(x, mask) -> None:
    """TraceIndexError when a mask does not have the shape of leading axes of x."""
    if mask.shape != x.shape[:mask.ndim]:
        raise TraceIndexError(f"a mask of shape {mask.shape} does not fit an array of shape {x.shape}",
                              "give the mask the shape of the leading axes")


def same(a, b) -> bool:
    """Are two masks equal for certain: one value, or computed by equal equations?"""
    if a is b:
        return True
    if a.owner is not b.owner:
        return False
    definition = {v: eqn for eqn in a.owner.eqns for v in eqn.outputs}
    pending = [(a.current(), b.current())]
    while pending:
        p, q = pending.pop()
        if p is q or (type(p) is type(q) is Const and p.type == q.type and np.array_equal(p.value, q.value)):
            continue
        one, other = definition.get(p), definition.get(q)
        if one is None or other is None or one.op is not other.op or one.params != other.params:
            return False
        if one.outputs.index(p) != other.outputs.index(q):
            return False
        pending += zip(one.inputs, other.inputs, strict=True)
    return True
