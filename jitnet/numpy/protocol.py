"""How NumPy's own functions reach jitnet: the tables that `__array_ufunc__`, `__array_function__` and methods look into.

`implements(np.mean, method="mean")` makes a function the meaning of `np.mean` on traced values and of the method
`x.mean()`; called on plain NumPy arrays it hands over to NumPy itself.
"""
from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ..errors import TraceAttributeError, TraceTypeError
from ..op import METHODS, NUMPY_FUNCTIONS, has_priority
from ..traced_operators import write_into
from ..tracer import Tracer, current_trace, leaked
from ..types import broadcast_shapes, known_dtype

SPECIAL: dict[str, Callable] = {}     # name of a ufunc of scipy.special -> what runs on traced values
REDUCERS: dict[str, Callable] = {}    # name of a ufunc -> its reduction: function(x, axis=, keepdims=, ...)
ACCUMULATORS: dict[str, Callable] = {}


def is_special(value) -> bool:
    """Whether jitnet must compute with this value: a traced value or a jitnet array, alone or in a list or tuple."""
    if isinstance(value, (list, tuple)):
        return any(map(is_special, value))
    return has_priority(value)


def any_special(args, kwargs) -> bool:
    """Whether one of the arguments of a call is traced, or a jitnet array."""
    return any(map(is_special, args)) or any(map(is_special, kwargs.values()))


def implements(*functions: Callable, method: str | None = None, eager: Callable | None = None) -> Callable:
    """Decorator: the function is what these NumPy functions (and the array method of that name) do with traced values.

    What it returns is the public function of `jitnet.numpy`: on plain NumPy arguments it calls NumPy's (`eager`, or the
    first of `functions`); without one it computes with NumPy op by op.
    """
    def register(function):
        for f in functions:
            NUMPY_FUNCTIONS[f] = function
        if method:
            METHODS[method] = function
        numpy_function = eager if eager is not None else functions[0] if functions else None
        if numpy_function is None:
            return function

        @functools.wraps(function)
        def public(*args, **kwargs):
            return function(*args, **kwargs) if any_special(args, kwargs) else numpy_function(*args, **kwargs)
        return public
    return register


def implements_special(*names: str) -> Callable:
    """Decorator: the function is what the ufuncs of scipy.special of these names do with traced values."""
    def register(function):
        for name in names:
            SPECIAL[name] = function
        return function
    return register


def fresh(x):
    """A new array with the value of x: writing into it leaves x alone. Costs no equation."""
    if isinstance(x, Tracer):
        trace = current_trace()
        if trace is None:
            raise leaked(x, "copy")
        return Tracer(trace, trace.lift(x))
    return np.array(x) if isinstance(x, np.ndarray) else x


def as_array(x, dtype=None):
    """x as something with a shape and a dtype; numbers and lists become NumPy arrays (lists with traced elements are
    stacked)."""
    if isinstance(x, (list, tuple)) and is_special(x):
        from .joining import array

        x = array(x)
    if not has_priority(x) and not isinstance(x, np.ndarray):
        x = np.asarray(x)
    if dtype is None or x.dtype == dtype:
        return x
    if isinstance(x, Tracer):
        x.must_fit(np.dtype(dtype))
    return astype(x, dtype)


def astype(x, dtype):
    """x converted to a dtype (an equation only where the dtype changes)."""
    from ..ops import cast

    dtype = known_dtype(dtype)
    return x if x.dtype == dtype else cast(x, dtype=dtype)


def into(out, value, name: str, broadcast: bool = False):
    """What a call with `out=` returns: `out` with the value written into it, or the value when there is no `out`.

    broadcast: the value may be repeated to fill `out`, as ufuncs do it.
    """
    if isinstance(out, tuple):
        (out,) = out
    if out is None:
        return value
    if not isinstance(out, Tracer):
        if has_priority(out):
            out[...] = value
            return out
        raise TraceTypeError(f"{name}: out= is a NumPy array, which cannot hold a traced value",
                             "make it inside the function with `jitnet.numpy.zeros`, or use the returned value: "
                             "`total = total + x` instead of `total += x`")
    if not isinstance(value, Tracer):
        value = Tracer(out.owner, (current_trace() or out.owner).atom(value))
    if value.shape != out.shape and not (broadcast and broadcast_shapes(value.shape, out.shape) == out.shape):
        raise TraceTypeError(f"{name}: a result of type {value.type} does not fit into out= of type {out.type}",
                             "give `out` the shape of the result")
    return write_into(out, value, name)


