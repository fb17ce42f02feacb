"""The call of a compiled function: a C function for Python that checks the arguments, allocates, runs and returns.

`Entry(fallback).call` is a built-in function object. It compares its arguments with the guards of the programs it knows (exact
types, dtype, shape, contiguity), reads their memory where NumPy keeps it, makes the output arrays through NumPy's C API and
runs the program, all in native code: well under a microsecond. Everything else (other arguments, keywords) goes to `fallback`
with the same arguments; it may `add` a program for the next time.

Outputs of 4 KB or more start at a multiple of 64 bytes, and those of 1 MB or more come from memory that earlier outputs gave
back: fresh memory costs as much in page faults as filling it. At most JITNET_POOL_BYTES of it waits for reuse, by default
512 MB or a sixteenth of the machine's.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..tracebacks import cutting
from . import layout, native
from .forks import renewed
from .program import RELEASE_FROM, Program

_changing = renewed(threading.RLock())   # reentrant: a finalizer may call
WEAK_KINDS = {float: layout.KIND_FLOAT, int: layout.KIND_INT, bool: layout.KIND_BOOL}


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


METH_FASTCALL, METH_KEYWORDS = 0x80, 0x02


class _Table(np.ndarray):
    """The words that native code reads, and the Python objects that they point at."""


SLOT = "_data"


@functools.cache
def slot_word(cls: type) -> int:
    """Which word of an instance holds what its slot `_data` refers to."""
    probe, marker = cls.__new__(cls), object()
    getattr(cls, SLOT).__set__(probe, marker)
    words = (ctypes.c_int64 * (cls.__basicsize__ // 8)).from_address(id(probe))
    return list(words).index(id(marker))


class _Record:
    """One guarded program: native words, and what has to live as long as they are used."""

    def __init__(self, program: Program, weak: Mapping[int, type], same: Mapping[int, object], wrapped: Mapping[int, type],
                 written: Sequence[int], single: bool | None, wrap_outputs: type | None):
        self.program, self.wrap_outputs = program, wrap_outputs
        self.keep: list[object] = [program, same, wrapped]
        words = [0] * layout.RECORD_WORDS
        arguments = len(program.inputs) + len(same)
        positions = [i for i in range(arguments) if i not in same]
        for position in range(arguments):
            if position in same:
                words += [layout.KIND_SAME, 0, id(same[position]), 0]
            else:
                words += self._argument(positions.index(position), weak.get(position), wrapped.get(position),
                                        position in written)
        words[layout.R_OWNER], words[layout.R_BLOCK] = id(self), program.address
        words[layout.R_ARGUMENT_COUNT] = arguments
        words[layout.R_RELEASE] = int(program.work >= RELEASE_FROM)
        words[layout.R_SINGLE] = id(None) if single is None else layout.SINGLE if single else layout.TUPLE
        arrays = [positions.index(i) for i in positions if i not in weak]
        pairs = [(layout.F_IO + i, self._bytes(i), layout.F_IO + k, self._bytes(k))
                 for i in map(positions.index, written) for k in arrays if k != i]
        self.apart = np.array(pairs, np.int64).reshape(-1, layout.APART_WORDS)
        words[layout.R_APART], words[layout.R_APART_COUNT] = self.apart.ctypes.data, len(pairs)
        words[layout.R_OUTPUTS], words[layout.R_OUTPUT_COUNT] = self._outputs(), len(program.outputs)
        if wrap_outputs is not None:
            words[layout.R_WRAPPER], words[layout.R_SLOT] = id(wrap_outputs), slot_word(wrap_outputs)
        self.key = self._key(weak, same, wrapped)
        self.words = np.array(words, np.int64)
        self.address = self.words.ctypes.data

    def _key(self, weak: Mapping[int, type], same: Mapping[int, object], wrapped: Mapping[int, type]) -> int:
        """The hash that native_call.py computes of arguments that fit."""
        arguments, inputs = len(self.program.inputs) + len(same), iter(self.program.inputs)
        key = arguments
        for position in range(arguments):
            shape, dtype = (getattr(same[position], a, None) for a in ("shape", "dtype")) if position in same else next(inputs)
            cls = type(same[position]) if position in same else weak.get(position) or wrapped.get(position) or np.ndarray
            for word in (id(cls), id(dtype), *shape) if cls is np.ndarray else (id(cls),):
                key = key * layout.KEY_FACTOR + word
        return (key + (1 << 63)) % (1 << 64) - (1 << 63)

    def _bytes(self, index: int) -> int:
        shape, dtype = self.program.inputs[index]
        return dtype.itemsize * math.prod(shape)

    def _argument(self, index: int, weak: type | None, wrapper: type | None, written: bool) -> list[int]:
        shape, dtype = self.program.inputs[index]
        word = layout.F_IO + index
        self.keep.append(dtype)
        if weak is None:
            flags = layout.C_CONTIGUOUS | layout.ALIGNED | (layout.WRITEABLE if written else 0)
            around = (id(wrapper), slot_word(wrapper)) if wrapper is not None else (0, 0)
            return [layout.KIND_ARRAY, word, id(dtype), flags, len(shape), *around, *shape]
        if shape != ():
            raise ValueError(f"a scalar argument is an array of shape (), not {shape}")
        if issubclass(weak, np.generic):
            if np.dtype(weak) != dtype:
                raise ValueError(f"a {weak.__name__} is no {dtype}")
            return [layout.KIND_NUMPY_SCALAR, word, id(weak), 0]
        code = layout.DTYPE_CODES.get(dtype.str[1:])
        if code is None or weak not in WEAK_KINDS or (weak is float and code > layout.DTYPE_CODES["f8"]):
            raise ValueError(f"a Python {weak.__name__} is never a weak {dtype}")
        return [WEAK_KINDS[weak], word, code, self.program.cell_word + index]

    def _outputs(self) -> int:
        words = []
        for shape, dtype in self.program.outputs:
            sizes = np.array(shape or [0], np.int64)
            self.keep += [sizes, dtype]
            words += [id(dtype), len(shape), sizes.ctypes.data, dtype.itemsize * math.prod(shape)]
        table = np.array(words or [0], np.int64)
        self.keep.append(table)
        return table.ctypes.data


class Entry:
    """`call` runs the program whose guard fits; `fallback(*args, **kwargs)` does whatever none fits.

    on_error(program, error) is called when a run fails, with the exception that `Program.run` would raise: what it returns is
    the result of the call; by default it raises.
    """

    def __init__(self, fallback: Callable, on_error: Callable | None = None, name: str = "call"):
        self.fallback, self.on_error = fallback, on_error or _raise
        self._records: list[_Record] = []
        if not available():
            self.call = functools.partial(_python_call, self)
            return
        api = native.api()
        table = np.zeros(layout.TABLE_WORDS, np.int64).view(_Table)
        failed = functools.partial(_failed, self.on_error)
        method = _MethodDef(name.encode(), native.address("jitnet_call"), METH_FASTCALL | METH_KEYWORDS, None)
        table[layout.T_API] = api.address
        table[layout.T_FALLBACK], table[layout.T_ON_ERROR] = id(fallback), id(failed)
        table.keep = [fallback, failed, method, api, self._records]
        self._table = table
        self.call = _new_function()(ctypes.addressof(method), table, None)

    def add(self, program: Program, *, weak_scalars: Mapping[int, type] | None = None, same: Mapping[int, object] | None = None,
            wrapped: Mapping[int, type] | None = None, written: Sequence[int] = (), single_output: bool | None = False,
            wrap_outputs: type | None = None) -> None:
        """From now on calls whose arguments fit run `program`.

        weak_scalars: position -> float, int, bool (exactly that Python type, converted to the input's dtype) or a NumPy scalar
        type. same: position -> object that has to stand there itself; it is no input of the program. wrapped: position ->
        class, exactly that of the argument, which holds the array in its slot `_data`. written: positions whose arrays the
        program writes; they overlap no other argument. single_output: the call returns the output itself, else a tuple, or
        None when this is None and there are no outputs. wrap_outputs: class like those in
        `wrapped` to return the outputs in. An entry holds 64 programs; the one used longest ago goes.
        """
        if single_output is not False and len(program.outputs) != int(single_output or 0):
            raise ValueError(f"single_output={single_output} does not fit a program with {len(program.outputs)} outputs")
        record = _Record(program, weak_scalars or {}, same or {}, wrapped or {}, written, single_output, wrap_outputs)
        with _changing:
            self._set([record, *self._in_order()[:layout.MAX_RECORDS - 1]])

    def clear(self) -> None:
        """Forgets all programs; those that run now finish."""
        with _changing:
            self._set([])

    def __len__(self) -> int:
        return len(self._records)

    def _in_order(self) -> list[_Record]:
        if not hasattr(self, "_table"):
            return self._records
        by_address = {record.address: record for record in self._records}
        count = int(self._table[layout.T_COUNT])
        used = {by_address[int(self._table[layout.T_RECORDS + i])]: int(self._table[layout.T_STAMPS + i]) for i in range(count)}
        return sorted(used, key=used.get, reverse=True)

    def _set(self, records: list[_Record]) -> None:
        old = list(self._records)
        if hasattr(self, "_table"):
            # Native code holds the GIL while it looks here, and each store below leaves a table that is right.
            self._table[layout.T_COUNT] = 0
            for i, record in enumerate(records):
                self._table[layout.T_RECORDS + i], self._table[layout.T_KEYS + i] = record.address, record.key
                self._table[layout.T_STAMPS + i] = len(records) - i
            self._table[layout.T_CLOCK] = self._table[layout.T_COUNT] = len(records)
        self._records[:] = records
        del old


def _raise(program, error):
    raise error


@cutting
def _failed(on_error, record: _Record, code: int, status: int):
    """Native code's way to say that a run failed."""
    program = record.program
    cells = list((ctypes.c_int64 * program.status_size).from_address(status)) if program.status_size else []
    try:
        program.raise_for(code, cells)
    except BaseException as error:  # whatever a callback raised
        return on_error(program, error)
    return None


def _python_call(entry: Entry, *args, **kwargs):
    """What `call` does, in Python: for interpreters whose objects native code cannot read."""
    if not kwargs:
        for record in list(entry._records):
            inputs = _matches(record, args)
            if inputs is not None:
                try:
                    outputs = [_finished(record, out) for out in record.program.run(inputs)]
                except BaseException as error:
                    return entry.on_error(record.program, error)
                return {layout.TUPLE: tuple, layout.SINGLE: list.pop}.get(record.words[layout.R_SINGLE], _none)(outputs)
    return entry.fallback(*args, **kwargs)


def _finished(record: _Record, out: np.ndarray):
    if record.wrap_outputs is None:
        return out[()] if out.ndim == 0 else out
    around = record.wrap_outputs.__new__(record.wrap_outputs)
    setattr(around, SLOT, out)
    return around


def _matches(record: _Record, args) -> list[np.ndarray] | None:
    """The program's inputs, if the arguments are what the record wants."""
    words, at, inputs = record.words, layout.RECORD_WORDS, []
    if len(args) != words[layout.R_ARGUMENT_COUNT]:
        return None
    for argument in args:
        kind, word, first, second = (int(w) for w in words[at:at + 4])
        at += layout.SCALAR_WORDS
        shape, dtype = record.program.inputs[word - layout.F_IO] if kind != layout.KIND_SAME else ((), None)
        if kind == layout.KIND_ARRAY:
            wrapper = words[at + 1]
            at += layout.ARRAY_WORDS - layout.SCALAR_WORDS + len(shape)
            if wrapper:
                argument = getattr(argument, SLOT, None) if id(type(argument)) == wrapper else None
            fits = (type(argument) is np.ndarray and argument.dtype is dtype and argument.shape == shape
                    and argument.flags.num & second == second)
        elif kind in (layout.KIND_SAME, layout.KIND_NUMPY_SCALAR):
            fits = id(argument if kind == layout.KIND_SAME else type(argument)) == first
        else:
            fits = WEAK_KINDS.get(type(argument)) == kind
        if not fits:
            return None
        if kind != layout.KIND_SAME:
            try:
                inputs.append(np.asarray(argument, dtype))
            except OverflowError:
                return None
    starts = {layout.F_IO + k: array.__array_interface__["data"][0] for k, array in enumerate(inputs)}
    for i, i_bytes, k, k_bytes in record.apart:
        if starts[i] < starts[k] + k_bytes and starts[k] < starts[i] + i_bytes:
            return None
    return inputs


def _none(_) -> None:
    """What a function without a result returns."""


@functools.cache
def _new_function():
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return new


@functools.cache
def available() -> bool:
    """Whether this interpreter's and NumPy's objects lie in memory as native code expects; compared on live objects."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    with contextlib.suppress(AttributeError, ImportError, ValueError):
        probe = np.arange(6, dtype=np.float32).reshape(2, 3)
        word = lambda obj, i: ctypes.c_int64.from_address(id(obj) + 8 * i).value
        shape = (ctypes.c_int64 * 2).from_address(word(probe, layout.ARRAY_SHAPE))
        handler = ctypes.pythonapi.PyCapsule_GetName
        handler.restype, handler.argtypes = ctypes.c_char_p, [ctypes.py_object]
        owner = np.empty(4)
        value = np.float64(1.5)
        return (word(probe, layout.OBJECT_TYPE) == id(np.ndarray)
                and word(probe, layout.ARRAY_DATA) == probe.ctypes.data
                and word(probe, layout.ARRAY_NDIM) & 0xFFFFFFFF == 2 and tuple(shape) == (2, 3)
                and word(probe, layout.ARRAY_DESCR) == id(probe.dtype)
                and word(probe, layout.ARRAY_FLAGS) & 0xFFFFFFFF == probe.flags.num
                and word(owner, layout.ARRAY_HANDLER) == native.numpy_handler()
                and ctypes.c_double.from_address(id(1.5) + 8 * layout.OBJECT_VALUE).value == 1.5
                and ctypes.c_double.from_address(id(value) + 8 * layout.OBJECT_VALUE).value == 1.5)
    return False
