"""The GPU that runs PTX: it computes what kernels say, finds every fault that is planted, and our cases are sound on it.

JITNET_NIGHTLY=1 runs all cases for three architectures, and many more random programs.
"""
import collections
import importlib.util
import os
import pathlib
import re

import numpy as np
import pytest

import jitnet
from jitnet import tree
from jitnet.runtime.cuda_compile import compile_ptx
from jitnet.runtime.device import Device
from jitnet.testing_compiled import LOOSE, assert_agree, check_compiled, gradient_graph
from jitnet.testing_kernels import KernelFault
from jitnet.testing_programs import Recorder, random_arguments, random_graph
from jitnet.testing_ptx_gpu import launch, launch_ptx, ptx_gpu
from jitnet.types import BF16, F16, F32, F64

NIGHTLY = os.environ.get("JITNET_NIGHTLY", "0") not in ("", "0")
CAPABILITIES = [(8, 0), (9, 0), (10, 0)]
X = np.arange(64, dtype=np.float32)
REVERSED = '''def kernel(x0: "f32*", out0: "f32*"):
    square = shared_f32(64, 0)
    square[thread_x()] = x0[thread_x()]
    sync()
    out0[thread_x()] = square[63 - thread_x()]
'''
IN_PLACE = '''def kernel(x0: "f32*", out0: "f32*"):
    out0[thread_x()] = x0[thread_x()]
    sync()
    t0 = out0[63 - thread_x()]
    sync()
    out0[thread_x()] = t0
'''
ROWS = 'def kernel(x0: "f32*", out0: "f32*"):\n    k = thread_x() + 8 * thread_y()\n    out0[k] = row_add_(x0[k])\n'


