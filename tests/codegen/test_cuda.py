"""GPU kernels without a GPU: text, launches as plain data, PTX for three architectures, values in Numba's CUDA simulator."""
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.codegen.cuda import cuda_kernel
from jitnet.codegen.cuda_launch import BLOCK, SQUARE, DeviceProperties, LaunchShape, launch_shape, square_edge
from jitnet.codegen.cuda_map import MOST_SHARED, pitch
from jitnet.codegen.cuda_names import parameters
from jitnet.compile import as_on_gpu, compile_graph
from jitnet.errors import DeviceError
from jitnet.runtime import cuda_compile
from jitnet.runtime.device import Device
from jitnet.testing_compiled import check_compiled, graph_of
from jitnet.testing_kernels import interpreted_gpu
from jitnet.testing_ptx_gpu import ptx_gpu
from jitnet.types import F16

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "cuda"
ARCHITECTURES = [(8, 0), (9, 0), (10, 0)]
SMALL = DeviceProperties(multiprocessors=1, threads_per_multiprocessor=1024)
HAS_ASSEMBLER = cuda_compile.has_assembler()


def load_cases():
    spec = importlib.util.spec_from_file_location("cuda_cases", HERE / "cuda_cases.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


CASES = load_cases()
softmax = CASES["softmax"][0]


def kernels(name):
    """The GPU kernels of a case."""
    function, *arrays = CASES[name]
    compiled = compile_graph(graph_of(function, *arrays))
    return [cuda_kernel(info.nest) for info in compiled.kernels if info.nest is not None]


def test_values_in_the_simulator():
    """Every case gives NumPy's values; in one process, for the simulator has to be switched on before Numba is imported."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(HERE.parent.parent)}
    done = subprocess.run([sys.executable, str(HERE / "cuda_cases.py")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrong = json.loads(done.stdout)
    assert wrong.keys() == CASES.keys()
    assert {name: text for name, text in wrong.items() if text} == {}


@pytest.mark.parametrize("name", CASES)
def test_kernels_compile_and_assemble(name):
    for kernel in kernels(name):
        for cc in ARCHITECTURES:
            ptx = cuda_compile.compile_ptx(kernel.source, cc)
            assert f".target sm_{cc[0]}{cc[1]}" in ptx
            assert ".visible .entry kernel(" in ptx
            assert "ld.global" in ptx or "st.global" in ptx
            if HAS_ASSEMBLER:
                cubin = cuda_compile.machine_code(ptx, cc)
                assert cubin[:4] == b"\x7fELF"
                used = cuda_compile.resources(cubin)
                assert 0 < used.registers <= 128
                few = used.local_bytes <= cuda_compile.FEW_LOCAL_BYTES
                assert few or name == "many_numbers", f"sm_{cc[0]}{cc[1]} runs out of registers"


def test_products_are_fused_into_sums_of_reductions_alone():
    def text(function):
        (info,) = compile_graph(graph_of(function, *[np.ones((3, 5), np.float32)] * 2)).kernels
        return cuda_compile.compile_ptx(cuda_kernel(info.nest).source, (9, 0))
    for function in (lambda x, y: x * y + x, lambda x, y: x * y - x, lambda x, y: x - x * y, lambda x, y: -(x * y) - 1):
        ptx = text(function)
        # The assembler fuses sums and products where both come without a rounding of their own.
        assert "fma.rn.f32" not in ptx and not re.search(r"\b(add|sub)\.f32", ptx)
        assert re.search(r"\b(add|sub)\.rn\.f32", ptx)
    assert "fma.rn.f32" in text(lambda x, y: (x * y).sum(axis=1))


def test_vectors_of_16_bytes():
    (kernel,) = kernels("bias")
    ptx = cuda_compile.compile_ptx(kernel.source, (9, 0))
    assert "ld.global.nc.v4.b32" in ptx
    assert "st.global.v4.b32" in ptx


def test_a_counter_that_begins_with_a_number_counts():
    """Numba's inference met the phi of such a loop before its body: the counter was the number 0, and scatters never ended."""
    source = ('def kernel(x0: "i64*", out0: "i64*", n0: "i64"):\n    q = 0\n    while q + 3 < n0:\n'
              '        out0[x0[q]] = q\n        q += 4\n')
    (text,) = cuda_compile._lowered(source, "kernel", str(cuda_compile.target_machine((9, 0)).target_data))
    body = text[text.index("x0"):]
    assert body.count("add nsw i64 0, ") == 1   # of the first condition, before the loop
    rng = np.random.default_rng(0)
    arrays = [rng.normal(0, 1, (4, 3)), rng.normal(0, 1, 23), rng.integers(0, 4, 23), rng.integers(0, 3, 23)]

    def scattered(x, u, i, j):
        return [ops.scatter_set(x, u, i, j, axes=(0, 1)), ops.scatter_add(x, u, i, j, axes=(0, 1))]

    with ptx_gpu():
        check_compiled(graph_of(scattered, *arrays), arrays, device=jitnet.gpu(0))


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (2, 0, 3), (2, 3, 0), (0, 2, 3)], ids=str)
def test_of_nothing_nothing_is_read(shape):
    """Not even to be turned, where a thread beyond the end reads the last element in place of its own."""
    def function(x, y):
        turned = np.swapaxes(x, -1, -2)
        return [turned, turned + y, x.sum(-1), x.sum(0)]

    arrays = [np.zeros(shape), np.zeros((*shape[:-2], *shape[:-3:-1]))]
    with interpreted_gpu():
        check_compiled(graph_of(function, *arrays), arrays, device=jitnet.gpu(0))


