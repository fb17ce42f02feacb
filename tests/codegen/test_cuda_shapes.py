"""GPU programs by the shapes of their arrays: how many kernels put arrays together, and which template turns short axes."""
import numpy as np
import pytest

import jitnet
from jitnet.codegen.cuda import cuda_kernel
from jitnet.compile import as_on_gpu
from jitnet.passes.fuse import MAX_PARTS
from jitnet.runtime import cuda_compile
from jitnet.testing_compiled import check_compiled, graph_of, random_array
from jitnet.testing_kernels import interpreted_gpu
from jitnet.testing_ptx_gpu import ptx_gpu
from jitnet.types import F16

ARCHITECTURES = [(8, 0), (9, 0), (10, 0)]
HAS_ASSEMBLER = cuda_compile.has_assembler()
MANY = [random_array((7, 3), np.float32, k) for k in range(MAX_PARTS)]
X, Y = random_array((33, 40), np.float32, 50), random_array((40, 33), np.float32, 51)
PLACES = np.array([1, 5, -33])


def kernels(function, *arrays):
    """The kernels that a GPU runs for a function."""
    return [cuda_kernel(info.nest) for info in as_on_gpu(graph_of(function, *arrays)).kernels]


def check_everywhere(function, *arrays):
    """The launches of a program, whose values are right where kernels are interpreted and where their PTX runs."""
    for fake in (interpreted_gpu, ptx_gpu):
        with fake():
            program = check_compiled(graph_of(function, *arrays), list(arrays), device=jitnet.gpu(0)).program
            launches = sum(len(part.operations) for part in program.all_parts(program.parts))
    return launches


JOINED = {   # launches, function, arrays
    "stacked": (1, lambda *x: np.stack(x), *MANY),
    "stacked last": (1, lambda *x: np.stack(x, -1), *MANY[:5]),
    "halves": (1, lambda *x: np.concatenate(x, 1), *[x.astype(F16) for x in MANY]),
    "computed": (1, lambda x, y: np.stack([np.tanh(x) * 2, y.T + x, x]), X, Y),
    "turned": (1, lambda x, y: np.concatenate([x * 2, y.T], 1), X, Y),
    "waves": (1, lambda x: np.concatenate([np.sin(x), np.cos(x)], -1), X),
    "sums": (2, lambda x: np.stack([x.sum(0), x.max(0), x.min(0)]), X),
    "picked": (1, lambda x, i: np.concatenate([x[i], x[i] * 2]), X, PLACES),
    "read again": (2, lambda x: (lambda c: (c, c[:33] + c[33:], c.sum(1)))(np.concatenate([x, x * 2])), X),
    "of joined": (2, lambda x: np.stack([np.concatenate([x, x + 1]), np.concatenate([x, x * 2])]), X),
    "too many": (3, lambda *x: np.stack([*x, *x, x[0]]), *MANY),
    "too many to compute": (4, lambda *x: np.stack([np.exp(a) for a in (*x, *[2 * a for a in x[::2]])]), *MANY),
    "in runs": (2, lambda x, y: np.concatenate([x, x, y, x]), X, X[:2]),
    "nothing too": (1, lambda x, y: np.concatenate([x, y, x[::-1], y]), X, X[:0]),
}


@pytest.mark.parametrize("name", JOINED)
def test_arrays_of_one_shape_are_put_together_by_one_kernel(name):
    count, function, *arrays = JOINED[name]
    assert check_everywhere(function, *arrays) == count
    for kernel in {k.source: k for k in kernels(function, *arrays)}.values() if HAS_ASSEMBLER else ():
        for cc in ARCHITECTURES:
            used = cuda_compile.resources(cuda_compile.compile_kernel(kernel.source, cc))
            assert used.local_bytes <= cuda_compile.FEW_LOCAL_BYTES or name == "waves"   # the rare roads of two functions


def test_what_is_put_together_is_not_stored_before():
    (info,) = as_on_gpu(graph_of(lambda x: np.stack([np.tanh(x), np.exp(x)]), X)).kernels
    assert (info.reads, info.writes) == (X.nbytes, 2 * X.nbytes)


def test_loops_carry_what_kernels_put_together():
    def function(x):
        return jitnet.scan(lambda c, row: (np.concatenate([c[20:] * 2, row[:20] + c[:20]]), np.stack([c, c * 2])), x[0], x)
    check_everywhere(function, X)


def test_one_text_for_all_sizes_of_what_is_put_together():
    def text(shape):
        (kernel,) = kernels(lambda x, y: np.stack([x * 2, y]), *[np.zeros(shape, np.float32)] * 2)
        return kernel.source
    assert text((3, 5)) == text((300, 77))
