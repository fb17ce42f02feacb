"""NDArray, MXNet's array: a NumPy array on a context, with MXNet's rules for dtypes, views and writes.

`x[1]`, `x[1:3]`, `x.reshape(...)` and whatever else lies in one piece are views: writes go through. Everything else is a copy.
"""
from __future__ import annotations

import operator as python
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import Context, known_context
from ..errors import MXNetError, OperatorError
from ..operators import find
from ..operators.shape import target_shape
from . import indexing, memory, pending
from .base import Base
from .invoke import hooks, invoke, state

NUMBERS = (bool, int, float, np.generic)


class NDArray(Base):
    """An array on a context. Make one with `nd.array`, `nd.zeros` and their kin.

    >>> import jitnet as mx
    >>> x = mx.nd.array([[1, 2], [3, 4]])
    >>> x[0] += 10          # a view: x changes
    >>> x.sum(axis=1)
    <BLANKLINE>
    [23.  7.]
    <NDArray 2 @cpu(0)>
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    __hash__ = object.__hash__
    if TYPE_CHECKING:  # what is added to the class below, and by functions.py
        def __getattr__(self, name: str) -> Any: ...
        def _operator(self, other: Any = None) -> NDArray: ...
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __mod__ = _operator
        __rmod__ = __pow__ = __rpow__ = __matmul__ = _operator
        __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __neg__ = __pos__ = __abs__ = _operator

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        value = self._pending
        return self._data.shape if value is None else value.shape

    @property
    def dtype(self) -> type:
        """Class of the elements, such as numpy.float32."""
        return (self._pending or self._data).dtype.type

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def context(self) -> Context:
        """Where the elements are."""
        return self._ctx

    ctx = context

    @property
    def stype(self) -> str:
        """How it is stored: always "default", dense."""
        return "default"

    @property
    def writable(self) -> bool:
        """Whether elements can be changed."""
        data = self._data
        return data.flags.writeable if type(data) is np.ndarray else data.writeable

    @property
    def T(self) -> NDArray:
        """The axes reversed, in a new array."""
        return self.transpose()

    # Values

    def asnumpy(self) -> np.ndarray:
        """A NumPy array of the values, a copy (`np.asarray(x)` shares memory)."""
        data = self._data
        return data.copy() if type(data) is np.ndarray else data.host()

    def asscalar(self):
        """The value of an array of one element, as a NumPy scalar."""
        if self._data.size != 1:
            raise ValueError("The current array is not a scalar: it has the shape " + str(self.shape))
        return memory.host(self._data).reshape(())[()]

    item = asscalar

    def tolist(self) -> list:
        """The values as nested lists of Python numbers."""
        return memory.host(self._data).tolist()

    def wait_to_read(self) -> None:
        """Returns once the values are there; errors of operators that waited, or ran on a GPU, come up here."""
        if type(self._data) is not np.ndarray:
            self._data.gpu.wait()

    wait_to_write = wait_to_read

    def astype(self, dtype, copy: bool = True) -> NDArray:
        """The elements converted to a dtype; without `copy` the array itself when it has that dtype."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return invoke(find("Cast"), (self,), {"dtype": np.dtype(dtype).name})

    def copy(self) -> NDArray:
        """A new array of the same values on the same context."""
        return invoke(find("_copy"), (self,), {})

    def copyto(self, other) -> NDArray:
        """The values copied into an NDArray, or to a Context as a new array."""
        if isinstance(other, NDArray):
            if other is self:
                return other
            if other.shape != self.shape:
                raise OperatorError(f"copyto: cannot copy the shape {list(self.shape)} into {list(other.shape)}",
                                    "copy into an array of the same shape")
            if state.recorder is not None:
                hooks.record_copy(self, other)
            pending.before_write(other)
            other._data[...] = memory.placed(self._data, other._ctx)
            return other
        ctx = known_context(other)
        data = memory.placed(self._data, ctx)
        out = NDArray(data.copy() if data is self._data else data, ctx)
        if state.recorder is not None:
            hooks.record_copy(self, out)
        return out

    def as_in_context(self, context: Context) -> NDArray:
        """The array on a context: itself when it is there."""
        context = known_context(context)
        return self if context == self._ctx else self.copyto(context)

    as_in_ctx = as_in_context

    def detach(self) -> NDArray:
        """The same memory as an array that no recording has seen."""
        return pending.share(self)

    def tostype(self, stype: str) -> NDArray:
        """The array itself: "default" is the only way of storing."""
        if stype != "default":
            raise MXNetError(f"tostype: arrays are dense, there is no storage type {stype!r}", "use 'default'")
        return self

    def as_nd_ndarray(self) -> NDArray:
        """The array itself."""
        return self

    # Views

    def reshape(self, *shape, reverse: bool = False, **kwargs) -> NDArray:
        """A view of another shape, in which 0 keeps a size, -1 is what remains, -2 the remaining axes, -3 two axes merged,
        -4 one axis split into the next two numbers; `reverse` counts from the right."""
        if "shape" in kwargs:
            shape = kwargs.pop("shape")
        elif len(shape) == 1 and not isinstance(shape[0], (int, np.integer)):
            shape = shape[0]
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        if kwargs:
            raise TypeError(f"reshape: unexpected arguments {sorted(kwargs)}")
        if state.recorder is not None:
            return invoke(find("Reshape"), (self,), find("Reshape").schema.parse({"shape": shape, "reverse": reverse}))
        return NDArray(self._data.reshape(target_shape(self.shape, shape, reverse)), self._ctx)

    def __getitem__(self, key) -> NDArray:
        return indexing.read(self, key)

    def __setitem__(self, key, value) -> None:
        indexing.write(self, key, value)

    def flatten(self, inplace: bool = False) -> NDArray:
        """All axes but the first merged, in a new array, or with `inplace` in a view."""
        return self.reshape(0, -1) if inplace else invoke(find("Flatten"), (self,), {})

    def expand_dims(self, axis: int, inplace: bool = False) -> NDArray:
        """A new axis of size 1, in a new array, or with `inplace` in a view."""
        out = invoke(find("expand_dims"), (self,), find("expand_dims").schema.parse({"axis": axis}))
        return self.reshape(out.shape) if inplace else out

    def squeeze(self, axis=None, inplace: bool = False) -> NDArray:
        """Without the axes of size 1, or those named, in a new array, or with `inplace` in a view."""
        out = invoke(find("squeeze"), (self,), find("squeeze").schema.parse({"axis": axis}))
        return self.reshape(out.shape) if inplace else out

    def split_v2(self, indices_or_sections, axis: int = 0, squeeze_axis: bool = False):
        """Parts along an axis: so many equal ones, or cut at the indices of a tuple."""
        op = find("_split_v2")
        equal = isinstance(indices_or_sections, int)
        parts = {"sections": indices_or_sections} if equal else {"indices": (0, *indices_or_sections)}
        return invoke(op, (self,), op.schema.parse({**parts, "axis": axis, "squeeze_axis": squeeze_axis}))

    # What Python and NumPy see

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        out = np.array(self._data, dtype=dtype, copy=copy)
        if out is self._data:
            self._hand_out()
        return out

    def __jitnet_numpy__(self) -> np.ndarray:
        return memory.host(self._data)

    def _hand_out(self) -> None:
        """Gets ready for others to write the memory of the array."""
        pending.before_write(self)
        memory.expose(self._data)

    def __dlpack__(self, **options):
        self._hand_out()
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._data.__dlpack_device__()

    def to_dlpack_for_read(self):
        """A DLPack capsule that shares the memory. Most libraries take the array itself."""
        return self.__dlpack__()

    to_dlpack_for_write = to_dlpack_for_read

    def __repr__(self) -> str:
        return f"\n{self._data!s}\n<{type(self).__name__} {'x'.join(map(str, self.shape))} @{self._ctx}>"

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d array")
        return self.shape[0]

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        if self._data.size > 1:
            raise ValueError("The truth value of an NDArray with multiple elements is ambiguous.")
        return bool(self._data.size and self.asscalar())

    def __float__(self) -> float:
        return float(self.asscalar())

    def __int__(self) -> int:
        return int(self.asscalar())

    def __index__(self) -> int:
        if self._data.size == 1 and self._data.dtype.kind in "iub":
            return python.index(self.asscalar())
        raise TypeError("only integer arrays of one element can be an index")

    def __reduce__(self):
        return _rebuild, (memory.host(self._data), self._ctx)

    def __copy__(self) -> NDArray:
        return self.copy()

    def __deepcopy__(self, memo) -> NDArray:
        return self.copy()


