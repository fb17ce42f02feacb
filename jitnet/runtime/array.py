"""Array: an array that lives on a device. Eager: each operation runs at once, as NumPy's own does."""
from __future__ import annotations

import copy as copying
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..errors import TraceTypeError, TraceValueError
from ..text import a_type
from ..tracer import Tracer, current_trace
from ..types import BF16, SHORT_NAMES, known_dtype
from .cuda.buffer import DeviceBuffer
from .device import CPU, Device, default_device, known_device
from .dlpack import export
from .dlpack import take_in as take_in_host
from .interpreted import METHODS, apply


def unwrap(value):
    """The value with NumPy arrays in place of Arrays, inside tuples, lists and dicts too."""
    kind = type(value)
    if kind is Array:
        return value._data
    if kind is tuple or kind is list:
        return kind(map(unwrap, value))
    return {k: unwrap(v) for k, v in value.items()} if kind is dict else value


def _wrap(result):
    """The result with Arrays in place of NumPy arrays and scalars; dtypes that jitnet does not know stay NumPy's."""
    if isinstance(result, (np.ndarray, np.generic)):
        return Array(np.asarray(result)) if result.dtype in SHORT_NAMES else result
    if isinstance(result, DeviceBuffer):
        return Array(result)
    if isinstance(result, tuple):
        parts = map(_wrap, result)
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return [_wrap(r) for r in result] if isinstance(result, list) else result


def _binary(ufunc, reflected: bool = False) -> Callable[[Array, Any], Array]:
    def method(self, other):
        if isinstance(other, Array):
            other = other._data
        elif not isinstance(other, (bool, int, float, np.ndarray, np.generic, list, tuple)):
            return NotImplemented
        return _wrap(apply(ufunc, (other, self._data) if reflected else (self._data, other), {}))
    return method


def _in_place(ufunc) -> Callable[[Array, Any], Array]:
    def method(self, other):
        if isinstance(other, Tracer):
            return NotImplemented
        if self.dtype == BF16:
            self._data[...] = unwrap(_binary(ufunc)(self, other)).astype(BF16)
        else:
            ufunc(self._data, unwrap(other), out=self._data)
        return self
    return method


def _operator(ufunc) -> tuple[Callable[[Array, Any], Array], ...]:
    """The methods of x + y, y + x and x += y."""
    return _binary(ufunc), _binary(ufunc, reflected=True), _in_place(ufunc)


def _unary(ufunc) -> Callable[[Array], Array]:
    return lambda self: _wrap(ufunc(self._data))


def _method(name: str) -> Callable[..., Any]:
    def method(self, *args, **kwargs):
        if name in METHODS and type(self._data) is np.ndarray:
            return _wrap(apply(METHODS[name], (self._data, *unwrap(args)), unwrap(kwargs)))
        result = _wrap(getattr(self._data, name)(*unwrap(args), **unwrap(kwargs)))
        out = kwargs.get("out")
        return result if out is None else out
    method.__name__, method.__qualname__, method.__doc__ = name, f"Array.{name}", f"As `numpy.ndarray.{name}`."
    return method


_METHODS = (  # NumPy's methods that Array has; the class names them too, for readers and type checkers
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "choose", "clip", "compress", "conj", "conjugate",
    "copy", "cumprod", "cumsum", "diagonal", "dot", "fill", "flatten", "item", "max", "mean", "min", "nonzero", "partition",
    "prod", "put", "ravel", "repeat", "reshape", "round", "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes", "take",
    "tobytes", "tolist", "trace", "transpose", "var", "view",
)