def method_named(name: str) -> Callable:
    """The array method of that name; an AttributeError where a traced array has none.

    Libraries probe for names with underscores: these errors need no message.
    """
    method = METHODS.get(name)
    if method is not None:
        return method
    what = f"a traced array has no attribute {name!r}"
    if name.startswith("_"):
        raise AttributeError(what)
    if hasattr(np.ndarray, name):
        raise TraceAttributeError(what, "it stands for values, not for memory: use a function of NumPy, or call this outside "
                                  "the compiled function")
    if name == "at":   # JAX's
        raise TraceAttributeError(what, "write into the array itself: `x[i] = v`; `x = x.copy()` before it keeps the argument")
    import difflib

    meant = difflib.get_close_matches(name, [n for n in {*METHODS, *dir(np.ndarray)} if not n.startswith("_")], 1, 0.75)
    raise TraceAttributeError(what, f"did you mean `{meant[0]}`?" if meant else
                              "it has the attributes and methods of NumPy's arrays")


# Ufuncs

def array_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, kwargs: dict):
    """What a NumPy (or SciPy) ufunc does with traced values: the call itself, reduce, accumulate, outer or at."""
    handler = NUMPY_FUNCTIONS.get(ufunc)
    if handler is None:
        handler = SPECIAL.get(ufunc.__name__)
        if handler is None:
            raise TraceTypeError(f"{ufunc.__name__}: jitnet cannot compile this ufunc of a traced value",
                                 "write it with functions that `jitnet.numpy` has, or call it outside the compiled function")
    if method == "__call__":
        return handler(*inputs) if not kwargs else call_with_options(ufunc.__name__, handler, inputs, **kwargs)
    run = _METHODS.get(method)
    if run is None:
        raise TraceTypeError(f"{ufunc.__name__}.{method}: jitnet cannot compile this method of a ufunc",
                             "use reduce, accumulate, outer or at")
    return run(ufunc, handler, *inputs, **kwargs)


def call_with_options(name, handler, inputs, out=None, where=True, dtype=None, casting=None, order=None, subok=None, **unknown):
    """What a ufunc gives when it is called with options. casting, order and subok change nothing here."""
    if unknown:
        raise TraceTypeError(f"{name}: jitnet knows no option {', '.join(unknown)}", "use out=, where= and dtype= only")
    if dtype is not None and (dtype := known_dtype(dtype)) != np.bool_:
        inputs = tuple(as_array(x, dtype) for x in inputs)
    value = handler(*inputs)
    if dtype == np.bool_ and value.dtype != dtype:   # comparisons give bools of whatever they compare
        raise TraceTypeError(f"{name}: the result is of {value.dtype}, not of bools", "leave dtype= out")
    if isinstance(value, tuple):
        outs = out if out is not None else (None,) * len(value)
        return tuple(_masked(o, v, where, name) for o, v in zip(outs, value, strict=True))
    return _masked(out[0] if isinstance(out, tuple) else out, value, where, name)


def _masked(out, value, where, name):
    if where is not True:
        from ..ops import where as select

        base = out if out is not None else np.zeros((), value.dtype)  # NumPy leaves these elements uninitialized
        value = select(where, value, base)
    return into(out, value, name, broadcast=True)


def _reduce(ufunc, handler, x, axis=0, dtype=None, out=None, keepdims=False, **options):
    reducer = REDUCERS.get(ufunc.__name__)
    if reducer is None:
        raise TraceTypeError(f"{ufunc.__name__}.reduce: jitnet cannot compile this reduction", "use " + ", ".join(REDUCERS))
    if dtype is not None:
        x = as_array(x, known_dtype(dtype))
    value = reducer(x, axis=axis, keepdims=keepdims, **options)
    return into(out, value if dtype is None else as_array(value, known_dtype(dtype)), ufunc.__name__)


def _accumulate(ufunc, handler, x, axis=0, dtype=None, out=None):
    accumulator = ACCUMULATORS.get(ufunc.__name__)
    if accumulator is None:
        raise TraceTypeError(f"{ufunc.__name__}.accumulate: jitnet cannot compile it", "use " + ", ".join(ACCUMULATORS))
    return into(out, accumulator(x, axis=axis, dtype=dtype), ufunc.__name__)


def _outer(ufunc, handler, x, y, **kwargs):
    x, y = as_array(x), as_array(y)
    x = x.reshape((*x.shape, *(1,) * y.ndim))
    return array_ufunc(ufunc, "__call__", (x, y), kwargs)


def _at(ufunc, handler, x, indices, values=None):
    from .indexing import add_at

    if ufunc is np.subtract:
        values = -as_array(values)
    elif ufunc is not np.add:
        raise TraceTypeError(f"{ufunc.__name__}.at: jitnet compiles add.at and subtract.at only",
                             "for indices without repetition write `x[i] = f(x[i], v)`")
    if not isinstance(x, Tracer):
        raise TraceTypeError(f"{ufunc.__name__}.at: a NumPy array cannot hold a traced value",
                             "make it inside the function with `jitnet.numpy.zeros`")
    add_at(x, indices, values)


_METHODS = {"reduce": _reduce, "accumulate": _accumulate, "outer": _outer, "at": _at}