def _rebuild(data: np.ndarray, ctx: Context) -> NDArray:
    return NDArray(memory.placed(np.ascontiguousarray(data), ctx), ctx)


# Operators of Python

def operand(x: NDArray, other):
    """What the other side of an arithmetic operator is: an NDArray, a number, or None for something else.

    NumPy arrays become NDArrays of the dtype and context of x.
    """
    if isinstance(other, (NDArray, *NUMBERS)):
        return other
    if isinstance(other, np.ndarray):
        own = state.recorder is not None  # it may be read later than now
        return NDArray(memory.placed(np.array(other, x.dtype, order="C", copy=own or None), x._ctx), x._ctx)
    return None


def _method(wide: str, number: str, turned: bool = False, mask: bool = False):
    wide_op, number_op = find(wide), find(number)

    def method(self, other):
        other = operand(self, other) if type(other) is not NDArray else other
        if type(other) is NDArray:
            out = invoke(wide_op, (other, self) if turned else (self, other), {})
        elif other is None:
            return NotImplemented
        else:
            out = invoke(number_op, (self,), {"scalar": other})
        if mask:
            out._mask = True
        return out
    return method


def _in_place(wide: str, number: str):
    wide_op, number_op = find(wide), find(number)

    def method(self, other):
        other = operand(self, other)
        if isinstance(other, NDArray):
            return invoke(wide_op, (self, other), {}, self)
        return NotImplemented if other is None else invoke(number_op, (self,), {"scalar": other}, self)
    return method


