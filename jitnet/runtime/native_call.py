"""A call from Python, in the language of words.py: guards, fresh output arrays, the run, the result.

Whoever calls these functions holds the GIL.
"""
# ruff: noqa: F403, F405  (the numbers of table words come from layout.py, all of them)
from .layout import *
from .native_memory import allocate, free
from .native_program import finish, run_released, take_frame
from .words import (
    call1,
    call2,
    call3,
    call4,
    call8,
    f64_bits,
    load32,
    load64,
    store8,
    store16,
    store32,
    store64,
    store_f32,
)


def _match_array(api, argument, want, word):
    """1 if the argument is the array (or the wrapped one) that the descriptor wants; its address then stands in the word."""
    ndim = load64(want + 32)
    wrapper = load64(want + 40)
    if wrapper != 0:
        if load64(argument + 8 * OBJECT_TYPE) != wrapper:
            return 0
        argument = load64(argument + 8 * load64(want + 48))
        if argument == 0:
            return 0
    flags = load64(want + 24)
    if (load64(argument + 8 * OBJECT_TYPE) != load64(api + 8 * ARRAY_TYPE)
            or load64(argument + 8 * ARRAY_DESCR) != load64(want + 16) or load32(argument + 8 * ARRAY_NDIM) != ndim
            or (load32(argument + 8 * ARRAY_FLAGS) & flags) != flags):
        return 0
    shape = load64(argument + 8 * ARRAY_SHAPE)
    sizes = want + 8 * ARRAY_WORDS
    for axis in range(ndim):
        if load64(shape + 8 * axis) != load64(sizes + 8 * axis):
            return 0
    store64(word, load64(argument + 8 * ARRAY_DATA))
    return 1


def _store_integer(cell, dtype, value):
    """1 if the value fits the integer dtype (2 to 9: i1 i2 i4 i8 u1 u2 u4 u8 bytes); it then stands in the cell."""
    bits = 8 << ((dtype - 2) & 3)
    low = -(1 << (bits - 1)) if dtype < 6 else 0
    high = (1 << (bits - 1)) - 1
    if dtype >= 6:
        high = (1 << bits) - 1 if bits < 64 else 0x7fffffffffffffff
    if value < low or value > high:
        return 0
    if bits == 8:
        store8(cell, value)
    elif bits == 16:
        store16(cell, value)
    elif bits == 32:
        store32(cell, value)
    else:
        store64(cell, value)
    return 1


def _store_number(cell, dtype, value):
    """1 if an integer can be written as that dtype (0 f4, 1 f8, 2 to 9 integers, 10 bool); it then stands in the cell."""
    if dtype == 0:
        store_f32(cell, f64_bits(value))
    elif dtype == 1:
        store64(cell, f64_bits(value))
    elif dtype == 5:
        store64(cell, value)
    elif dtype == 10:
        store8(cell, 1 if value != 0 else 0)
    else:
        return _store_integer(cell, dtype, value)
    return 1


def _match_number(api, kind, argument, want, frame):
    """1 if the argument is the Python number that the descriptor wants; its value then stands in a cell of the frame."""
    cls = load64(argument + 8 * OBJECT_TYPE)
    dtype = load64(want + 16)
    cell = frame + 8 * load64(want + 24)
    store64(frame + 8 * load64(want + 8), cell)
    if kind == KIND_FLOAT:
        if cls != load64(api + 8 * FLOAT_TYPE):
            return 0
        bits = load64(argument + 8 * OBJECT_VALUE)
        if dtype == 0:
            store_f32(cell, bits)
        else:
            store64(cell, bits)
        return 1
    if kind == KIND_BOOL:
        value = 1 if argument == load64(api + 8 * TRUE) else 0
        if value == 0 and argument != load64(api + 8 * FALSE):
            return 0
        return _store_number(cell, dtype, value)
    if cls != load64(api + 8 * LONG_TYPE):
        return 0
    overflow = frame + 8 * F_KERNEL  # free until the run
    value = call2(load64(api + 8 * LONG_AS_LONG), argument, overflow)
    if load32(overflow) != 0:
        return 0
    return _store_number(cell, dtype, value)