def test_a_thread_has_a_vector_to_do_however_long_the_text():
    """Of three vectors, half of a half may be less than one: found by random programs, whose launch divided by no elements."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (2, 5000)).astype(np.float16)
    arrays = [x, y, x > y]

    def kernel(steps):
        def f(x, y, mask):
            for _ in range(steps):
                x = np.tanh(x)
            return np.where(mask, x, y)
        return compile_graph(graph_of(f, *arrays), device=jitnet.gpu(0)).kernels[0]

    with interpreted_gpu():
        lanes = {cuda_kernel(kernel(steps).nest).launch.lanes for steps in range(1, 30, 2)}
    assert min(lanes) >= 1 and max(lanes) >= 8


def test_rows_are_read_by_vectors_wherever_they_are_aligned():
    (kernel,) = kernels("softmax")
    ptx = cuda_compile.compile_ptx(kernel.source, (9, 0))
    assert "ld.global.nc.v4.b32" in ptx
    assert "st.global.v4.b32" in ptx


def test_rows_are_kept_while_they_fit():
    def kernel(n):
        x = np.zeros((4, n), np.float32)
        (info,) = compile_graph(graph_of(softmax, x)).kernels
        return cuda_kernel(info.nest)
    short, long = kernel(11_000), kernel(12_000)
    assert short.source == long.source
    assert (short.launch.kept_bytes, long.launch.kept_bytes) == (44_000, 0)
    assert launch_shape(short.launch).shared_bytes == 44_000


@pytest.mark.parametrize("function, known", [
    (lambda x: np.exp(-x * x), True), (lambda x: np.exp(np.float32(-0.5) * x * x), True), (lambda x: np.exp(-np.abs(x)), True),
    (lambda x: np.exp(-(x * x) / 2), True), (lambda x: np.exp(x * x), False), (lambda x: np.exp(-x), False),
    (lambda x: np.exp(-x * x * x), False), (lambda x: np.exp(x * x * np.float32(0.5)), False), (softmax, True),
    (lambda x: np.exp(x - x.min(axis=1, keepdims=True)), False),
    (lambda x: np.exp(x - (x + 1).max(axis=1, keepdims=True)), False),
    (lambda x: np.exp(x.astype(np.float64) - x.astype(F16).max(axis=1, keepdims=True).astype(np.float64)), False)])
def test_exponentials_of_what_is_never_above_0(function, known):
    for dtype in (np.float32, np.float64, *([F16] if function is softmax else [])):
        texts = [cuda_kernel(k.nest).source for k in compile_graph(graph_of(function, np.ones((40, 50), dtype))).kernels]
        assert any("exp_nonpositive_" in text for text in texts) == known


def test_positions_in_rows_have_32_bits_while_these_suffice():
    def text(n):
        x = np.broadcast_to(np.float32(0), (2, n))
        (info,) = compile_graph(graph_of(softmax, x)).kernels
        return cuda_kernel(info.nest).source
    assert "q = i32(thread_x() * 4)" in text(1000)
    assert text(1000) == text(2 ** 30 - 1)
    assert "i32(" not in text(2 ** 30)


def test_one_text_for_all_sizes():
    def texts(shape):
        x = np.zeros(shape, np.float32)
        compiled = compile_graph(graph_of(lambda x: np.exp(x.T) + 1, x))
        return [cuda_kernel(info.nest) for info in compiled.kernels]
    small, large = texts((3, 5)), texts((300, 70))
    assert [k.source for k in small] == [k.source for k in large]
    assert [k.sizes for k in small] != [k.sizes for k in large]


def test_parameters_are_few():
    for name in CASES:
        for kernel in kernels(name):
            given = parameters(kernel.source)
            buffers = sum(kind.endswith("*") for _, kind in given) - kernel.by_pointer
            assert len(given) == buffers + (1 if kernel.by_pointer else len(kernel.sizes))
            assert len(given) <= buffers + 60


@pytest.mark.parametrize("shape, device, text", [
    (LaunchShape("point"), None, "1 blocks of 1 threads"),
    (LaunchShape("flat", inner=1 << 20, lanes=8), None, "512 blocks of 256 threads"),
    (LaunchShape("flat", inner=1 << 30, lanes=8), None, "4224 blocks of 256 threads"),
    (LaunchShape("flat", inner=1 << 30, lanes=8), SMALL, "16 blocks of 256 threads"),
    (LaunchShape("flat", inner=0, lanes=8), None, "1 blocks of 256 threads"),
    (LaunchShape("grid", outer=1000, inner=3, lanes=1), None, "1x16 blocks of 4x64 threads"),
    (LaunchShape("grid", outer=8, inner=1 << 20, lanes=4), None, "1024x4 blocks of 256 threads"),
    (LaunchShape("grid", outer=8, inner=1024, lanes=4, together=2), None, "1x4 blocks of 128x2 threads"),
    (LaunchShape("grid", outer=8, inner=128, lanes=4, together=4), None, "1 blocks of 32x8 threads"),
    (LaunchShape("squares", outer=100, inner=32), SMALL, "16 blocks of 32x8 threads"),
    (LaunchShape("squares", outer=100, inner=4), None, "100 blocks of 4x64 threads"),
    (LaunchShape("rows", outer=1000, inner=3), None, "8 blocks of 1x128 threads"),
    (LaunchShape("rows", outer=1000, inner=100), None, "250 blocks of 32x4 threads"),
    (LaunchShape("rows", outer=1000, inner=1000), None, "500 blocks of 64x2 threads"),
    (LaunchShape("rows", outer=4000, inner=1000), None, "1000 blocks of 32x4 threads"),
    (LaunchShape("rows", outer=10, inner=1 << 20), None, "10 blocks of 512 threads"),
    (LaunchShape("columns", outer=1, inner=1 << 16, columns=1000), None, "32 blocks of 32x8 threads"),
    (LaunchShape("columns", outer=4, inner=1 << 16, columns=3), None, "4 blocks of 4x64 threads"),
])
def test_launch_shapes(shape, device, text):
    assert str(launch_shape(shape, device or DeviceProperties())) == text


@pytest.mark.parametrize("shape", [(1 << 33,), (3, 1 << 32), (1 << 32, 3), (1 << 17, 1 << 17), (70_000, 7, 70_000)], ids=str)
def test_more_elements_than_32_bits_count(shape):
    """Sizes and places have 64 bits, and grids stay within the driver's limits: 2^31 - 1 blocks along x and 65,535 along y."""
    x = np.broadcast_to(np.float32(1), shape)
    for function in (lambda x: np.exp(x) + 1, lambda x: x.T * 2, lambda x: x[::-1] + x, softmax, lambda x: softmax(x, 0),
                     lambda x: (x.sum(axis=-1), x.sum(axis=0), x.mean()), lambda x: x.argmax(axis=-1)):
        for kernel in (cuda_kernel(info.nest) for info in as_on_gpu(graph_of(function, x)).kernels if info.nest is not None):
            kinds = [kind for _, kind in parameters(kernel.source)][-len(kernel.sizes):]
            assert all(kind in ("i64", "f32") for kind, word in zip(kinds, kernel.sizes) if word >= 1 << 31)
            for device in (SMALL, DeviceProperties(multiprocessors=4096)):
                launch = launch_shape(kernel.launch, device)
                assert launch.grid[0] < 1 << 31 and launch.grid[1] <= 65_535 and launch.grid[2] == 1
                assert launch.block[0] * launch.block[1] <= cuda_compile.MOST_THREADS