for _name, _wide, _number, _turned in (
        ("add", "broadcast_add", "_plus_scalar", "_plus_scalar"), ("sub", "broadcast_sub", "_minus_scalar", "_rminus_scalar"),
        ("mul", "broadcast_mul", "_mul_scalar", "_mul_scalar"), ("truediv", "broadcast_div", "_div_scalar", "_rdiv_scalar"),
        ("mod", "broadcast_mod", "_mod_scalar", "_rmod_scalar"),
        ("pow", "broadcast_power", "_power_scalar", "_rpower_scalar")):
    setattr(NDArray, f"__{_name}__", _method(_wide, _number))
    setattr(NDArray, f"__r{_name}__", _method(_wide, _turned, turned=True))
    setattr(NDArray, f"__i{_name}__", _in_place(_wide, _number))
for _name, _function in (("eq", "equal"), ("ne", "not_equal"), ("gt", "greater"), ("ge", "greater_equal"), ("lt", "lesser"),
                         ("le", "lesser_equal")):
    setattr(NDArray, f"__{_name}__", _method(f"broadcast_{_function}", f"_{_function}_scalar", mask=True))
NDArray.__neg__ = lambda self: invoke(_NEGATE, (self,), {"scalar": -1.0})
NDArray.__abs__ = lambda self: invoke(_ABS, (self,), {})
NDArray.__pos__ = lambda self: self.copy()
NDArray.__matmul__ = lambda self, other: invoke(_MATMUL, (self, other), {})
_NEGATE, _ABS, _MATMUL = find("_mul_scalar"), find("abs"), find("_matmul")
hooks.array_type = NDArray