def _apart(record, frame):
    """1 if no two arrays that must lie apart overlap: of each pair at least one is written."""
    pairs = load64(record + 8 * R_APART)
    for i in range(load64(record + 8 * R_APART_COUNT)):
        pair = pairs + 8 * APART_WORDS * i
        first = load64(frame + 8 * load64(pair))
        second = load64(frame + 8 * load64(pair + 16))
        if first < second + load64(pair + 24) and second < first + load64(pair + 8):
            return 0
    return 1


def match(record, args, frame):
    """1 if the arguments are what the record wants; their addresses then stand in the frame."""
    api = load64(load64(record + 8 * R_BLOCK) + 8 * B_API)
    want = record + 8 * R_ARGUMENTS
    for i in range(load64(record + 8 * R_ARGUMENT_COUNT)):
        argument = load64(args + 8 * i)
        kind = load64(want)
        if kind == KIND_ARRAY:
            if _match_array(api, argument, want, frame + 8 * load64(want + 8)) == 0:
                return 0
            want += 8 * (ARRAY_WORDS + load64(want + 32))
            continue
        if kind == KIND_NUMPY_SCALAR:
            if load64(argument + 8 * OBJECT_TYPE) != load64(want + 16):
                return 0
            store64(frame + 8 * load64(want + 8), argument + 8 * OBJECT_VALUE)
        elif kind == KIND_SAME:
            if argument != load64(want + 16):
                return 0
        elif _match_number(api, kind, argument, want, frame) == 0:
            return 0
        want += 8 * SCALAR_WORDS
    return _apart(record, frame)


def _key(api, args, count):
    """A hash of the arguments' types, and of the dtypes and shapes of arrays; entry.py computes it for a record."""
    key = count
    for i in range(count):
        argument = load64(args + 8 * i)
        cls = load64(argument + 8 * OBJECT_TYPE)
        key = key * KEY_FACTOR + cls
        if cls == load64(api + 8 * ARRAY_TYPE):
            key = key * KEY_FACTOR + load64(argument + 8 * ARRAY_DESCR)
            shape = load64(argument + 8 * ARRAY_SHAPE)
            for axis in range(load32(argument + 8 * ARRAY_NDIM)):
                key = key * KEY_FACTOR + load64(shape + 8 * axis)
    return key


def _to_front(table, i):
    """Record i changes places with the first one, where the next call looks first, and is the one used last."""
    clock = load64(table + 8 * T_CLOCK) + 1
    store64(table + 8 * T_CLOCK, clock)
    store64(table + 8 * (T_STAMPS + i), clock)
    for k in range(3):
        first = table + 8 * (T_RECORDS + MAX_RECORDS * k)
        kept = load64(first)
        store64(first, load64(first + 8 * i))
        store64(first + 8 * i, kept)


def fresh_array(api, want):
    """A new array as the output descriptor says, or 0 with NumPy's exception set. From a page up we bring the memory."""
    size = load64(want + 24)
    data, flags = 0, 0
    if size >= load64(api + 8 * ALIGNED_FROM):
        data = allocate(api, size)
        if data != 0:
            flags = C_CONTIGUOUS | ALIGNED | WRITEABLE
    descr = load64(want)
    call1(load64(api + 8 * INCREF), descr)  # the next call takes it over
    array = call8(load64(api + 8 * NEW_ARRAY), load64(api + 8 * ARRAY_TYPE), descr, load64(want + 8), load64(want + 16),
                  0, data, flags, 0)
    if data != 0:
        if array == 0:
            free(api, data)
        else:
            handler = load64(api + 8 * MEMORY_HANDLER)
            call1(load64(api + 8 * INCREF), handler)
            store64(array + 8 * ARRAY_HANDLER, handler)
            flags_at = array + 8 * ARRAY_FLAGS
            store32(flags_at, load32(flags_at) | OWNDATA)
    return array


def finished(api, record, array):
    """An output as the caller gets it: wrapped, or as NumPy returns it (a scalar where there are no axes)."""
    wrapper = load64(record + 8 * R_WRAPPER)
    if wrapper == 0:
        return call1(load64(api + 8 * ARRAY_RETURN), array)
    around = call2(load64(api + 8 * NEW_OBJECT), wrapper, 0)
    store64(around + 8 * load64(record + 8 * R_SLOT), array)
    return around