class Array:
    """An array on a device, with NumPy's operators, methods and meaning. Make one with `jitnet.asarray`.

    >>> import jitnet
    >>> x = jitnet.asarray([1.0, 2.0, 4.0])
    >>> (x * 2).sum()
    Array(14.)
    """

    __slots__ = ("__weakref__", "_data")
    __jitnet_priority__ = 1
    __array_priority__ = 900
    __hash__ = None

    def __init__(self, data: np.ndarray | DeviceBuffer):
        if type(data) is not np.ndarray and type(data) is not DeviceBuffer:
            raise TraceTypeError(f"Array: it holds a NumPy array, not {a_type(data)}", "make it with `jitnet.asarray`")
        self._data = data

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the elements."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._data.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._data.nbytes

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return CPU if type(self._data) is np.ndarray else self._data.device

    @property
    def T(self) -> Array:
        """The axes reversed."""
        return Array(self._data.T)

    @property
    def mT(self) -> Array:
        """The last two axes exchanged."""
        return Array(self._data.mT)

    @property
    def real(self) -> Array:
        """The array itself: elements are real."""
        return self

    @property
    def imag(self) -> Array:
        """Zeros: elements are real."""
        return Array(np.zeros_like(self._data))

    @property
    def flat(self):
        """An iterator over the elements."""
        return iter(self.ravel())

    def to(self, device) -> Array:
        """The array on that device: itself when it is there. Copies between GPUs and to them do not wait."""
        device = known_device(device, "to")
        return self if device == self.device else Array(moved(self._data, device))

    to_device = to

    def block_until_ready(self) -> Array:
        """The array, once its values are there (on the CPU they always are). Errors of what ran on its device come up here."""
        if type(self._data) is DeviceBuffer:
            self._data.gpu.wait()
        return self

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, which shares memory with this one; from a GPU a copy, once they are there."""
        return self._data if type(self._data) is np.ndarray else self._data.host()

    # What other libraries see

    __jitnet_numpy__ = numpy

    def __jitnet_bind__(self, op, arrays, params):
        plain = [unwrap(a) for a in arrays]
        if any(type(a) is DeviceBuffer for a in plain):
            from .cuda.eager import run_op

            return _wrap(run_op(op, plain, params))
        out = op.evaluate([np.asarray(a) for a in plain], params) if op.kind == "control" else op.body(*plain, **params)
        return _wrap(tuple(out) if isinstance(out, list) else out)

    def __array__(self, dtype=None, copy=None):
        return np.array(self._data, dtype=dtype, copy=copy)

    @property
    def __array_interface__(self):
        return self._data.__array_interface__

    @property
    def __cuda_array_interface__(self):
        return self._data.__cuda_array_interface__

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(isinstance(x, Tracer) for x in (*inputs, *kwargs.values())):
            return NotImplemented
        out = kwargs.get("out")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        result = apply(function, unwrap(inputs), unwrap(kwargs))
        if out is not None:
            return out[0] if len(out) == 1 else out
        return _wrap(result)

    def __array_function__(self, function, types, args, kwargs):
        if any(issubclass(t, Tracer) for t in types):
            return NotImplemented
        result = apply(function, unwrap(args), unwrap(kwargs))
        out = kwargs.get("out")
        return out if isinstance(out, Array) else _wrap(result)

    def __array_namespace__(self, *, api_version=None):
        from .. import numpy

        return numpy

    def __dlpack__(self, **options):
        return export(self._data, **options) if type(self._data) is np.ndarray else self._data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._data.__dlpack_device__()

    def __reduce__(self):
        return Array, (self._data,)

    def __copy__(self) -> Array:
        return Array(self._data.copy())

    def __deepcopy__(self, memo) -> Array:
        return Array(copying.deepcopy(self._data, memo))

    # What Python sees

    def __repr__(self) -> str:
        return "A" + repr(self._data)[1:]

    def __str__(self) -> str:
        return str(self._data)

    def __format__(self, spec: str) -> str:
        return format(self._data[()] if self.ndim == 0 else self._data, spec)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __contains__(self, item) -> bool:
        return unwrap(item) in self._data

    def __bool__(self) -> bool:
        return bool(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __round__(self, ndigits: int | None = None):
        rounded = round(self._data[()], ndigits)
        return rounded if ndigits is None else Array(np.asarray(rounded))

    def __complex__(self) -> complex:
        return complex(self._data)

    def __index__(self) -> int:
        return operator.index(self._data)

    def __getitem__(self, key) -> Array:
        if current_trace() is not None and any(isinstance(k, Tracer) for k in (key if isinstance(key, tuple) else (key,))):
            trace = current_trace()
            return Tracer(trace, trace.atom(self))[key]
        value = self._data[unwrap(key)]
        return Array(value if type(value) is DeviceBuffer else np.asarray(value))

    def __setitem__(self, key, value):
        self._data[unwrap(key)] = unwrap(value)

    # What it does as NumPy's arrays do

    __add__, __radd__, __iadd__ = _operator(np.add)
    __sub__, __rsub__, __isub__ = _operator(np.subtract)
    __mul__, __rmul__, __imul__ = _operator(np.multiply)
    __truediv__, __rtruediv__, __itruediv__ = _operator(np.divide)
    __floordiv__, __rfloordiv__, __ifloordiv__ = _operator(np.floor_divide)
    __mod__, __rmod__, __imod__ = _operator(np.remainder)
    __pow__, __rpow__, __ipow__ = _operator(np.power)
    __and__, __rand__, __iand__ = _operator(np.bitwise_and)
    __or__, __ror__, __ior__ = _operator(np.bitwise_or)
    __xor__, __rxor__, __ixor__ = _operator(np.bitwise_xor)
    __lshift__, __rlshift__, __ilshift__ = _operator(np.left_shift)
    __rshift__, __rrshift__, __irshift__ = _operator(np.right_shift)
    __matmul__, __rmatmul__, __imatmul__ = _operator(np.matmul)
    __divmod__, __rdivmod__ = _binary(np.divmod), _binary(np.divmod, reflected=True)
    __lt__, __le__, __gt__ = _binary(np.less), _binary(np.less_equal), _binary(np.greater)
    __ge__, __eq__, __ne__ = _binary(np.greater_equal), _binary(np.equal), _binary(np.not_equal)
    __neg__, __pos__, __abs__, __invert__ = map(_unary, (np.negative, np.positive, np.absolute, np.invert))

    (all, any, argmax, argmin, argpartition, argsort, astype, choose, clip, compress, conj, conjugate, copy, cumprod, cumsum,
     diagonal, dot, fill, flatten, item, max, mean, min, nonzero, partition, prod, put, ravel, repeat, reshape, round,
     searchsorted, sort, squeeze, std, sum, swapaxes, take, tobytes, tolist, trace, transpose, var,
     view) = map(_method, _METHODS)


def asarray(value, dtype=None, *, device=None, copy: bool | None = None) -> Array:
    """An Array of the value, on a device: by default where it is, or else on the default device.

    A NumPy array, and anything with DLPack or `__cuda_array_interface__` (CuPy's and torch's arrays), is shared without a copy
    unless dtype, device or `copy` asks for one.

    >>> import jitnet
    >>> jitnet.asarray([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    wanted = known_device(device, "asarray") if device is not None else None
    if isinstance(value, Tracer):
        return value if dtype is None else value.astype(dtype)
    if isinstance(value, Array):
        value, wanted = value._data, wanted or value.device
    elif hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
        value = imported(value)
        wanted = wanted or (value.device if type(value) is DeviceBuffer else None)
    elif hasattr(value, "__cuda_array_interface__"):
        value = imported(value)
        wanted = wanted or value.device
    wanted = wanted or default_device()
    if type(value) is DeviceBuffer or wanted is not CPU:
        return Array(placed(value, dtype, wanted, copy))
    return Array(_host_array(value, dtype, copy))


def _host_array(value, dtype, copy: bool | None) -> np.ndarray:
    """The value as a NumPy array of a dtype that jitnet knows."""
    data = np.asarray(value)
    if data.dtype.kind in "OSUV" and data.dtype != BF16:
        raise TraceTypeError(f"asarray: {a_type(value)} of dtype {data.dtype} is no array of numbers",
                             "pass numbers, nested lists of equal length, or an array")
    target = known_dtype(dtype if dtype is not None else data.dtype, "asarray")
    return np.array(data, target, copy=copy)


def imported(value) -> np.ndarray | DeviceBuffer:
    """Another library's array, without a copy."""
    kind = value.__dlpack_device__()[0] if hasattr(value, "__dlpack_device__") else 0
    if kind == 1:
        return take_in_host(value)
    from .cuda.interop import take_in

    return take_in(value)


def placed(value, dtype, device: Device, copy: bool | None) -> np.ndarray | DeviceBuffer:
    """A value on a device, of a dtype; shared only when it is there already."""
    if type(value) is not DeviceBuffer:
        if copy is False:
            raise TraceValueError(f"asarray: a value of the CPU is not on {device} without a copy", "leave `copy` out")
        return moved(_host_array(value, dtype, None), device)
    target = value.dtype if dtype is None else known_dtype(dtype, "asarray")
    if copy is False and (target != value.dtype or device != value.device):
        raise TraceValueError(f"asarray: {value.type_text} is not {target} on {device} without a copy", "leave `copy` out")
    out = value if target == value.dtype else value.astype(target)
    if device != value.device:
        return moved(out, device)
    return value.copy() if copy and out is value else out


def moved(data: np.ndarray | DeviceBuffer, device: Device) -> np.ndarray | DeviceBuffer:
    """A copy of an array's data on another device."""
    from .cuda import transfer

    if type(data) is np.ndarray:
        return transfer.to_gpu(data, device)
    return data.host() if device.kind == "cpu" else transfer.copied(data, device)


def device_put(container, device=None):
    """The container with every leaf as an Array on that device."""
    return tree.map(lambda leaf: asarray(leaf, device=device), container)


def block_until_ready(container):
    """The container, once the values of all its Arrays are there."""
    for leaf in tree.leaves(container):
        if isinstance(leaf, Array):
            leaf.block_until_ready()
    return container
