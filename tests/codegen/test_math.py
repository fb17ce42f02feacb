"""Special values, integers, casts and reductions against NumPy, exactly; what LLVM makes of the loops."""
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest

from jitnet.codegen import intrinsics
from jitnet.codegen.names import DTYPES, FLOATS, HALVES, INTS, SCALAR_FUNCTIONS
from jitnet.testing_ulp import compiled, from_source, spread
from jitnet.types import is_float

NUMPY = {name: np.dtype(full) for name, full in intrinsics.NUMPY_NAMES.items()}
SPECIAL = [s * v for v in (0.0, 1.0, 0.5, 2.0, 3.0, 2.5, 1e-40, 1e30, np.inf, np.nan) for s in (1, -1)]
EXACT = ["rint", "floor", "ceil", "trunc", "fabs", "abs", "sign", "sqrt", "maximum", "minimum", "fmax", "fmin", "fmod",
         "floor_divide", "remainder", "copysign", "nextafter"]
OTHERS = ["isnan", "isinf", "isfinite", "signbit", "to_bits", "ldexp", "fma", "exp_nonpositive"]
CLOSE = [name for name, (_, dtypes) in SCALAR_FUNCTIONS.items() if dtypes[0] == "f32" and name not in EXACT + OTHERS]


def loop(name, source, target, arity=1):
    """A kernel that applies `name` (as it stands in the source: `exp_`, `i32`) to every element."""
    lines = "".join(f"    x{k} = buffer_{source}(buffers, {k})\n" for k in range(arity))
    arguments = ", ".join(f"x{k}[i]" for k in range(arity))
    return (f"def kernel(buffers, sizes, start, stop):\n{lines}    out = buffer_{target}(buffers, {arity})\n"
            f"    for i in range(start, stop):\n        out[i] = {name}({arguments})\n")


def python(name):
    """The Python meaning over whole arrays: NumPy's function."""
    return intrinsics.PYTHON_SCOPE[name + "_"]


def special_arguments(name, dtype):
    kind = NUMPY[dtype]
    info = np.finfo(kind)
    values = np.array([*SPECIAL, info.max, -info.max, info.smallest_subnormal, info.smallest_normal], np.float64).astype(kind)
    if SCALAR_FUNCTIONS[name][0] == 1:
        return (values,)
    return np.repeat(values, len(values)), np.tile(values, len(values))


def same(a, b):
    """Equal with equal sign, or both NaN."""
    return ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EXACT)
def test_exact_functions(name, dtype, rng):
    args = special_arguments(name, dtype)
    big, ordinary = spread(dtype, 2000, rng), rng.uniform(-100, 100, 2000).astype(NUMPY[dtype])
    args = [np.concatenate([a, rng.permutation(big), rng.permutation(ordinary)]) for a in args]
    with np.errstate(all="ignore"):
        expected = python(name)(*args)
    got = compiled(name, dtype)(*args)
    bad = ~same(got, expected)
    assert not bad.any(), [tuple(a[bad][0] for a in args), got[bad][0], expected[bad][0]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CLOSE)
def test_special_values(name, dtype):
    args = special_arguments(name, dtype)
    got = compiled(name, dtype)(*args)
    if name in ("sigmoid", "softplus"):
        wide = args[0].astype(np.float64)
        expected = (np.exp(-np.logaddexp(0, -wide)) if name == "sigmoid" else np.logaddexp(0, wide)).astype(got.dtype)
    elif name == "rsqrt":
        expected = 1 / np.sqrt(args[0])
    else:
        expected = python(name)(*args)
    if name == "lgamma":  # SciPy gives up on the smallest number
        expected = np.where(args[0] == np.finfo(got.dtype).smallest_subnormal, -np.log(args[0]), expected)
    if name == "erfinv":  # SciPy loses the sign of zero
        expected = np.where(args[0] == 0, args[0], expected)
    near = np.isclose(got, expected, rtol=1e-5, atol=0) | (np.abs(got - expected) <= np.finfo(got.dtype).smallest_normal)
    good = near & (np.signbit(got) == np.signbit(expected)) | same(got, expected)
    assert good.all(), [tuple(a[~good][:3] for a in args), got[~good][:3], expected[~good][:3]]


