"""ULP errors of jitnet's compiled scalar functions, measured against mpmath; the table in docs/accuracy.md.

    python -m jitnet.testing_ulp                              prints the table
    python -m jitnet.testing_ulp --write docs/accuracy.md     writes it into that page
    python -m jitnet.testing_ulp --exhaustive [--write ...]   all 2**32 float32 inputs, against the float64 function: minutes
    python -m jitnet.testing_ulp --halves [--write ...]       all float16 and bfloat16 inputs

An ULP of a result is the distance of the two floats around the exact value (of the smallest numbers, below the normal range).
A correctly rounded function has an error of at most 0.5.
"""
from __future__ import annotations

import argparse
import ctypes
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from .codegen.names import SCALAR_FUNCTIONS
from .types import BF16
from .types import DTYPES as ALL_DTYPES

DTYPES = {"f32": np.float32, "f64": np.float64}
DIGITS, LEAST = {"f32": 24, "f64": 53}, {"f32": -125, "f64": -1021}
BITS = {"f32": "i4", "f64": "i8"}
HALVES = {"f16": np.dtype(np.float16), "bf16": BF16}
HALF_DIGITS, HALF_LEAST = {"f16": 11, "bf16": 8}, {"f16": -13, "bf16": -125}


# errors


def ulp_error(value, exact, dtype: str) -> float:
    """How far float `value` of `dtype` lies from the mpmath number `exact`, in ULP; 0 where overflow to infinity is right."""
    import mpmath

    value = float(value)
    if exact == 0:
        return 0.0 if value == 0 else np.inf
    digits = DIGITS[dtype]
    if not np.isfinite(value):
        top = mpmath.ldexp(1 - mpmath.ldexp(1, -digits - 1), 128 if dtype == "f32" else 1024)
        return 0.0 if value == np.copysign(np.inf, float(mpmath.sign(exact))) and abs(exact) >= top else np.inf
    exponent = max(mpmath.frexp(exact)[1], LEAST[dtype])
    return float(abs(value - exact) / mpmath.ldexp(1, exponent - digits))


