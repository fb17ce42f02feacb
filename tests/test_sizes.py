"""Open sizes: formulas give what Python gives for other sizes, guards say where they do not, and reading one pins it."""
import math

import numpy as np
import pytest

from jitnet import sizes
from jitnet.scope import Scope
from jitnet.symbols import SymFloat, SymInt, SymScalar, open_size
from jitnet.templates import ALONE, OpenArena, Plan, Writer


def opened(*values):
    scope = Scope()
    return scope, tuple(open_size(scope, v) for v in values)


def formula(scope, symbols, value):
    """A Python function of the sizes that gives the value; None where a guard fails."""
    scope.open = False
    writer = Writer(Plan(scope, symbols, OpenArena(scope), (), (), (), (), None, (), ()))
    for guard in scope.guards.values():
        writer.guard(guard)
    result = writer.text(value)
    lines = "".join(f"    {line}\n" for line in writer.lines)
    exec(f"def value({writer.parameters}):\n{lines}    return {result}", writer.objects)
    return writer.objects["value"]


STEPS = [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a + 3, lambda a, b: 2 - a, lambda a, b: -a,
    lambda a, b: a // 4, lambda a, b: a % 3, lambda a, b: -(-a // 5), lambda a, b: a // (abs(b) + 1), lambda a, b: (a * b) // 2,
    lambda a, b: min(a, b), lambda a, b: sizes.smallest(a, b, 40), lambda a, b: sizes.largest(a, b - 7, 1),
    lambda a, b: abs(a - b), lambda a, b: a ** 2, lambda a, b: divmod(a, 7)[1] + b,
    lambda a, b: a if a < b else b * 2, lambda a, b: b if a == b else a, lambda a, b: a if a % 2 else a + 1,
    lambda a, b: sizes.computed(lambda x: x.bit_length() if x > 0 else 0, a),
]


@pytest.mark.parametrize("seed", range(60))
def test_formulas_of_random_programs(seed):
    rng = np.random.default_rng(seed)
    program = [(STEPS[k], *rng.integers(0, 3, 2)) for k in rng.integers(0, len(STEPS), 6)]

    def run(n, m):
        values = [n, m, n + m]
        for step, a, b in program:
            values = [*values[1:], step(values[a], values[b])]
        return values[-1]

    scope, symbols = opened(11, 6)
    value = run(*symbols)
    assert sizes.plain(value) == run(11, 6)
    compute = formula(scope, symbols, value)
    assert compute(11, 6) == run(11, 6)
    for n, m in [(11, 6), (12, 6), (11, 7), *rng.integers(2, 60, (40, 2)).tolist()]:
        found = compute(n, m)
        assert found in (None, ALONE) or found == run(n, m), (n, m)


def test_floats_and_numpy_scalars():
    functions = [lambda n: 1 / n, lambda n: (n - 1) / n * 0.5 + 2, lambda n: n ** 0.5, lambda n: 2.0 ** -n,
                 lambda n: n / 3 // 2, np.sqrt, lambda n: np.float32(2) * n, lambda n: 1 / np.sqrt(n),
                 lambda n: np.log(n + 1) * n]
    for function in functions:
        scope, (n,) = opened(9)
        value = function(n)
        assert type(value) in (SymFloat, SymScalar) and not scope.guards
        compute = formula(scope, (n,), value)
        for size in (9, 4, 31):
            found, expected = compute(size), function(size)
            assert found == expected and np.asarray(found).dtype == np.asarray(expected).dtype


def test_what_formulas_decide_needs_no_guard():
    scope, (n, m) = opened(9, 5)
    assert n > 0 and n != 1 and n * 128 >= 4 and n + 1 > n and n * m == m * n and not n * 2 - n - n
    assert (n * 128) // 128 == n and (n * m) // m == n and (n * 6) % 3 == 0 and type((n + 1) - n) is int
    assert not scope.guards
    assert n != 128 and n > 3 and n != m
    assert len(scope.guards) == 3


READS = [int, float, str, hash, repr, range, math.sqrt, lambda n: f"{n:d}", lambda n: [1, 2, 3][n - 8], lambda n: {9: 1}[n],
         lambda n: n in {3, 9}, lambda n: np.zeros(n), lambda n: np.arange(3) + n, lambda n: n & 1, lambda n: n.bit_length(),
         lambda n: (n, 1) in {(9, 1)}, lambda n: int(n / 2), lambda n: round(n / 2), lambda n: [0] * n]


@pytest.mark.parametrize("read", READS)
def test_reading_a_size_pins_it(read):
    scope, (n,) = opened(9)
    expected = read(9)
    np.testing.assert_array_equal(read(n), expected)
    assert len(scope.pins) == 1 and scope.pins[0].where.startswith("test_sizes.py:")
    assert formula(scope, (n,), n)(9) == 9 and formula(scope, (n,), n)(10) in (None, ALONE)


def test_an_open_size_is_an_int_to_isinstance():
    _, (n,) = opened(9)
    assert isinstance(n, int) and type(n) is SymInt and isinstance(n / 2, float) and not isinstance(n, (float, bool))


def test_symbols_of_a_trace_that_is_over_are_numbers():
    scope, (n,) = opened(9)
    half = n / 2
    scope.open = False
    other, (m,) = opened(9)
    assert n == m and type(n + 1) is int and type(half * 2) is float and m - n == 0 and type(n - m) is SymInt
    assert other.guards and not other.pins and not scope.guards   # m == 9


def test_slices():
    for n in (2, 3, 9, 10):
        for part in (slice(1, None), slice(None, -1), slice(2, 100), slice(-3, None), slice(None, None, 2),
                     slice(None, None, -1), slice(5, 1, -2), slice(-1, -4, -1), slice(1, 1), slice(None, 3)):
            _, (symbol,) = opened(n)
            found = [sizes.plain(v) for v in sizes.slice_range(part, symbol)]
            start, stop, step = part.indices(n)
            assert found[3] == len(range(start, stop, step)) and (not found[3] or found[:3] == [start, stop, step]), (n, part)