@pytest.mark.parametrize("dtype", FLOATS)
def test_predicates_and_bits(dtype):
    x = special_arguments("isnan", dtype)[0]
    for name in ("isnan", "isinf", "isfinite", "signbit"):
        assert (from_source(loop(f"{name}_", dtype, "b1"), np.bool_)(x) == getattr(np, name)(x)).all(), name
    bits = NUMPY["i32" if dtype == "f32" else "i64"]
    n = from_source(loop("to_bits_", dtype, f"i{x.itemsize * 8}"), bits)(x)
    assert (n == x.view(bits)).all()
    assert (from_source(loop("from_bits_", f"i{x.itemsize * 8}", dtype), x.dtype)(n).view(bits) == n).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", FLOATS)
def test_ldexp_rounds_once(dtype, rng):
    x = np.concatenate([spread(dtype, 3000, rng), special_arguments("isnan", dtype)[0]])
    n = rng.integers(-2200, 2200, len(x)).astype(NUMPY[dtype])
    n[:1500] = -np.frexp(x[:1500])[1] + np.finfo(x.dtype).minexp - rng.integers(0, 30, 1500)  # results among the subnormals
    assert same(compiled("ldexp", dtype)(x, n), np.ldexp(x, n.astype(np.int32))).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_of_what_is_not_positive_has_the_bits_of_exp(dtype, rng):
    x = np.concatenate([-rng.uniform(0, 110, 5000), -rng.uniform(0, 800, 5000), -10.0 ** rng.uniform(-300, 300, 5000),
                        [0.0, -0.0, -np.inf, np.nan]])
    with np.errstate(all="ignore"):
        x = x.astype(NUMPY[dtype])
    assert same(compiled("exp_nonpositive", dtype)(x), compiled("exp", dtype)(x)).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", INTS)
def test_integer_functions(dtype, rng):
    info = np.iinfo(NUMPY[dtype])
    edges = np.array([0, 1, 2, 3, 7, info.min, info.max, info.max - 1] + ([-1, -2, -7] if info.min else []), NUMPY[dtype])
    x = np.concatenate([np.repeat(edges, len(edges)), rng.integers(info.min, info.max, 500, NUMPY[dtype], endpoint=True)])
    y = np.concatenate([np.tile(edges, len(edges)), rng.integers(max(info.min, -20), 20, 500, NUMPY[dtype])])
    for name, (arity, dtypes) in SCALAR_FUNCTIONS.items():
        if dtype not in dtypes or name == "from_bits":
            continue
        b = np.abs(y) % 12 if name == "pow" else y
        args = (x,) if arity == 1 else (x, b)
        got = from_source(loop(f"{name}_", dtype, dtype, arity), NUMPY[dtype])(*args)
        expected = python(name)(*args)
        bad = got != expected.astype(got.dtype)
        assert not bad.any(), (name, [a[bad][:3] for a in args], got[bad][:3], expected[bad][:3])


@pytest.mark.parametrize("dtype", [d for d in INTS if d.startswith("i")])
def test_negative_powers_of_integers_are_the_whole_part(dtype):
    x = np.array([0, 1, -1, -1, 2, -2, 7, np.iinfo(NUMPY[dtype]).min], NUMPY[dtype])
    n = np.array([-1, -3, -3, -4, -1, -5, np.iinfo(NUMPY[dtype]).min, -2], NUMPY[dtype])
    got = from_source(loop("pow_", dtype, dtype, 2), NUMPY[dtype])(x, n)
    np.testing.assert_array_equal(got, [0, 1, -1, 1, 0, 0, 0, 0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source", DTYPES)
def test_casts_are_numpys_astype(source, rng):
    kind = NUMPY[source]
    if is_float(kind):
        x = np.concatenate([rng.uniform(-120, 120, 200), [0, -0.0, 0.5, -0.5, 1.9, -1.9, np.nan]]).astype(kind)
    elif kind.kind == "b":
        x = np.array([True, False] * 20)
    else:
        info = np.iinfo(kind)
        x = rng.integers(info.min, info.max, 200, kind, endpoint=True)
        x[:4] = 0, 1, info.min, info.max
    for target in DTYPES:
        got = from_source(loop(target, source, target), NUMPY[target])(x)
        ok = np.isfinite(x) | is_float(NUMPY[target]) | (target == "b1")  # NaN as an integer is anything
        if target == "u64" and is_float(kind):
            ok &= x > -1  # C leaves it open
        expected = x.astype(NUMPY[target])[ok]
        equal = (got[ok] == expected) | (np.isnan(got[ok]) & np.isnan(expected))
        assert equal.all(), (target, x[ok][~equal][:3], got[ok][~equal][:3], expected[~equal][:3])


REDUCE = """
def kernel(buffers, sizes, start, stop):
    x = buffer_{dtype}(buffers, 0)
    out = buffer_{dtype}(buffers, 1)
    total = x[0]
    product = x[0]
    top = x[0]
    least = x[0]
    for i in range(1, stop):
        total = add_reduce_(total, x[i])
        product = mul_reduce_(product, x[i])
        top = max_reduce_(top, x[i])
        least = min_reduce_(least, x[i])
    out[0] = total
    out[1] = product
    out[2] = top
    out[3] = least
"""


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in HALVES])
def test_reductions(dtype, rng):
    kind = NUMPY[dtype]
    x = rng.uniform(0, 2, 1003).astype(kind) if kind.kind in "fb" else rng.integers(0, 100, 1003).astype(kind)
    source = REDUCE.format(dtype=dtype)
    total, product, top, least = from_source(source, kind)(x)[:4]
    assert top == x.max() and least == x.min()
    if kind.kind == "f":
        assert np.isclose(total, x.sum(), rtol=1e-5) and np.isclose(product, x.astype(np.float64).prod(), rtol=1e-2, atol=1e-30)
        x[500] = np.nan
        assert np.isnan(from_source(source, kind)(x)[:4]).all()
    elif kind.kind == "b":
        assert total and product == x.all()
    else:
        assert total == x.sum(dtype=kind) and product == x.prod(dtype=kind)