def _find(table, args, count):
    """A frame with the addresses of the arguments, or 0. The record whose guards they pass is then the first of the table.

    The first one is that of the last call; of the others only those are compared whose hash is right.
    """
    known = load64(table + 8 * T_COUNT)
    key = 0
    for i in range(known):
        if i == 1:
            key = _key(load64(table + 8 * T_API), args, count)
        record = load64(table + 8 * (T_RECORDS + i))
        if (i == 0 or load64(table + 8 * (T_KEYS + i)) == key) and load64(record + 8 * R_ARGUMENT_COUNT) == count:
            block = load64(record + 8 * R_BLOCK)
            frame = take_frame(block)
            if frame != 0:
                if match(record, args, frame) != 0:
                    if i > 0:
                        _to_front(table, i)
                    return frame
                finish(block, frame, DONE)
    return 0


def _result(api, record, arrays, outputs):
    """What the function returns: its only output, a tuple of them, or an object that stands for no output."""
    shape = load64(record + 8 * R_SINGLE)
    if shape == SINGLE:
        return finished(api, record, load64(arrays))
    if shape != TUPLE:
        call1(load64(api + 8 * INCREF), shape)
        return shape
    result = call1(load64(api + 8 * TUPLE_NEW), outputs)
    for i in range(outputs):
        call3(load64(api + 8 * TUPLE_SET), result, i, finished(api, record, load64(arrays + 8 * i)))
    return result


def _failed(api, table, block, frame, owner, code):
    """What on_error(owner, code, address of the status cells) gives: another result, or 0 with an exception set."""
    own = frame + 8 * F_POOL_ARGS
    status = load64(frame + 8 * F_ARENA) + load64(block + 8 * B_STATUS)
    store64(own, owner)
    store64(own + 8, call1(load64(api + 8 * LONG_FROM_LONG), code))
    store64(own + 16, call1(load64(api + 8 * LONG_FROM_LONG), status))
    result = call4(load64(api + 8 * VECTORCALL), load64(table + 8 * T_ON_ERROR), own, 3, 0)
    call1(load64(api + 8 * DECREF), load64(own + 8))
    call1(load64(api + 8 * DECREF), load64(own + 16))
    return result


def call(self, args, count, names):
    """The PyCFunction (METH_FASTCALL | METH_KEYWORDS) behind an entry."""
    table = load64(self + 8 * ARRAY_DATA)
    api = load64(table + 8 * T_API)
    frame = 0
    if names == 0:
        frame = _find(table, args, count)
    if frame == 0:
        return call4(load64(api + 8 * VECTORCALL), load64(table + 8 * T_FALLBACK), args, count, names)

    record = load64(table + 8 * T_RECORDS)
    block = load64(record + 8 * R_BLOCK)
    owner = load64(record + 8 * R_OWNER)
    call1(load64(api + 8 * INCREF), owner)  # keeps the program while it runs, whatever happens to the entry
    inputs = load64(block + 8 * B_INPUTS)
    outputs = load64(record + 8 * R_OUTPUT_COUNT)
    arrays = frame + 8 * (F_IO + inputs + outputs + inputs)  # where they wait: behind the scalar cells
    made = 0
    while made < outputs:
        array = fresh_array(api, load64(record + 8 * R_OUTPUTS) + 8 * OUTPUT_WORDS * made)
        if array == 0:
            break
        store64(arrays + 8 * made, array)
        store64(frame + 8 * (F_IO + inputs + made), load64(array + 8 * ARRAY_DATA))
        made += 1
    code = run_released(frame, block, load64(record + 8 * R_RELEASE)) if made == outputs else NO_MEMORY
    result = 0
    if code == DONE:
        result = _result(api, record, arrays, outputs)
    else:
        for i in range(made):
            call1(load64(api + 8 * DECREF), load64(arrays + 8 * i))
        if code < NO_MEMORY:
            result = _failed(api, table, block, frame, owner, code)
    finish(block, frame, code)
    call1(load64(api + 8 * DECREF), owner)
    return result
