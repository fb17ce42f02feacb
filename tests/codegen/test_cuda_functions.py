"""Every scalar function and random programs as GPU code: exact instructions, no calls, accepted by the assembler.

What a function's PTX computes has the bits of the CPU's function, for all sorts of arguments. The programs' values come from
the interpreter of GPU kernels. Each is compiled for one of the three architectures; JITNET_NIGHTLY=1: for all of them, and
more programs.
"""
import os

import ml_dtypes
import numpy as np
import pytest

from jitnet.codegen import math
from jitnet.codegen.cuda import cuda_kernel
from jitnet.codegen.names import SCALAR_FUNCTIONS
from jitnet.runtime import cuda_compile
from jitnet.runtime.device import Device
from jitnet.testing_compiled import check_compiled, gradient_graph
from jitnet.testing_kernels import interpreted_gpu
from jitnet.testing_programs import Recorder, random_arguments, random_graph
from jitnet.testing_ptx import compiled_ptx, same_bits, source_of
from jitnet.testing_ulp import compiled, from_source
from jitnet.types import BF16, DTYPES, F16, F32, F64, is_float, short_dtype

NIGHTLY = os.environ.get("JITNET_NIGHTLY", "0") not in ("", "0")
ARCHITECTURES = [(8, 0), (9, 0), (10, 0)]


def architectures(k):
    return ARCHITECTURES if NIGHTLY else [ARCHITECTURES[k % 3]]


def assembled(source, cc):
    """The PTX of a kernel, assembled where an assembler is installed."""
    ptx = cuda_compile.compile_ptx(source, cc)
    if cuda_compile.has_assembler():
        assert cuda_compile.machine_code(ptx, cc)[:4] == b"\x7fELF"
    return ptx


def arguments(dtype, count, seed):
    """Values of a dtype: any bits, special ones, ordinary ones, small whole numbers."""
    rng, kind = np.random.default_rng(seed), DTYPES[dtype]
    if kind.kind == "b":
        return rng.integers(0, 2, count).astype(bool)
    anything = rng.integers(0, 256, count * kind.itemsize, dtype=np.uint8).view(kind)
    if not is_float(kind):
        return np.where(rng.integers(0, 2, count) == 1, anything, rng.integers(0, 70, count).astype(kind))
    info = ml_dtypes.finfo(kind)
    special = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 0.5, 2.5, -2.5, 1e4, info.max, info.tiny,
                        info.smallest_subnormal], kind)
    ordinary, whole = rng.normal(0, 3, count).astype(kind), rng.integers(-9, 9, count).astype(kind)
    return np.choose(rng.integers(0, 4, count), [anything, rng.choice(special, count), ordinary, whole])


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_function(dtype):
    """The functions that codegen/math.py builds for the CPU, as they are: neither approximations nor flushed denormals.

    A reciprocal may be the guess that a division begins with: whichever neighbour of the right one it is.
    """
    for k, name in enumerate(n for n in sorted(SCALAR_FUNCTIONS) if (n, dtype) in math.FUNCTIONS):
        arity, result = SCALAR_FUNCTIONS[name][0], math.FUNCTIONS[name, dtype][1] or dtype
        dtypes = [dtype] * arity + [result]
        source = source_of(f"{name}_({', '.join(f'x{i}' for i in range(arity))})", dtypes[:-1], result)
        args = [arguments(dtype, 600, 7 * k + i) for i in range(arity)]
        for cc in architectures(k):
            ptx = assembled(source, cc)
            for word in (".approx", ".ftz", ".extern"):
                assert word not in ptx.replace("rcp.approx.ftz.f32", ""), f"{name} of {dtype} for {cc}"
            here = compiled(name, dtype)(*args)
            for ulps in (-1, 0, 1) if "rcp.approx" in ptx else (0,):
                assert same_bits(compiled_ptx(ptx, dtypes, ulps)(*args), here).all(), f"{name} of {dtype} for {cc}"


@pytest.mark.parametrize("source", DTYPES)
def test_every_cast(source):
    """Floats in the range of an integer type: beyond it any integer may come."""
    for k, (target, kind) in enumerate(DTYPES.items()):
        x = arguments(source, 600, k)
        if is_float(DTYPES[source]) and kind.kind in "iu":
            low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max) * 0.999
            with np.errstate(invalid="ignore"):
                x = np.where((x.astype(float) >= low) & (x.astype(float) <= high), x, DTYPES[source].type(1))
        text = ("def kernel(buffers, sizes, start, stop):\n"
                f"    x, out = buffer_{source}(buffers, 0), buffer_{target}(buffers, 1)\n"
                f"    for i in range(start, stop):\n        out[i] = {target}(x[i])\n")
        ptx = cuda_compile.compile_ptx(source_of(f"{target}(x0)", [source], target), ARCHITECTURES[k % 3])
        assert same_bits(compiled_ptx(ptx, [source, target])(x), from_source(text, kind)(x)).all(), target


def test_tanh_from_any_guess():
    """Where tanh divides, from 0.625 to 9.2; at night for every float there."""
    ptx = cuda_compile.compile_ptx(source_of("tanh_(x0)", ["f32"], "f32"), (9, 0))
    assert "rcp.approx.ftz.f32" in ptx
    low, high = np.array([0.6, 9.3], np.float32).view(np.uint32)
    for first in range(low, high, 1 << 22):
        x = np.arange(first, min(first + (1 << 22), high), 1 if NIGHTLY else 97, dtype=np.uint32).view(np.float32)
        for ulps in (-1, 0, 1):
            assert same_bits(compiled_ptx(ptx, ["f32", "f32"], ulps)(x), compiled("tanh", "f32")(x)).all()


