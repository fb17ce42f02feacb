"""Every scalar function and random programs as GPU code: exact instructions, no calls, accepted by the assembler.

The programs' values come from the interpreter of GPU kernels. Each is compiled for one of the three architectures;
JITNET_NIGHTLY=1: for all of them, and more programs.
"""
import os

import pytest

from jitnet.codegen import math
from jitnet.codegen.cuda import cuda_kernel
from jitnet.codegen.names import DTYPES, SCALAR_FUNCTIONS
from jitnet.runtime import cuda_compile
from jitnet.runtime.device import Device
from jitnet.testing_compiled import check_compiled, gradient_graph
from jitnet.testing_kernels import interpreted_gpu
from jitnet.testing_programs import Recorder, random_arguments, random_graph
from jitnet.types import F32, F64

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


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_function(dtype):
    """The functions that codegen/math.py builds for the CPU, as they are: neither approximations nor flushed denormals."""
    for k, name in enumerate(n for n in sorted(SCALAR_FUNCTIONS) if (n, dtype) in math.FUNCTIONS):
        arity, result = SCALAR_FUNCTIONS[name][0], math.FUNCTIONS[name, dtype][1] or dtype
        inputs = ", ".join(f'x{i}: "{dtype}*"' for i in range(arity))
        values = ", ".join(f"x{i}[0]" for i in range(arity))
        for cc in architectures(k):
            ptx = assembled(f'def kernel({inputs}, out0: "{result}*"):\n    out0[0] = {name}_({values})\n', cc)
            for word in (".approx", ".ftz", ".extern"):
                assert word not in ptx, f"{name} of {dtype} for {cc}"


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
