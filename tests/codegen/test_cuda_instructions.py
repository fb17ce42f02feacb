"""How many instructions of PTX a thread runs for an element: an H200 reads 4 bytes and writes 4 in the time of about 50.

Counted on the GPU that runs PTX (testing_ptx_gpu.py): what is counted is the same everywhere. Moves, which the assembler
removes, do not count.
"""
import collections
import dataclasses

import numpy as np
import pytest

from jitnet.codegen.cuda import cuda_kernel
from jitnet.codegen.cuda_launch import launch_shape
from jitnet.compile import compile_graph
from jitnet.runtime.cuda_compile import compile_ptx
from jitnet.testing_compiled import graph_of
from jitnet.testing_ptx_gpu import aligned, launch_ptx
from jitnet.types import BF16

RNG = np.random.default_rng(8)
X, B = RNG.normal(size=(8, 1024)).astype(np.float32), RNG.normal(size=1024).astype(np.float32)


def softmax(x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def normalize(x):
    d = x - x.mean(axis=1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=1, keepdims=True) + np.float32(1e-5))


def chain(x):
    return np.tanh(x) * np.float32(0.5) + np.exp(-x * x)


def counted(function, *arrays):
    """(instructions for an element of the first array, those of them that load or store) of the first kernel."""
    compiled = compile_graph(graph_of(function, *arrays))
    nest, (expected,) = compiled.kernels[0].nest, compiled.run(list(arrays))
    kernel, counts = cuda_kernel(nest), collections.Counter()
    shape = launch_shape(dataclasses.replace(kernel.launch, outer=4096))   # a thread does as much as where rows are many
    given, memory = list(arrays), []
    for buffer in nest.buffers:
        if buffer.role == "input":
            array = given.pop(next(k for k, a in enumerate(given) if a.dtype == buffer.dtype))
        else:
            array = np.zeros(1, np.int64) if buffer.role == "status" else np.zeros_like(expected)
        memory.append(aligned(array.nbytes).view(array.dtype))
        memory[-1][:] = array.reshape(-1)
    words = [m.ctypes.data for m in memory] + list(kernel.sizes)
    ranges = [(m.ctypes.data, m.ctypes.data + m.nbytes, "global", 0) for m in memory]
    launch_ptx(compile_ptx(kernel.source, (9, 0)), (2, 1), shape.block, shape.shared_bytes, words, ranges, 0, counts)
    total = sum(n for opcode, n in counts.items() if not opcode.startswith("mov"))
    moved = sum(n for opcode, n in counts.items() if opcode.startswith(("ld.global", "st.global")))
    (out,) = (m for m, b in zip(memory, nest.buffers) if b.role in ("output", "scratch"))
    np.testing.assert_allclose(out.astype(float), expected.reshape(-1).astype(float), 1e-5, 1e-6)
    return total / arrays[0].size, moved / arrays[0].size


@pytest.mark.parametrize("function, arrays, most", [
    (softmax, (X,), 44), (normalize, (X,), 29), (lambda x: x.sum(axis=1), (X,), 7), (lambda x: x.var(axis=1), (X,), 14),
    (softmax, (X.astype(BF16),), 57), (chain, (X,), 59), (lambda x, b: np.maximum(x + b, 0), (X, B), 16),
    (lambda x, i: x[i], (X, np.arange(8)[::-1].copy()), 9)],
    ids=["softmax", "normalize", "sums", "variances", "bfloat16", "chain", "bias", "gather"])
def test_instructions_for_an_element(function, arrays, most):
    instructions, moved = counted(function, *arrays)
    assert instructions <= most
    assert moved <= 0.8   # by vectors of 4 elements
