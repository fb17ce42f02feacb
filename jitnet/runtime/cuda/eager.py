"""Eager operations on a GPU: each NumPy function, method, ufunc or op becomes a compiled function of its arrays.

The compiled functions are kept by what was called and by everything in the call that is no array. Numbers that meet arrays in a
ufunc or an operator are arguments too, so that `x * 0.1` and `x * 0.2` are one program.
"""
from __future__ import annotations

import collections
import operator
import threading
from collections.abc import Sequence

import numpy as np

from ... import tree
from ...errors import TraceTypeError
from ...tracer import current_trace, within
from ...types import same_kind, short_dtype
from . import on_host
from .buffer import DeviceBuffer

MOST_FUNCTIONS = 2048   # compiled functions kept; the one used longest ago goes first
NUMBERS = (bool, int, float)

_functions: collections.OrderedDict[tuple, object] = collections.OrderedDict()
_ufuncs: dict[tuple[np.ufunc, int], object] = {}   # with the number of inputs
_lock = threading.Lock()


class _Static:
    """Something in a call that is no array, as part of a key: equal when kind and value are."""

    __slots__ = ("key", "value")

    def __init__(self, value):
        self.value, self.key = value, _key(value)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other) -> bool:
        return isinstance(other, _Static) and self.key == other.key


def _key(value):
    if type(value) is slice:
        return slice, _key(value.start), _key(value.stop), _key(value.step)
    return type(value), value.hex() if type(value) is float else value


class _Number:
    """A number that is an argument of the compiled function."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def _call(what: tuple, function, args: tuple, kwargs: dict, weak: Sequence[int] = ()):
    """function(*args, **kwargs), compiled, on the device of the buffers in it.

    what: how the function is known, its name last; weak: positions where a number is an argument of the program, too.
    """
    args = tuple([_Number(x) if k in weak and type(x) in NUMBERS else x for k, x in enumerate(args)])
    leaves, structure = tree.flatten((args, kwargs), ordered=True)
    traced = [isinstance(x, (DeviceBuffer, np.ndarray, _Number)) for x in leaves]
    statics = tuple([None if t else _Static(x) for x, t in zip(leaves, traced)])
    return _result(_compiled(what, structure, statics, function), [_passed(x) for x, t in zip(leaves, traced) if t])


def _result(compiled, operands: list):
    """What a compiled function gives, also for arrays that a function which is being traced computes with on its own."""
    try:
        if current_trace() is None:
            return tree.map(_unwrapped, compiled(*operands))
        with within():
            return tree.map(_unwrapped, compiled(*operands))
    except TraceTypeError as error:
        raise _said_eagerly(error) from None


def _said_eagerly(error: TraceTypeError) -> TraceTypeError:
    """An error of tracing in the words of a user who compiles nothing."""
    outside = "call it outside the compiled function"
    if outside not in error.hint:
        return error
    what = error.what.replace("of a traced value", "of an array on a GPU").replace("a traced array", "an array on a GPU")
    return type(error)(what, error.hint.replace(outside, "compute it on the host: `x.numpy()`"), error.source)


def _passed(x):
    from ..array import Array

    return Array(x) if isinstance(x, DeviceBuffer) else x.value if isinstance(x, _Number) else x


def _unwrapped(x):
    from ..array import Array

    return x._data if isinstance(x, Array) else x


def _compiled(what: tuple, structure: tuple, statics: tuple, function):
    """The compiled function of the traced leaves of a call."""
    from ...jit import jit

    def call(*operands):
        rest = iter(operands)
        args, kwargs = tree.unflatten(structure, [next(rest) if s is None else s.value for s in statics])
        return function(*args, **kwargs)

    call.__name__ = what[-1]
    try:
        key = what, structure, statics
        with _lock:
            known = _functions.get(key)
            if known is None:
                known = _functions[key] = jit(call)
                if len(_functions) > MOST_FUNCTIONS:
                    _functions.popitem(last=False)
            else:
                _functions.move_to_end(key)
        return known
    except TypeError:   # an argument that cannot be a key: compiled for this call alone
        return jit(call)


def run(function, args: tuple, kwargs: dict):
    """A NumPy function on device buffers; what it cannot compute there is an error, but for what on_host.py names."""
    if on_host.must_run(function, args, kwargs):
        return on_host.run(function, args, kwargs)
    out = kwargs.pop("out", None) if "out" in kwargs else None
    result = _call(("numpy", function, function.__name__), function, args, kwargs)
    return result if out is None else _into(out, result)


def run_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict):
    """A ufunc, or a method of one, on device buffers."""
    if method == "__call__" and not kwargs:
        return _plain_ufunc(ufunc, inputs)
    out = kwargs.pop("out", None)
    if method == "at":
        return _call(("at", ufunc, f"{ufunc.__name__}_at"), ufunc.at, inputs, kwargs)
    function = ufunc if method == "__call__" else getattr(ufunc, method)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}_{method}"
    weak = range(len(inputs)) if method == "__call__" else ()
    result = _call(("ufunc", ufunc, method, name), function, inputs, kwargs, weak)
    if out is not None and "casting" not in kwargs:
        _check_kinds(name, out, result)
    return result if out is None else _into(out, result)


def _plain_ufunc(ufunc: np.ufunc, inputs: tuple):
    """The ufunc of these inputs: the way of operators, and so the shortest."""
    function = _ufuncs.get((ufunc, len(inputs)))
    if function is None:
        from ...jit import jit

        def call(*operands):
            return ufunc(*operands)

        call.__name__ = ufunc.__name__
        function = _ufuncs.setdefault((ufunc, len(inputs)), jit(call))
    return _result(function, [_passed(x) for x in inputs])


def _check_kinds(name: str, out, result) -> None:
    """TraceTypeError where a ufunc's results are of a kind that NumPy does not write into what `out=` names: `i /= 2`."""
    for target, value in zip(out if isinstance(out, tuple) else (out,), result if isinstance(result, tuple) else (result,)):
        if isinstance(target, DeviceBuffer) and not same_kind(value.dtype, target.dtype):
            raise TraceTypeError(f"{name}: a {short_dtype(value.dtype)} result cannot be written into a "
                                 f"{short_dtype(target.dtype)} array", "convert the array first: `x = x.astype(...)`")


