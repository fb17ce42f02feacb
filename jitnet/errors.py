"""Every kind of error jitnet raises, and `Source`, the line of the user's code that an error or an equation points at.

A message has three lines: what is wrong in the user's terms, the user's own line, a way out.

    TraceTypeError: add: shapes do not broadcast: f32[4,3] and f32[4]
      model.py:38: return h + bias
      line the axes up with `reshape`, or add one with `bias[:, None]`
"""
from __future__ import annotations

import contextlib
import functools
import importlib.util
import linecache
import os
import sys
import threading
from dataclasses import dataclass

LONGEST = 128  # characters of a user's line that a message shows
_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Of the standard library, they call what the user gave them, or look for what the user imports.
_CALLERS = functools.__file__, contextlib.__file__, "<frozen importlib._bootstrap>"
_CONVERTERS = tuple(f"{os.sep}site-packages{os.sep}{name}{os.sep}" for name in ("pandas", "matplotlib", "sklearn"))
_is_internal: dict[str, bool] = {}  # file name -> does it belong to jitnet, NumPy, SciPy or one of these
_sources: dict[tuple, tuple] = {}   # (id of a code object, position in it) -> (the code object, kept alive; its Source)


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's code: file, number, function; `text` is read when asked for."""

    file: str
    line: int
    function: str = ""

    @property
    def text(self) -> str:
        return linecache.getline(self.file, self.line).strip()

    @property
    def place(self) -> str:
        """`model.py:38`; `In[3]:38` of a notebook, whose cells IPython keeps under longer names."""
        return f"{_cell(self.file) or os.path.basename(self.file)}:{self.line}"

    def __str__(self) -> str:
        text = self.text
        if len(text) > LONGEST:
            text = text[:LONGEST - 3] + "..."
        return self.place + (f": {text}" if text else "")


def _cell(file: str) -> str:
    """What IPython calls the cell that it keeps under this file name; "" when it is no cell."""
    if "ipython" not in file and "ipykernel" not in file:
        return ""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    name = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(file)
    return name[1] if name else ""


def _internal(name: str) -> bool:
    known = name.startswith((_PACKAGE, *_libraries())) or name in _CALLERS or any(part in name for part in _CONVERTERS)
    _is_internal[name] = known
    return known


@functools.cache
def _libraries() -> tuple[str, ...]:
    """The directories of NumPy and SciPy. A user's own may have their names."""
    found = map(importlib.util.find_spec, ("numpy", "scipy"))
    return tuple(os.path.dirname(os.path.abspath(spec.origin)) + os.sep for spec in found if spec is not None and spec.origin)


class _Stated(threading.local):
    source: Source | None = None


_stated = _Stated()


@contextlib.contextmanager
def speaking_of(source: Source | None):
    """Inside, `user_source` gives this line: what runs was written there, and is carried out now. None changes nothing."""
    before = _stated.source
    _stated.source = source or before
    try:
        yield
    finally:
        _stated.source = before


def stated_source() -> Source | None:
    """The line of the innermost `speaking_of`."""
    return _stated.source


def user_source(inner: int = 1) -> Source | None:
    """The innermost line on the stack that belongs to neither jitnet nor NumPy; None when there is none. `inner`: how many
    frames there are at least of jitnet's own, which need not be looked at."""
    if _stated.source is not None:
        return _stated.source
    frame = sys._getframe(inner)
    known = _is_internal
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        internal = known.get(name)
        if not (_internal(name) if internal is None else internal):
            key = (id(code), frame.f_lasti)
            found = _sources.get(key)
            if found is None:
                if len(_sources) > 100_000:
                    _sources.clear()
                found = _sources[key] = code, Source(name, frame.f_lineno, code.co_name)
            return found[1]
        frame = frame.f_back
    return None


class JitnetError(Exception):
    """Base of all errors of jitnet. `what`, `source` and `hint` are its three lines."""

    def __init__(self, what: str, hint: str = "", source: Source | None = None):
        self.what, self.hint = what, hint
        self.source = source if source is not None else user_source()
        lines = [what]
        if self.source is not None:
            lines.append(f"  {self.source}")
        if hint:
            lines.append(f"  {hint}")
        super().__init__("\n".join(lines))

    def __reduce__(self):
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[JitnetError], args: tuple, state: dict) -> JitnetError:
    """The error that was pickled, as it was: a worker's shows the line that it was raised for."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class TraceTypeError(JitnetError, TypeError):
    """Shapes, dtypes or kinds of values that do not fit the operation."""


class TraceValueError(JitnetError, ValueError):
    """A value that the operation cannot take."""


class TraceOverflowError(JitnetError, OverflowError):
    """A Python integer beyond the range of the array that it meets."""


class TraceIndexError(JitnetError, IndexError):
    """An index out of bounds, or of a kind that cannot index."""


class TraceAttributeError(JitnetError, AttributeError):
    """An attribute or method that a traced array does not have."""


class MissingError(JitnetError, ImportError):
    """An import of what MXNet 1.x has and jitnet has not."""


class TraceBranchError(TraceTypeError):
    """A Python `if`, `while` or conversion that needs the value of a traced array."""


class LeakedTracerError(JitnetError, TypeError):
    """A traced value used after, or outside, the function that was traced."""


class StaticArgumentError(JitnetError, TypeError):
    """A static argument that cannot be a key (unhashable), or that does not exist."""


class DerivativeError(JitnetError, TypeError):
    """A derivative that does not exist or was asked of something without one."""


class MXNetError(JitnetError, RuntimeError):
    """What the programming models of MXNet 1.x raise: a RuntimeError, as MXNet's own is."""


class OperatorError(MXNetError, ValueError):
    """An operator's arguments that do not fit it: parameters, shapes or dtypes."""


class ReshapeError(MXNetError, AssertionError):
    """An executor that cannot take the new shapes as it was asked to; MXNet 1.x raises either kind, by version."""


class NotImplementedForSymbol(MXNetError, NotImplementedError):
    """What works on arrays alone."""

    def __init__(self, function, alias: str = ""):
        name = f"{function.__name__} (namely operator \"{alias}\")" if alias else function.__name__
        super().__init__(f"Function {name} is not implemented for Symbol and only available in NDArray.",
                         "bind the symbol and look at the outputs")


class OperatorIndexError(MXNetError, IndexError):
    """A position that an operator was given lies outside its array."""


class DeviceError(MXNetError):
    """A device that is absent, or arrays on devices that do not go together. Programs probe for GPUs with MXNetError."""


class DeviceMemoryError(DeviceError, MemoryError):
    """A device has no memory left for what was asked."""


class GraphError(JitnetError, AssertionError):
    """A Graph that breaks the rules of `ir.check_graph`: a bug in a pass, not in the user's code."""
