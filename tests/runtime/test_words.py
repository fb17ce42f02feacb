"""The language of the native runtime: compiled functions agree with the same text run by Python."""
import ctypes

import pytest

from jitnet.runtime import llvm, words

SOURCE = '''
def arithmetic(a, b):
    """Python's integers, as long as they fit."""
    c = a * 3 - b
    c += (a << 2) ^ (b & 7 | 8)
    c = c >> 1
    return -c + LIMIT


def division(a, b):
    return a // b * 1000 + a % b


def _clamped(a):
    if a < 3:
        return 3
    return smaller(a, 7)


def parts(a, b):
    return _clamped(a) * 10 + _clamped(b)


def branches(a, b):
    if a > b:
        result = 1
    elif a == b:
        result = 2
    else:
        result = 3
        if not a < 0 and (b != 5 or a >= 2):
            result = 4
    chosen = a if a <= b else b
    return result * 100 + chosen + (a < b)


def loops(a, b):
    total = 0
    for i in range(a):
        if i == 3:
            continue
        for j in range(i, b):
            if j > 6:
                break
            total += i * j
        total += 1
    n = a
    while n > 0:
        n -= 2
        if n == b:
            break
        total += n
    while True:
        total += 1
        if total % 7 == 0:
            return total
    return -1


def short_circuit(a, b):
    return 1 if b != 0 and a // b > 1 or a == 0 else 0


def recursion(a, b):
    if a < 2:
        return a
    return recursion(a - 1, b) + recursion(a - 2, b)


def extremes(a, b):
    low, high = smaller(a, b), larger(a, b)
    low, high = high, low
    return low * 10 + high


def late(a, b):
    for i in range(a):
        a = a + 1
    return a + b
'''
NAMES = ("arithmetic", "division", "parts", "branches", "loops", "short_circuit", "recursion", "extremes", "late")


@pytest.fixture(scope="module")
def compiled():
    text = words.compile_words(SOURCE, {**vars(words), "LIMIT": 40}, "test_")
    loaded = llvm.LoadedObject(llvm.emit_object([text], vectorize=False), tuple("test_" + n for n in NAMES))
    signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    functions = {n: signature(loaded.address["test_" + n]) for n in NAMES}
    functions["keep"] = loaded
    return functions


@pytest.fixture(scope="module")
def interpreted():
    scope = {"smaller": min, "larger": max, "LIMIT": 40}
    exec(SOURCE, scope)
    return scope


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_python(compiled, interpreted, name):
    low = 1 if name == "division" else 0 if name in ("recursion", "short_circuit") else -4
    for a in range(low, 12):
        for b in range(low, 9):
            assert compiled[name](a, b) == interpreted[name](a, b), (name, a, b)


def test_memory_of_every_width():
    source = """
def widths(at):
    store64(at, 0x0102030405060788)
    store32(at + 8, load32(at) + 1)
    store16(at + 12, 0x12345)
    store8(at + 14, load8(at))
    store_f32(at + 16, f64_bits(-3))
    store64(at + 24, swap_if(at, 0x0102030405060788, 9) + 10 * swap_if(at, 1, 2))
    zero_bytes(at + 32, 8)
    copy_bytes(at + 40, at, 8)
    return lower_half(0x1ffffffff)
"""
    loaded = llvm.LoadedObject(llvm.emit_object([words.compile_words(source, vars(words), "")], vectorize=False), ("widths",))
    memory = (ctypes.c_uint8 * 48)(*[255] * 48)
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded.address["widths"])(ctypes.addressof(memory)) == -1
    data = bytes(memory)
    assert int.from_bytes(data[:8], "little") == 9 and data[40:48] == data[:8]
    assert data[8:16] == bytes([0x89, 7, 6, 5, 0x45, 0x23, 0x88, 255])
    assert ctypes.c_float.from_buffer(memory, 16).value == -3
    assert data[24:40] == bytes([1]) + bytes(15)


@pytest.mark.parametrize("text", ["x.y = 3", "a = b'text'", "with a: pass", "f = lambda: 0"])
def test_what_is_not_in_the_language_is_refused_with_its_line(text):
    with pytest.raises(SyntaxError, match="line 2: not in this language"):
        words.compile_words(f"def f(a):\n    {text}\n", {}, "")
