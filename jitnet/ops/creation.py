"""Values from their position, and changes of dtype."""
from __future__ import annotations

import numpy as np

from ..op_kinds import Elementwise, between, creation
from ..types import ArrayType, is_float, known_dtype


def _iota_numpy(shape, axis, dtype):
    index = np.arange(shape[axis]).astype(dtype).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.ascontiguousarray(np.broadcast_to(index, shape))


@creation("{i}", type_rule=lambda types, p: ArrayType(p["shape"], p["dtype"]),
          canonical_rule=lambda types, p: {"shape": tuple(p["shape"]), "axis": p["axis"], "dtype": known_dtype(p["dtype"])})
def iota(*, shape, axis, dtype):
    """The position along an axis: iota((2, 3), axis=1) is [[0, 1, 2], [0, 1, 2]]."""
    return _iota_numpy(shape, axis, dtype)


class Cast(Elementwise):
    """The one elementwise op whose dtype is a parameter."""

    def operand_dtypes(self, dtypes):
        return super(Elementwise, self).operand_dtypes(dtypes)

    def canonical(self, types, params):
        return {"dtype": known_dtype(params["dtype"], "cast")}

    def out_types(self, types, params):
        return [types[0].with_dtype(params["dtype"])]


def _cast_jvp(t, out, x, dtype):
    return cast(t, dtype=dtype) if is_float(dtype) else None


def _cast_vjp(ct, out, x, dtype):
    return [cast(ct, dtype=x.dtype) if is_float(dtype) and is_float(x.dtype) else None]


def _cast(x, *, dtype):
    """Each element converted to another dtype, as `astype` does."""
    return np.asarray(x).astype(dtype)


_cast.__name__ = _cast.__qualname__ = "cast"
cast = Cast(_cast, "{cast}({x})", jvp=(_cast_jvp,), vjp=_cast_vjp, widens=False, samples=between(-3, 3))


def full(shape, value, dtype):
    """An array filled with one value: an equation while a function is traced (never a large constant), a NumPy array
    otherwise."""
    from ..tracer import bind, current_trace
    from .movement import broadcast_to

    scalar = np.asarray(value, dtype)
    if current_trace() is None:
        return np.full(shape, scalar)
    return bind(broadcast_to, [scalar], {"shape": tuple(shape)})


def zeros_like(x):
    """Zeros of the shape and dtype of x."""
    return full(x.shape, 0, x.dtype)