@pytest.mark.parametrize("read, written, edge", [(100, 100, 32), (3, 1000, 4), (1000, 3, 256), (9, 1000, 16), (1000, 20, 32)])
def test_squares_of_short_axes(read, written, edge):
    """Pieces are as long as a short axis is, and a warp does not meet in one bank of memory."""
    assert square_edge(read, written) == edge
    between, width = pitch(edge), SQUARE // edge
    assert (edge - 1) * between + width <= MOST_SHARED
    for warp in np.arange(BLOCK).reshape(-1, 32):
        assert np.bincount((warp % edge * between + warp // edge) % 32).max() == 1
        assert np.bincount((warp // width * between + warp % width) % 32).max() <= (1 if width >= 32 else 2)


def test_blocks_do_not_depend_on_the_device():
    for template in ("flat", "grid", "squares", "rows", "columns"):
        shape = LaunchShape(template, outer=1000, inner=777, lanes=2, columns=100)
        assert launch_shape(shape, SMALL).block == launch_shape(shape, DeviceProperties()).block


@pytest.mark.parametrize("name", ["bias", "turned", "rows_picked", "softmax", "column_sums", "added"])
def test_golden_texts(name):
    """After a change that is meant: REFRESH_GOLDEN=1 python -m pytest tests/codegen/test_cuda.py -k golden; read the diff."""
    path, text = GOLDEN / f"{name}.py", "\n\n".join(f"{k.source}# {launch_shape(k.launch)}\n" for k in kernels(name))
    if os.environ.get("REFRESH_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_explain_for_a_gpu():
    @jitnet.jit
    def total(x):
        return x.sum(axis=1)
    text = total.explain(np.zeros((1000, 100), np.float32), device="cuda")
    assert "- kernel_0: reads 400.0 kB, writes 4.0 kB, rows: 250 blocks of 32x4 threads" in text


def test_atomics_only_where_allowed():
    function, *arrays = CASES["added"]
    nest = [info.nest for info in compile_graph(graph_of(function, *arrays)).kernels if info.nest is not None][-1]
    assert "atomic_add_" not in cuda_kernel(nest).source
    kernel = cuda_kernel(nest, atomics=True)
    assert "atomic_add_" in kernel.source
    assert "atom.global.add.f32" in cuda_compile.compile_ptx(kernel.source, (9, 0))


def test_source_for_a_gpu_anywhere():
    @jitnet.jit
    def double(x):
        return x * 2
    text = double.source(np.zeros(10, np.float32), device="cuda")
    assert "@simulated" in text
    assert "kernel_0[(1, 1, 1), (256, 1, 1), 0, 0](flat(x, np.float32), flat(out_0, np.float32), 10, np.float32(2.0))" in text


@pytest.mark.parametrize("function", [
    lambda x: np.sum(x, axis=1), lambda x: np.cumsum(x[0]) + np.argmax(x),
    lambda x: jitnet.scan(lambda c, row: (np.cumsum(c) + row, np.max(c)), x[:, 0], x.T)], ids=["long rows", "running", "loop"])
def test_what_is_shown_without_a_gpu_is_what_one_runs(function):
    """Reductions are cut as for a GPU, running sums are reductions, in loops too."""
    x, f = np.ones((3, 20_000), np.float32), jitnet.jit(function)
    with interpreted_gpu():
        run = [info.source for info in f.lower(jitnet.asarray(x, device="gpu")).kernels if info.nest is not None]
    shown = [cuda_kernel(info.nest).source for info in as_on_gpu(f.graph(x)).kernels if info.nest is not None]
    assert shown == run
    headers = [source.split("\n")[0].partition("(")[2] for source in run]
    assert all(header in f.source(x, device="cuda") for header in headers)


@pytest.mark.parametrize("function,template", [
    (lambda x: np.sum(x.T, axis=1), "columns: 1 blocks of 32x8 threads"), (lambda x: softmax(x.T), "columns: 1 blocks of 32x8"),
    (lambda x: np.argmax(x.T, axis=1), "columns: 1"), (lambda x: np.sum(x.T + x.T[:, :1], axis=1) + x.T[:, 2], "columns: 1"),
    (lambda x: np.sum(np.tile(x[:30], 20) + np.tile(x[:30], 20).reshape(600, 30).T, axis=1), "rows: 4 blocks of 64x8 threads"),
    (lambda x: softmax(x[:30] + x[:30].T), "rows: 2 blocks of 8x16 threads with")])
def test_rows_that_are_read_turned(function, template):
    """Neighbouring threads read neighbouring elements where all that is read allows it."""
    x, f = np.linspace(-1, 1, 45 * 30, dtype=np.float32).reshape(45, 30), jitnet.jit(function)
    with interpreted_gpu():
        there = jitnet.asarray(x, device="gpu")
        np.testing.assert_allclose(f(there).numpy(), f(x), rtol=1e-5, atol=1e-4)
        assert f", {template}" in f.explain(there)


def test_an_assembler_that_is_not_there(monkeypatch):
    monkeypatch.setattr(cuda_compile, "_nvjitlink", lambda: None)
    monkeypatch.setattr(cuda_compile, "_ptxas", lambda: None)
    with pytest.raises(DeviceError) as error:
        cuda_compile.assemble("", (9, 0))
    assert str(error.value).startswith("no assembler for GPU kernels was found: looked for nvJitLink and for ptxas\n")
    assert str(error.value).endswith("\n  pip install 'jitnet[cuda]'")


@pytest.mark.skipif(not HAS_ASSEMBLER, reason="neither nvJitLink nor ptxas is installed")
def test_a_kernel_that_does_not_assemble():
    with pytest.raises(DeviceError, match="a GPU kernel does not assemble for sm_90: "):
        cuda_compile.assemble(".version 8.0\n.target sm_90\n.address_size 64\nnonsense\n", (9, 0))


def test_a_gpu_that_no_toolkit_compiles_for():
    with pytest.raises(DeviceError, match=r"a GPU of compute capability 7.0 is older than all that CUDA 13 compiles for"):
        cuda_compile.assemble("", (7, 0))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_shifts_by_numbers_beyond_32_bits(dtype):
    """In the PTX: LLVM's back end for GPUs would shift by their low 32 bits."""
    far = [0, 1, 32, 63, 64, 65, 1 << 32, (1 << 32) + 1, (1 << 33) + 5, 1 << 62]
    x, n = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(
        np.array([1, 3, np.iinfo(dtype).max], dtype), np.array(far, dtype), indexing="ij"))
    with ptx_gpu():
        check_compiled(graph_of(lambda x, n: [x << n, x >> n], x, n), [x, n], device=Device("gpu", 0))


def test_infinite_sums():
    """The compensated total of float64 has no error once it is infinite: inf - inf is NaN."""
    x = np.ones(3000)
    x[5] = np.inf
    with interpreted_gpu():
        assert float(jitnet.jit(np.sum)(jitnet.asarray(x, device="gpu"))) == np.inf
