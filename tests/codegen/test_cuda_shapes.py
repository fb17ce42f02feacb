"""GPU programs by the shapes of their arrays: how many kernels put arrays together, and which template turns short axes."""
import numpy as np
import pytest

import jitnet
from jitnet.codegen.cuda import cuda_kernel
from jitnet.codegen.cuda_launch import launch_shape
from jitnet.codegen.cuda_planes import squares_pay
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


# Small planes turned

@pytest.mark.parametrize("read, written, pay", [
    (3, 3, 0), (4, 8, 0), (3, 100, 0), (16, 16, 0), (17, 33, 0), (24, 24, 0), (28, 28, 0), (40, 40, 0), (31, 31, 1),
    (32, 32, 1), (64, 64, 1), (3, 1000, 1), (1000, 3, 1), (48, 48, 1), (0, 3, 1), (3, 0, 1)])
def test_which_planes_are_turned_in_squares(read, written, pay):
    assert squares_pay(read, written) == pay


TURNED = {
    "matrices": (lambda x: np.swapaxes(x, 1, 2) * 2, random_array((600, 3, 3), np.float32, 60)),
    "and not": (lambda x: np.swapaxes(x, 1, 2) + x, random_array((250, 3, 3), np.float32, 61)),
    "halves": (lambda x: np.swapaxes(x, 1, 2).copy(), random_array((70, 4, 8), F16, 62)),
    "doubles of rows": (lambda x, r: np.swapaxes(x, 1, 2) * r[:, None, None] + 1, random_array((9, 17, 33), np.float64, 63),
                        random_array((9,), np.float64, 64)),
    "four axes": (lambda x: np.transpose(x, (0, 3, 2, 1)) - 1, random_array((9, 5, 7, 11), np.float32, 65)),
    "strided": (lambda x: np.swapaxes(x[:, ::2, 1:], 1, 2) * 2, random_array((60, 9, 9), np.float32, 66)),
    "backwards": (lambda x: np.swapaxes(x[::-1], 1, 2)[:, ::-1] * 2, random_array((60, 6, 7), np.float32, 67)),
    "two": (lambda x, y: (np.swapaxes(x, 1, 2) + y, x.transpose(0, 2, 1) > 0), random_array((60, 6, 7), np.float32, 68),
            random_array((60, 7, 6), np.float32, 69)),
    "positions": (lambda x: np.swapaxes(x, 1, 2) + np.arange(5), random_array((60, 5, 5), np.float32, 70)),
    "one after the other": (lambda x, y: (np.swapaxes(x, 1, 2) * 2, np.swapaxes(y, 1, 2) * 2),
                            *[random_array((80, 6, 7), np.float32, 71)] * 2),
    "into a part": (lambda x: np.concatenate([np.swapaxes(x, 1, 2), np.swapaxes(x, 1, 2) * 2], 2),
                    random_array((60, 6, 7), np.float32, 72)),
    "picked too": (lambda x, i: np.swapaxes(x, 1, 2) + x[i % 60], random_array((60, 5, 5), np.float32, 73), np.arange(60) * 7),
}


@pytest.mark.parametrize("name", TURNED)
def test_small_planes_are_turned(name):
    function, *arrays = TURNED[name]
    check_everywhere(function, *arrays)
    for kernel in {k.source: k for k in kernels(function, *arrays)}.values():
        assert ("shared_" in kernel.source) == (name == "picked too")
        for cc in ARCHITECTURES if HAS_ASSEMBLER else ():
            assert not cuda_compile.resources(cuda_compile.compile_kernel(kernel.source, cc)).local_bytes


def test_a_thread_of_small_planes_has_an_element_where_one_of_a_square_has_none():
    def launch(shape):
        (kernel,) = kernels(lambda x: np.swapaxes(x, 1, 2) * 2, np.broadcast_to(np.float32(0), shape))
        return str(launch_shape(kernel.launch)), kernel.source
    small, large, other = launch((100_000, 3, 3)), launch((1000, 64, 64)), launch((777, 20, 16))
    assert small[0] == "440 blocks of 256 threads"   # 8 elements of each of 900,000; squares would have 100,000 blocks
    assert large[0] == "4000 blocks of 32x8 threads"
    assert small[1] == other[1] != large[1]


@pytest.mark.parametrize("count", [(1 << 30) // 9 - 1, (1 << 34) // 9])
def test_many_small_planes(count):
    """Places have 64 bits where they need them."""
    (kernel,) = kernels(lambda x: np.swapaxes(x, 1, 2) * 2, np.broadcast_to(np.float32(0), (count, 3, 3)))
    assert ("i32(" in kernel.source) == (count < 1 << 27)


def test_a_new_number_of_small_planes_has_the_same_kernel():
    turned = jitnet.jit(lambda x: np.swapaxes(x, 1, 2) * 2)
    with interpreted_gpu():
        for shape in ((5, 3, 4), (7, 3, 4), (300, 3, 4), (30, 2, 5), (20, 34, 35)):
            x = random_array(shape, np.float32, 80)
            got = turned(jitnet.asarray(x, device="gpu"))
            np.testing.assert_array_equal(got.numpy(), np.swapaxes(x, 1, 2) * 2)