def test_what_is_found_in_ptx():
    """A constant that is off by one bit; a product that may be fused into a sum; an approximation."""
    x = np.linspace(-3, 3, 600, dtype=np.float32)
    ptx = cuda_compile.compile_ptx(source_of("exp_(x0)", ["f32"], "f32"), (9, 0))
    assert same_bits(compiled_ptx(ptx, ["f32", "f32"])(x), compiled("exp", "f32")(x)).all()
    off = ptx.replace("0f3E2AAA47", "0f3E2AAA48")
    assert off != ptx and not same_bits(compiled_ptx(off, ["f32", "f32"])(x), compiled("exp", "f32")(x)).all()
    for exact, loose in (("mul.rn.f32", "mul.f32"), ("mul.rn.f32", "mul.rn.ftz.f32"), ("fma.rn.f32", "fma.rz.f32")):
        with pytest.raises(ValueError, match="not known here: " + loose):
            compiled_ptx(ptx.replace(exact, loose), ["f32", "f32"])


@pytest.mark.parametrize("seed", range(300 if NIGHTLY else 9))
def test_random_programs(seed):
    floats = ((F64,), (F32,), (F32, F64))[seed % 3]
    graph = random_graph(Recorder(seed), (7, 33, 130)[seed % 3], length=4 + seed % 9, floats=floats, reverse=seed % 2 == 0)
    for g in (graph, gradient_graph(graph) if seed % 2 == 0 else None):
        if g is None:
            continue
        with interpreted_gpu():
            compiled = check_compiled(g, random_arguments(g, seed), device=Device("gpu", 0))
        nests = [info.nest for info in compiled.kernels if info.nest is not None]
        for k, source in enumerate(dict.fromkeys(cuda_kernel(nest).source for nest in nests)):
            for cc in architectures(seed + k):
                assert ".visible .entry kernel(" in assembled(source, cc)


@pytest.mark.parametrize("half", [F16, BF16], ids=str)
def test_quotients_of_halves_are_those_of_divisions(half):
    """Rounded to halves, bit for bit: of all mantissas, where the quotient is normal, subnormal, too large or nothing."""
    name = short_dtype(half)
    ptx = assembled(source_of(f"quotients_{name}_((x0, x1), x2, inverse_{name}_(x2))[0]", ["f32"] * 3, "f32"), (9, 0))
    quotients = compiled_ptx(ptx, ["f32"] * 4)
    every = np.arange(1 << 16, dtype=np.uint16).view(half).astype(np.float32)
    mantissas = every[(every >= 1) & (every < 2)]
    least = np.float32(2.0 ** (-14 if half == F16 else -126))
    divisors = [*(np.ldexp(mantissas, k) for k in ((0, 1, 2, 5, 7, 10, 11, 12) if half == F16 else (0, 3, 6, 7, 8, 50, -50)))]
    pairs = [(mantissas * least, d) for d in divisors] + [(every, d) for d in (mantissas[::37], -mantissas[:3], every[::177])]
    pairs += [(mantissas * np.float32(2.0 ** 15 if half == F16 else 2.0 ** 127), np.ldexp(mantissas, k)) for k in (-1, 0)]
    for x, d in pairs:
        x, d = (a.ravel() for a in np.broadcast_arrays(x[:, None], d))
        with np.errstate(all="ignore"):
            assert same_bits(quotients(x, x, d).astype(half), (x / d).astype(half)).all()


def next_to_halfway(bits, rng, count):
    """(x, d) of whole numbers of that many bits with x / d as near to halfway between two floats as it can be."""
    found = []
    for d in [2 ** bits - 1, 2 ** bits - 3, *(int(d) | 1 for d in rng.integers(2 ** (bits - 1), 2 ** bits, count))]:
        for more in (0, 1):    # x < d, x > d: x 2^(bits + 1 - more) = (2 q + 1) d + off
            for off in (1, -1, 3):
                x = off * pow(2, more - bits - 1, d) % d + more * d
                if 2 ** (bits - 1) <= x < 2 ** bits:
                    found.append((x, d))
    return found


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_quotients_of_a_row_are_those_of_divisions(dtype):
    """Bit for bit: next to halfway between two floats, where quotients or remainders are tiny, of zeros and infinities."""
    source = source_of("quotients_((x0, x1), x2, inverse_(x2))[0]", [dtype] * 3, dtype)
    quotients = compiled_ptx(assembled(source, (9, 0)), [dtype] * 4)
    rng, kind, bits = np.random.default_rng(5), DTYPES[dtype], {"f32": 24, "f64": 53}[dtype]
    x, y, d = (arguments(dtype, 20_000, k) for k in (1, 2, 3))
    spread = np.ldexp(rng.uniform(1, 2, (2, 20_000)), rng.integers(-130, 128, (2, 20_000))).astype(kind)
    near, by = np.array(next_to_halfway(bits, rng, 2000), np.uint64).astype(kind).T
    tiny = [np.ldexp(near, -bits - k).astype(kind) for k in (60, 80, 100, 120)]
    for above, below in [(x, d), (x, np.abs(d)), (np.zeros_like(x), d), (spread[0], spread[1]), (x, np.full_like(x, 3)),
                         (near, by), (-near, by), *((t, np.ldexp(by, -bits).astype(kind)) for t in tiny)]:
        with np.errstate(all="ignore"):
            assert same_bits(quotients(above, y[:len(above)], below), above / below).all()