def load_cases():
    path = pathlib.Path(__file__).parent / "codegen" / "cuda_cases.py"
    spec = importlib.util.spec_from_file_location("cuda_cases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


CASES = load_cases()
SOME = ("turned", "bias", "halves", "brain_halves", "many_numbers", "row_sums_f64", "bytes_max", "column_extremes", "argmax",
        "softmax_of_long_rows", "layer_norm", "half_softmax", "distances", "added_rows", "added_integers", "added_in_order")


def run_ptx(ptx, *arrays, block=(64, 1, 1), **options):
    ranges = [(a.ctypes.data, a.ctypes.data + a.nbytes, "global", 0) for a in arrays]
    launch_ptx(ptx, (1, 1, 1), block, 0, [a.ctypes.data for a in arrays], ranges, **options)


# What it computes

def test_threads_meet_at_barriers():
    out, counts = np.zeros_like(X), collections.Counter()
    launch(REVERSED, (1, 1, 1), (64, 1, 1), 0, (X, out), counts=counts)
    np.testing.assert_array_equal(out, X[::-1])
    assert counts["bar.sync"] == counts["st.global.b32"] == 64


def test_shuffles_and_shared_memory_combine_rows_and_columns():
    out = np.zeros_like(X)
    launch(ROWS, (1, 1, 1), (8, 8, 1), 0, (X, out))
    np.testing.assert_array_equal(out.reshape(8, 8), np.repeat(X.reshape(8, 8).sum(axis=1), 8).reshape(8, 8))
    launch(ROWS.replace("row_add_", "column_max_"), (1, 1, 1), (8, 8, 1), 0, (X, out))
    np.testing.assert_array_equal(out.reshape(8, 8), np.tile(X.reshape(8, 8).max(axis=0), (8, 1)))


def test_what_is_read_too_early_is_nan():
    """A barrier that is not there: what a thread reads depends on the order, but for what no other thread has written."""
    source, found = REVERSED.replace("    sync()\n", ""), []
    for seed in range(3):
        out = np.zeros_like(X)
        launch(source, (1, 1, 1), (64, 1, 1), 0, (X, out), seed=seed)
        found.append(out)
    assert all(np.isnan(out).any() and (out != X[::-1]).any() for out in found)
    assert len({out.tobytes() for out in found}) == 3


SWAPPED = '''def kernel(x0: "f32*", out0: "f32*", n0: "i64"):
    p = thread_x()
    while p < 1:
        q = 0
        while q + 1 < n0:
            out0[q] = x0[q + 1]
            out0[q + 1] = x0[q]
            q += 2
        p += 1
'''


def test_a_loop_from_a_literal_goes_on():
    """Its name is the literal 0 at first, and an int64 once it has come round."""
    out = np.zeros_like(X)
    launch(SWAPPED, (1, 1, 1), (32, 1, 1), 0, (X, out, np.int64(64)))
    np.testing.assert_array_equal(out, X.reshape(-1, 2)[:, ::-1].ravel())


HALVES = """.visible .entry kernel(
	.param .u64 kernel_param_0
)
{
	.reg .pred 	%p<3>;
	.reg .b16 	%rs<2>;
	.reg .b32 	%r<9>;
	.reg .b64 	%rd<2>;
	ld.param.b64 	%rd1, [kernel_param_0];
	ld.global.v2.b32 	{%r1, %r2}, [%rd1];
	setp.lt.f16x2 	%p1|%p2, %r1, %r2;
	selp.b32 	%r3, 1, 0, %p1;
	selp.b32 	%r4, 1, 0, %p2;
	ld.global.b16 	%rs1, [%rd1];
	mov.b32 	%r5, 0f3F800000;
	sub.rn.f32.f16 	%r5, %rs1, %r5;
	@%p1 mov.b32 	%r6, 7;
	@!%p1 mov.b32 	%r6, 8;
	mul.rn.f16x2 	%r7, %r1, %r2;
	fma.rn.f16x2 	%r8, %r7, %r2, %r1;
	st.global.b32 	[%rd1+8], %r8;
	st.global.v4.b32 	[%rd1+16], {%r3, %r4, %r5, %r6};
	ret;
}
"""


def test_arithmetic_of_halves():
    """Two comparisons at once; a difference of a narrower float and a float; what a predicate decides; two sums."""
    memory = np.zeros(64, np.uint8)
    memory = memory[-memory.ctypes.data % 16:][:32]
    memory[:8].view(np.float16)[:] = 3, 2, 4, 1
    run_ptx(HALVES, memory, block=(1, 1, 1))
    words = memory[16:].view(np.int32)
    assert list(memory[8:12].view(np.float16)) == [3 * 4 * 4 + 3, 2 * 1 * 1 + 2]
    assert (list(words[[0, 1, 3]]), words[2:3].view(np.float32)[0]) == ([1, 0, 7], 2)


@pytest.mark.parametrize("kind, start, length", [("s64", 32, 8), ("u64", 32, 8), ("s64", 56, 8), ("u64", 3, 61), ("s32", 4, 8),
                                                 ("u32", 4, 8), ("s32", 31, 1), ("u32", 0, 32)])
def test_fields_of_bits(kind, start, length):
    width, value = int(kind[1:]), -0x123456789ABCDEF
    memory = np.array([value, 0])   # the value, then the field
    run_ptx(f""".visible .entry kernel(
	.param .u64 kernel_param_0
)
{{
	.reg .b32 	%r<3>;
	.reg .b64 	%rd<4>;
	ld.param.b64 	%rd1, [kernel_param_0];
	ld.global.b{width} 	%r{'d' if width == 64 else ''}2, [%rd1];
	bfe.{kind} 	%r{'d3' if width == 64 else '1'}, %r{'d' if width == 64 else ''}2, {start}, {length};
	st.global.b{width} 	[%rd1+8], %r{'d3' if width == 64 else '1'};
	ret;
}}
""", memory, block=(1, 1, 1))
    field = (value >> start) % (1 << length)
    signed = field - (field >> length - 1 << length) if kind[0] == "s" else field
    assert int(memory.view(f"{'i' if kind[0] == 's' else 'u'}{width // 8}")[1 if width == 64 else 2]) == signed


# What it finds, in what a kernel says and in what a compiler might make of it

FAULTS = {
    "in no memory that it may use: thread 63 of block 0\n  line .* st.global.b32": "out0[thread_x() + 1] = x0[0]",
    r"in no memory that it may use: thread 5 of": "out0[thread_x()] = x0[thread_x() if thread_x() != 5 else 1 << 32]",
    "has been written by thread .* of block 0: thread .* of block 0": "out0[0] = x0[0]",
    "is not aligned": "store_vector_(out0, 1, load_vector_(x0, 0, 4))",
    "thread 0 of block 0 waits for threads that never come: 32 at line .*, 32 ended": "if thread_x() < 32:\n        sync()",
    "wait at several barriers|never come": "if thread_x() < 32:\n        sync()\n    else:\n        row_add_(x0[0])",
}


@pytest.mark.parametrize("message", FAULTS)
def test_planted_faults_are_found(message):
    source = f'def kernel(x0: "f32*", out0: "f32*"):\n    {FAULTS[message]}\n'
    with pytest.raises(KernelFault, match=message):
        launch(source, (1, 1, 1), (64, 1, 1), 0, (X.copy(), np.zeros_like(X)))


def test_blocks_may_not_share_an_element_nor_use_more_shared_memory_than_they_have():
    source = 'def kernel(x0: "f32*", out0: "f32*"):\n    out0[thread_x()] = x0[0]\n'
    with pytest.raises(KernelFault, match=r"written by thread .* of block .: thread .* of block ."):
        launch(source, (2, 1, 1), (64, 1, 1), 0, (X, np.zeros_like(X)))
    with pytest.raises(KernelFault, match="in no memory that it may use"):
        launch(source.replace("out0[", "kept_f32(0)["), (1, 1, 1), (64, 1, 1), 16, (X, np.zeros_like(X)))
    with pytest.raises(KernelFault, match="are too large"):
        launch(source, (1, 1, 1), (1024, 1, 1), 0, (X, np.zeros_like(X)))


@pytest.mark.parametrize("sound, faulty, message", [
    (REVERSED, ("bar.sync", "// bar.sync"), "differs"),
    (REVERSED, ("ld.shared.b32", "ld.global.b32"), "in no memory"),
    (REVERSED, ("st.global.b32", "st.shared.b32"), "in no memory"),
    (REVERSED, ("st.shared.b32", "st.shared.volatile.b32"), "not known here"),
    (IN_PLACE, ("ld.global.b32", "ld.global.nc.b32"), "was written, and is read as what nobody writes"),
    (ROWS, (", 4, 31, -1", ", 4, 31, 65535"), "is not in its own mask 0xffff"),
    (ROWS, (", 4, 31, -1", ", 2, 31, -1"), "differs"),
    (ROWS, (", 4, 31, -1", ", 4, 2, -1"), "differs"),
], ids=lambda text: text if isinstance(text, str) and len(text) < 40 else "")
def test_what_a_compiler_might_get_wrong_is_found(sound, faulty, message):
    ptx, block = compile_ptx(sound, (9, 0)), (64, 1, 1) if sound != ROWS else (8, 8, 1)
    want, out = np.zeros_like(X), np.zeros_like(X)
    run_ptx(ptx, X, want, block=block)
    changed = ptx.replace(*faulty)
    assert changed != ptx
    with pytest.raises((KernelFault, ValueError, AssertionError), match=message):
        run_ptx(changed, X, out, block=block)
        assert np.array_equal(out, want), "differs"


def test_a_loop_that_never_ends_is_found():
    ptx = re.sub(r"(add.s64 \s*(%rd\d+), \2), \d+;", r"\1, 0;", compile_ptx(SWAPPED, (9, 0)))
    out = np.zeros_like(X)
    ranges = [(a.ctypes.data, a.ctypes.data + a.nbytes, "global", 0) for a in (X, out)]
    with pytest.raises(KernelFault, match="threads go round for ever"):
        launch_ptx(ptx, (1, 1, 1), (32, 1, 1), 0, [X.ctypes.data, out.ctypes.data, 64], ranges)


# Kernels of ours

@pytest.mark.parametrize("name, capability", [(n, c) for k, n in enumerate(CASES) for c in CAPABILITIES
                                              if NIGHTLY or (n in SOME and c == CAPABILITIES[k % 3])])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_cases(name, capability, monkeypatch):
    monkeypatch.setattr("jitnet.passes.split.CHUNK", 1024)   # several chunks of few elements
    monkeypatch.setattr("jitnet.passes.split.COLUMN_CHUNK", 1024)
    if name.endswith("_not_kept"):
        monkeypatch.setattr("jitnet.codegen.cuda_rows.MOST_BYTES", 0)
    function, *arrays = CASES[name]
    with ptx_gpu(capability, seed=len(name)):
        found = jitnet.jit(function)(*[jitnet.asarray(a.copy(), device="gpu") for a in arrays])
        found = [out.numpy() for out in tree.leaves(found)]
    assert_agree(found, [np.asarray(out) for out in tree.leaves(function(*[a.copy() for a in arrays]))], LOOSE)


FLOATS = ((F64,), (F32,), (F32, F64), (F16,), (F32, BF16))


@pytest.mark.parametrize("seed", range(500 if NIGHTLY else 5))
def test_random_programs(seed):
    """Values, and gradients, through the real program, its memory plan and its graphs."""
    graph = random_graph(Recorder(3000 + seed), (7, 33, 130)[seed % 3], length=4 + seed % 9, floats=FLOATS[seed % 5],
                         reverse=seed % 2 == 0)
    for g in (graph, gradient_graph(graph) if seed % 2 == 0 else None):
        if g is not None:
            with ptx_gpu(CAPABILITIES[seed % 3], seed):
                check_compiled(g, random_arguments(g, seed), device=Device("gpu", 0))