def ulp_errors(values: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors in ULP of float32 `values` against float64 `exact` (itself right to 2**-29 of an ULP)."""
    exact = np.asarray(exact, np.float64)
    with np.errstate(all="ignore"):
        exponent = np.maximum(np.frexp(exact)[1], LEAST["f32"])
        error = np.abs(values.astype(np.float64) - exact) / np.ldexp(1.0, exponent - DIGITS["f32"])
        rounded = exact.astype(np.float32)
    same = (values == rounded) | (np.isnan(values) & np.isnan(rounded))
    return np.where(np.isfinite(rounded) & np.isfinite(values), error, np.where(same, 0.0, np.inf))


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The number of floats between a and b, elementwise: 0 where equal or both NaN (NumPy's assert_array_max_ulp)."""
    bits = f"i{a.dtype.itemsize}"

    def order(x):
        n = x.view(bits).astype(object)
        low = 1 << (8 * x.dtype.itemsize - 1)
        return np.array([v if v >= 0 else -low - v for v in n], object)
    both_nan = np.isnan(a) & np.isnan(b)
    return np.where(both_nan, 0, np.abs(order(a) - order(b))).astype(np.float64)


# what is measured


@dataclass(frozen=True)
class Case:
    """A function, its exact meaning in mpmath, where its common arguments lie, and its budget in ULP."""

    exact: Callable
    low: float
    high: float
    budget: float = 2.0
    domain: tuple[float, float] = (-np.inf, np.inf)
    edges: tuple[float, ...] = ()
    skip: Callable | None = None  # True where a zero crossing leaves no relative accuracy, or mpmath lacks -0


def _mp(name):
    def call(*args):
        import mpmath
        return getattr(mpmath, name)(*args)
    return call


def _exact(text):
    """The mpmath expression `text` of x (and y) as a function."""
    def call(x, y=None):
        import mpmath
        return eval(text, {"mp": mpmath, "x": x, "y": y})
    return call


_QUARTERS = tuple(k * np.pi / 2 for k in (1, 2, 3, 4, 5, 11, 22, 355, 710, 1e3, 11111, 12345, 45000))
_HUGE = (71476.0, 71477.0, 2.0 ** 24, 2.0 ** 24 + 2, 1e22, 16367173 * 2.0 ** 72, 6381956970095103 * 2.0 ** 797)
_NEGATIVE = lambda x: x < 0

CASES = {
    "exp": Case(_mp("exp"), -10, 10, 2, edges=(-103.97, -104.0, -87.4, 88.72, -708.5, -745.1, 709.78)),
    "exp2": Case(_exact("mp.mpf(2) ** x"), -10, 10, 2, edges=(-149, -149.5, 127.99, -1074, 1023.9)),
    "expm1": Case(_mp("expm1"), -2, 3, 2),
    "log": Case(_mp("log"), 0, 4, 1, (0, np.inf), (1 - 2.0 ** -24, 1 - 2.0 ** -53, 2 / 3, 4 / 3)),
    "log2": Case(_exact("mp.log(x) / mp.log(2)"), 0, 4, 2, (0, np.inf)),
    "log10": Case(_mp("log10"), 0, 4, 2, (0, np.inf)),
    "log1p": Case(_mp("log1p"), -1, 3, 2, (-1, np.inf)),
    "sqrt": Case(_mp("sqrt"), 0, 4, 0.5, (0, np.inf)),
    "rsqrt": Case(_exact("1 / mp.sqrt(x)"), 0, 4, 1.5, (2.0 ** -1022, np.inf)),
    "cbrt": Case(_exact("mp.sign(x) * mp.cbrt(abs(x))"), -4, 4, 1),
    "sin": Case(_mp("sin"), -10, 10, 2, edges=_QUARTERS + _HUGE),
    "cos": Case(_mp("cos"), -10, 10, 2, edges=_QUARTERS + _HUGE),
    "tan": Case(_mp("tan"), -10, 10, 3, edges=_QUARTERS + _HUGE),
    "asin": Case(_mp("asin"), -1, 1, 1, (-1, 1)),
    "acos": Case(_mp("acos"), -1, 1, 1, (-1, 1)),
    "atan": Case(_mp("atan"), -4, 4, 1),
    "sinh": Case(_mp("sinh"), -3, 3, 2),
    "cosh": Case(_mp("cosh"), -3, 3, 2),
    "tanh": Case(_mp("tanh"), -2, 2, 3, edges=(0.625,)),
    "asinh": Case(_mp("asinh"), -3, 3, 2),
    "acosh": Case(_mp("acosh"), 1, 4, 2, (1, np.inf)),
    "atanh": Case(_mp("atanh"), -1, 1, 2, (-1, 1)),
    "sigmoid": Case(_exact("1 / (1 + mp.exp(-x)) if x > -800 else mp.exp(x)"), -6, 6, 3, edges=(-88.8, -95.5, -103.0, -740.0)),
    "softplus": Case(_exact("mp.log1p(mp.exp(x)) if x > -50 else mp.exp(x)"), -6, 6, 3, edges=(-88.8, -103.0, -740.0)),
    "erf": Case(_mp("erf"), -4, 4, 2),
    "erfc": Case(_mp("erfc"), -2, 10, 2),
    "erfinv": Case(_mp("erfinv"), -1, 1, 3, (-1, 1), tuple(1 - 2.0 ** -k for k in (10, 20, 24, 40, 53))),
    "lgamma": Case(_exact("mp.re(mp.loggamma(x))"), 0, 12, 8, edges=(0.999, 1.001, 1.9999, 2.0001), skip=_NEGATIVE),
    "digamma": Case(_exact("mp.digamma(x)"), 0, 12, 8, skip=_NEGATIVE),
    "pow": Case(_exact("mp.power(x, y) if x > 0 and abs(y * mp.log(x)) < 2000 else None"), 0.1, 5, 4),
    "atan2": Case(_mp("atan2"), -4, 4, 2, skip=lambda x, y: x == 0),
    "hypot": Case(_mp("hypot"), -4, 4, 1),
    "logaddexp": Case(_exact("max(x, y) + mp.log1p(mp.exp(-abs(x - y))) if abs(x - y) < 2000 else max(x, y)"), -4, 4, 3,
                      skip=lambda x, y: max(x, y) < 0),
}


def spread(dtype: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Floats with random sign, exponent and mantissa, over everything that is finite: subnormals too."""
    kind = DTYPES[dtype]
    bits = rng.integers(0, np.iinfo(BITS[dtype]).max, 2 * count, dtype=BITS[dtype])
    values = bits.view(kind)
    return (values[np.isfinite(values)] * rng.choice([-1, 1], np.isfinite(values).sum()).astype(kind))[:count]


def samples(name: str, dtype: str, count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Arguments of `name`: a third over all floats of the domain, a third where most use is, the rest near 0 and edges."""
    case, rng, kind = CASES[name], np.random.default_rng(seed), DTYPES[dtype]
    info = np.finfo(kind)

    def one():
        part = count // 3
        ordinary = rng.uniform(case.low, case.high, part)
        scaled = rng.uniform(case.low, case.high, part) * 10.0 ** rng.uniform(-6, 1.5, part)
        edge = np.array([0.5, 1, 2, 4, *case.edges, info.smallest_subnormal, info.smallest_normal, info.max])
        edge = np.concatenate([edge, -edge]).astype(kind)
        edge = np.concatenate([edge, np.nextafter(edge, kind(np.inf)), np.nextafter(edge, kind(-np.inf))])
        x = np.concatenate([ordinary, scaled]).astype(kind)
        x = np.concatenate([x, spread(dtype, part, rng), edge])
        x = np.where((x < 0) & (case.domain[0] >= 0), -x, x)
        if case.domain == (-1, 1):
            x = np.divide(1, x, out=x, where=np.abs(x) > 1)
        return x[(x >= case.domain[0]) & (x <= case.domain[1]) & np.isfinite(x)]
    with np.errstate(over="ignore"):
        x = one()
    return (x,) if SCALAR_FUNCTIONS[name][0] == 1 else (x, rng.permutation(x))


@functools.cache
def compiled(name: str, dtype: str) -> Callable:
    """The function as a kernel over whole arrays of `dtype`."""
    from .codegen.math import FUNCTIONS

    arity, result = SCALAR_FUNCTIONS[name][0], FUNCTIONS[name, dtype][1] or dtype
    arguments = ", ".join(f"x{k}[i]" for k in range(arity))
    lines = [f"    x{k} = buffer_{dtype}(buffers, {k})" for k in range(arity)]
    lines += [f"    out = buffer_{result}(buffers, {arity})", "    for i in range(start, stop):"]
    lines += [f"        out[i] = {name}_({arguments})"]
    return from_source("\n".join(["def kernel(buffers, sizes, start, stop):", *lines, ""]), ALL_DTYPES[result])


def from_source(source: str, out_dtype) -> Callable:
    """The kernel of `source`, called with input arrays of one shape; returns a new output array of `out_dtype`."""
    from .runtime.cache import get_kernel

    kernel = get_kernel(source)
    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(kernel.address)

    def call(*args):
        arrays = [np.ascontiguousarray(a) for a in args]
        out = np.empty(arrays[0].shape, out_dtype)
        pointers = np.array([a.ctypes.data for a in [*arrays, out]], np.uintp)
        native(pointers.ctypes.data, None, 0, out.size)
        return out
    call.kernel = kernel
    return call


@dataclass(frozen=True)
class Measured:
    """The largest error found, in ULP, where it was found, and at how many points it was looked for."""

    worst: float
    at: tuple[float, ...]
    points: int


def measure(name: str, dtype: str, count: int = 3000, seed: int = 0) -> Measured:
    """The largest error of `name` over `samples`, against mpmath."""
    import mpmath

    case, args = CASES[name], samples(name, dtype, count, seed)
    values = compiled(name, dtype)(*args)
    worst, at, points = 0.0, (), 0
    with mpmath.workprec(240):
        for value, *point in zip(values.tolist(), *(a.tolist() for a in args), strict=True):
            if case.skip is not None and case.skip(*point):
                continue
            exact = exact_value(case, point)
            if exact is None:
                continue
            error = ulp_error(value, exact, dtype)
            points += 1
            if error > worst:
                worst, at = error, tuple(point)
    return Measured(worst, at, points)


def exact_value(case: Case, point):
    """The exact value, or None where it is infinite or not defined."""
    import mpmath

    try:
        exact = case.exact(*(mpmath.mpf(v) for v in point))
    except (ZeroDivisionError, ValueError, OverflowError):
        return None
    return exact if exact is not None and not isinstance(exact, mpmath.mpc) and mpmath.isfinite(exact) else None


EXHAUSTIVE = """
def kernel(buffers, sizes, start, stop):
    out = buffer_f64(buffers, 0)
    worst = f64(0)
    for i in range(start, stop):
        x = from_bits_(i32(i))
        got = f64({name}_(x))
        exact = {name}_(f64(x))
        rounded = f64(f32(exact))
        exponent = maximum_(to_bits_(exact) >> 52 & 2047, i64(897))
        error = fabs_(got - exact) / from_bits_((exponent - 23) << 52)
        error = select_((rounded == got) & isinf_(got), f64(0), error)
        error = select_(isnan_(got) & isnan_(exact), f64(0), error)
        worst = max_reduce_(worst, error)
    out[0] = worst
"""


def measure_all(name: str, chunk: int = 1 << 26, stride: int = 1) -> float:
    """The largest error of a float32 function of one argument over all 2**32 floats (every `stride`-th chunk), against the same
    function in float64; NaN where one gives NaN and the other does not."""
    from .runtime.cache import get_kernel

    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
        get_kernel(EXHAUSTIVE.format(name=name)).address)
    worst, out = 0.0, np.zeros(1)
    pointers = np.array([out.ctypes.data], np.uintp)
    for start in range(0, 1 << 32, chunk * stride):
        native(pointers.ctypes.data, None, start, start + chunk)
        worst = max(worst, out[0]) if not np.isnan(out[0]) else np.nan
        if np.isnan(worst):
            break
    return float(worst)


HALF_KERNEL = """
def kernel(buffers, sizes, start, stop):
    x = buffer_{dtype}(buffers, 0)
    out = buffer_{dtype}(buffers, 1)
    for i in range(start, stop):
        out[i] = {dtype}({name}_(f32(x[i])))
"""


def measure_half(name: str, dtype: str) -> float:
    """The largest error of a function of one argument over every float16 or bfloat16 (dtype "f16" or "bf16"), against the same
    function in float64; NaN where one gives NaN and the other does not."""
    source = HALF_KERNEL.format(name=name, dtype=dtype)
    kind = HALVES[dtype]
    x = np.arange(1 << 16).astype(np.uint16).view(kind)
    found, exact = from_source(source, kind)(x).astype(np.float64), compiled(name, "f64")(x.astype(np.float64))
    with np.errstate(all="ignore"):
        rounded = exact.astype(kind).astype(np.float64)
        unit = np.ldexp(1.0, np.maximum(np.frexp(exact)[1], HALF_LEAST[dtype]) - HALF_DIGITS[dtype])
        error = np.where(np.isfinite(found), np.abs(found - exact) / unit, np.inf)
    same = (found == rounded) & ~np.isfinite(rounded) | np.isnan(found) & np.isnan(exact)
    error = np.where(same, 0.0, error)
    return float(np.max(np.where(np.isnan(found) == np.isnan(exact), error, np.nan)))


# the table


def accuracy_table(count: int, names: Iterable[str] = CASES) -> str:
    """The Markdown table of docs/accuracy.md."""
    rows = ["| function | budget | float32 | at | float64 | at | points each | GPU code |", "|---|---|---|---|---|---|---|---|"]
    for name in names:
        cells = []
        for dtype in DTYPES:
            found = measure(name, dtype, count)
            cells += [f"{found.worst:.3f}", ", ".join(f"{v:.9g}" if dtype == "f32" else f"{v:.17g}" for v in found.at)]
        rows.append(f"| `{name}` | {CASES[name].budget:g} | {' | '.join(cells)} | {found.points} | {gpu_cell(name, count)} |")
    return "\n".join(rows) + "\n"


def gpu_cell(name: str, count: int) -> str:
    """Whether the PTX of a function gives at the same points what the CPU gives."""
    from .testing_ptx import on_gpu, same_bits

    differ = 0
    for dtype in DTYPES:
        args = samples(name, dtype, count)
        differ += np.count_nonzero(~same_bits(on_gpu(name, dtype)(*args), compiled(name, dtype)(*args)))
    return f"{differ} differ" if differ else "same bits"


def exhaustive_table(names: Iterable[str] = CASES) -> str:
    """The Markdown table of the errors over every float32."""
    rows = ["| function | budget | largest error |", "|---|---|---|"]
    unary = [name for name in names if SCALAR_FUNCTIONS[name][0] == 1]
    return "\n".join(rows + [f"| `{name}` | {CASES[name].budget:g} | {measure_all(name):.3f} |" for name in unary]) + "\n"


def halves_table(names: Iterable[str] = CASES) -> str:
    """The Markdown table of the errors over every float16 and every bfloat16."""
    rows = ["| function | float16 | bfloat16 |", "|---|---|---|"]
    unary = [name for name in names if SCALAR_FUNCTIONS[name][0] == 1]
    return "\n".join(rows + [f"| `{n}` | {measure_half(n, 'f16'):.4f} | {measure_half(n, 'bf16'):.4f} |" for n in unary]) + "\n"


def write_table(page: str, flags: str, table: str) -> None:
    """Puts the table into the page, between the marker with its command and the next end marker."""
    begin, end = f"<!-- python -m jitnet.testing_ulp {flags}--write docs/accuracy.md -->\n", "<!-- end -->\n"
    with open(page) as file:
        before, rest = file.read().split(begin)
    with open(page, "w") as file:
        file.write(before + begin + table + end + rest.split(end, 1)[1])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the ULP errors of jitnet's compiled scalar functions.")
    parser.add_argument("names", nargs="*", help="functions; all by default")
    parser.add_argument("--samples", type=int, default=6000, help="points per function and dtype")
    parser.add_argument("--write", metavar="PAGE", help="put the table into this page, between its two markers")
    parser.add_argument("--exhaustive", action="store_true", help="all 2**32 float32 inputs of each function, against float64")
    parser.add_argument("--halves", action="store_true", help="all float16 and bfloat16 inputs of each function")
    options = parser.parse_args(argv)
    names = options.names or list(CASES)
    table, flags = accuracy_table(options.samples, names) if not (options.exhaustive or options.halves) else None, ""
    if table is None:
        table, flags = (halves_table(names), "--halves ") if options.halves else (exhaustive_table(names), "--exhaustive ")
    if options.write is None:
        print(table)
    else:
        write_table(options.write, flags, table)


if __name__ == "__main__":
    main()