KERNEL = """
def kernel(buffers, sizes, start, stop):
    a = buffer_f32(buffers, 0)
    b = buffer_f32(buffers, 1)
    c = buffer_f32(buffers, 2)
    mask = buffer_b1(buffers, 3)
    out = buffer_f32(buffers, 4)
    for i in range(start, stop):
        t = select_(mask[i], sin_(a[i]) * b[i], maximum_(c[i], f32(2)))
        out[i] = fma_(t, t, tanh_(c[i]))
"""


def test_python_meaning_runs():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 50), dtype=np.float32)
    mask, out = rng.random(50) < 0.5, np.empty(50, np.float32)
    scope = {}
    exec("from jitnet.codegen.intrinsics import *\n" + KERNEL, scope)
    scope["kernel"]([a, b, c, mask, out], None, 0, 50)
    assert np.allclose(from_source(KERNEL, np.float32)(a, b, c, mask), out, rtol=1e-5)
    assert out.dtype == np.float32


def test_python_meaning_needs_no_numba():
    code = "import sys; sys.modules['numba'] = None; from jitnet.codegen import intrinsics; intrinsics.exp_"
    subprocess.run([sys.executable, "-c", code], check=True)


def optimized(source):
    """The kernel's LLVM IR after optimization."""
    from jitnet.codegen.numba_scope import NUMBA_SCOPE
    from jitnet.runtime import frontend
    from jitnet.runtime.llvm import target_machine

    machine = target_machine()
    module, *rest = map(llvm.parse_assembly, frontend.lower_kernel(source, "kernel", NUMBA_SCOPE))
    for other in rest:
        module.link_in(other)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return str(module)


def test_buffers_are_known_apart():
    """No run-time overlap checks before the vector loop, and no scalar loop because of them."""
    text = optimized(KERNEL)
    assert "vector.body" in text and "memcheck" not in text


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_function_vectorizes(dtype):
    names = [n for n, (arity, dtypes) in SCALAR_FUNCTIONS.items() if dtype in dtypes and arity == 1 and n not in OTHERS]
    for name in names:
        text = optimized(loop(f"{name}_", dtype, dtype))
        assert "vector.body" in text, name
        called = {line.split("@")[1].split("(")[0] for line in text.splitlines() if " call " in line and "@" in line}
        assert all(f.startswith(("llvm.", "jitnet_")) for f in called), (name, called)


def test_rare_lanes_beside_ordinary_ones():
    """One huge argument among ordinary ones, in every lane of a vector and in the remainder loop."""
    for n in (1, 7, 16, 33, 64):
        for k in range(n):
            x = np.full(n, 0.5, np.float32)
            x[k] = 1e30
            y = compiled("sin", "f32")(x)
            expected = np.sin(x.astype(np.float64)).astype(np.float32)
            assert np.abs(y - expected).max() < 1e-7