def _into(out, result):
    """Writes results into what `out=` names."""
    targets = out if isinstance(out, tuple) else (out,)
    for target, value in zip(targets, result if isinstance(result, tuple) else (result,), strict=True):
        if isinstance(target, DeviceBuffer):
            if value.shape != target.shape:
                raise TraceTypeError(f"a result of shape {list(value.shape)} does not fit into out= of shape "
                                     f"{list(target.shape)}", "give `out` the shape of the result")
            target.assign(value if value.dtype == target.dtype else value.astype(target.dtype))
        elif target is not None:
            raise TraceTypeError("out= is a NumPy array, and the result is on a GPU", "copy it to the host: `result.numpy()`")
    return out if isinstance(out, tuple) and len(out) > 1 else targets[0]


def run_method(name: str, args: tuple, kwargs: dict):
    """A method of arrays on device buffers; args[0] is the array."""
    if name == "nonzero":
        return on_host.run(np.nonzero, args, kwargs)
    out = kwargs.pop("out", None)
    result = _call(("method", name), lambda x, *rest, **options: getattr(x, name)(*rest, **options), args, kwargs)
    return result if out is None else _into(out, result)


def run_op(op, arrays, params):
    """One of jitnet's ops on device buffers."""
    def call(*xs, **options):
        if op.kind == "control":
            from ...tracer import bind

            return tuple(bind(op, list(xs), options))
        return op(*xs, **options)

    return _call(("op", op, op.name), call, tuple(arrays), dict(params), range(len(arrays)))


def get_item(x: DeviceBuffer, key) -> DeviceBuffer:
    """x[key], a new array. How many elements a mask picks, the host must know: it waits for the mask."""
    return _call(("getitem",), operator.getitem, (x, on_host.without_masks(x.shape, _plain(key))), {})


def set_item(x: DeviceBuffer, key, value) -> None:
    """x[key] = value, in x's memory."""
    def call(array, where, new):
        array[where] = new

    if isinstance(value, DeviceBuffer) and value.overlaps(x):   # as after `x[:] += y` on views: Python stores what it got
        if value.pointer == x.pointer and value.kind is x.kind and (key is Ellipsis or key == slice(None)):
            return
        value = value.copy()
    elif type(value) not in NUMBERS and not isinstance(value, DeviceBuffer):
        value = np.asarray(value)
    _call(("setitem",), call, (x, _plain(key), value), {}, weak=(2,))


def _plain(key):
    """A key with lists as arrays."""
    if isinstance(key, tuple):
        return tuple([_plain(k) for k in key])
    return np.asarray(key) if isinstance(key, list) else key
