"""The GPU kernels of every op: on all samples of tests/test_ops.py in several dtypes, derivatives and batches.

Their values come from the interpreter of jitnet/testing_kernels.py, which finds what no thread may do besides. Every distinct
kernel is compiled and assembled for the three architectures, by whichever worker comes to it first.
"""
import hashlib
import importlib.util
import os
import pathlib

import numpy as np
import pytest

from jitnet import ops, testing
from jitnet.codegen.cuda import cuda_kernel
from jitnet.compile import compile_graph
from jitnet.errors import TraceTypeError
from jitnet.ir import eval_graph
from jitnet.op_kinds import Elementwise
from jitnet.runtime import cuda_compile
from jitnet.runtime.device import Device
from jitnet.testing_compiled import LOOSE, check_compiled, derived_graphs, gradient_graph
from jitnet.testing_kernels import interpreted_gpu
from jitnet.testing_ulp import ulp_distance
from jitnet.types import BF16, DTYPES, F16, F32, F64, HALVES, finfo, is_float

ARCHITECTURES = [(8, 0), (9, 0), (10, 0)]
OTHERS = [F16, BF16, *(DTYPES[name] for name in ("i32", "i8", "u64", "b1", "i64", "u16"))]
RUN = os.environ.get("JITNET_EVERY_KERNEL") or os.environ.get("PYTEST_XDIST_TESTRUNUID", os.getpid())
SEEN = pathlib.Path(os.environ["JITNET_CACHE_DIR"], f"every-kernel-{RUN}")   # every_kernel.py leaves out what is seen here
GPU = Device("gpu", 0)


def load_table():
    path = pathlib.Path(__file__).parent.parent / "test_ops.py"
    spec = importlib.util.spec_from_file_location("op_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = load_table()


def elementwise_case(op):
    """(op, arrays, no parameters): in float64 where the op takes it."""
    rng, shapes = TABLE.seeded(op.name, "gpu"), [(3, 4), (4,), (3, 1)][:TABLE.arity(op)]
    for name in ("f64", "i64", "b1"):
        arrays = TABLE.arguments(op, [DTYPES[name]] * TABLE.arity(op), rng, shapes)
        if op is ops.where:
            arrays[0] = arrays[0] > 0
        try:
            testing.op_graph(op, arrays, {})
            return op, arrays, {}
        except TraceTypeError:
            continue
    raise AssertionError(f"{op.name} takes none of the dtypes")


CASES = [*TABLE.CASES, *(elementwise_case(op) for op in TABLE.ELEMENTWISE)]
IDS = [f"{op.name}-{k}" for k, (op, _, _) in enumerate(CASES)]


def graphs(k):
    """(name, graph, arrays) of a case: in float64 with what the transforms make of it, in float32 and in another dtype."""
    op, arrays, params = CASES[k]
    arrays = [np.asarray(a) for a in arrays]
    whole = testing.op_graph(op, arrays, params)
    yield "f64", whole, arrays
    for name, graph in derived_graphs(whole):
        extra = [a for a in arrays if is_float(a.dtype)] if name == "tangent" else []
        yield name, graph, [np.stack([a] * 3) for a in arrays] if name == "batch" else [*arrays, *extra]
    for dtype in (F32, OTHERS[k % len(OTHERS)]):
        cast = [a.astype(dtype) if a.dtype == F64 else a for a in arrays]
        if any(a.dtype == F64 for a in arrays) and not isinstance(op, Elementwise):   # those: test_cuda_functions.py
            try:
                yield str(dtype), testing.op_graph(op, cast, params), cast
            except TraceTypeError:   # an op that does not take this dtype
                continue


def is_new(source, cc):
    """Has no worker of this run compiled that kernel?"""
    SEEN.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(source.encode()).hexdigest()[:32]
    try:
        os.close(os.open(SEEN / f"{digest}-{cc[0]}{cc[1]}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


@pytest.mark.parametrize("k", range(len(CASES)), ids=IDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kernels_of_an_op(k):
    sources = {}
    with interpreted_gpu():
        for name, graph, arrays in graphs(k):
            compiled = check_compiled(graph, arrays, LOOSE, device=GPU)
            sources |= {cuda_kernel(info.nest).source: name for info in compiled.kernels if info.nest is not None}
    for source, name in sources.items():
        for cc in ARCHITECTURES:
            if is_new(source, cc):
                ptx = cuda_compile.compile_ptx(source, cc)
                assert ".visible .entry kernel(" in ptx, name
                if cuda_compile.has_assembler():
                    assert cuda_compile.machine_code(ptx, cc)[:4] == b"\x7fELF", name


@pytest.mark.parametrize("k", range(len(CASES)), ids=IDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_halves_of_an_op(k):
    """Values and gradients are those of float64, rounded: up to a unit in the last place, or a few of the largest element."""
    op, arrays, params = CASES[k]
    for dtype in HALVES:
        half = [np.asarray(a).astype(dtype) if np.asarray(a).dtype == F64 else np.asarray(a) for a in arrays]
        wide = [a.astype(F64) if a.dtype == dtype else a for a in half]
        try:
            graphs = [testing.op_graph(op, given, params) for given in (half, wide)]
        except TraceTypeError:   # an op of integers, or of float64
            continue
        for units, (graph, reference) in ((0.5, graphs), (4, map(gradient_graph, graphs))):
            if graph is not None:
                with interpreted_gpu():
                    found = [out.host() for out in compile_graph(graph, device=GPU).run([a.copy() for a in half])]
                for out, want in zip(found, eval_graph(reference, *wide), strict=True):
                    assert_rounded(out, want, units)


def assert_rounded(out, want, units):
    """Is an array in a half dtype what one in float64 is, rounded? Others must be equal."""
    if out.dtype not in HALVES:
        np.testing.assert_array_equal(out, want.astype(out.dtype))
        return
    assert out.shape == want.shape
    out, want = out.ravel(), want.ravel()
    largest = np.max(np.abs(want[np.isfinite(want)]), initial=0)
    near = np.abs(out.astype(F64) - want) <= units * float(finfo(out.dtype).eps) * largest
    good = near | (ulp_distance(out, want.astype(out.dtype)) <= 1)
    assert good.all(), f"{out[~good][:5]}, should be {want[~good][:5]}"
