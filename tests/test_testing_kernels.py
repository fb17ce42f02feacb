"""The interpreter of GPU kernels computes what a kernel says, and finds every fault that is planted."""
import numpy as np
import pytest

from jitnet.testing_kernels import KernelFault, launch

REVERSED = '''def kernel(x0: "f32*", out0: "f32*"):
    square = shared_f32(64, 0)
    square[thread_x()] = x0[thread_x()]
    sync()
    out0[thread_x()] = square[63 - thread_x()]
'''
X = np.arange(64, dtype=np.float32)


def run(source, *arrays, grid=(1, 1, 1), block=(64, 1, 1), shared=0):
    launch(source, grid, block, shared, arrays)


def test_threads_meet_at_barriers():
    out = np.zeros_like(X)
    run(REVERSED, X, out)
    np.testing.assert_array_equal(out, X[::-1])


def test_what_is_read_too_early_is_nan():
    out = np.zeros_like(X)
    run(REVERSED.replace("    sync()\n", "").replace("63 - thread_x()", "0"), X, out)
    assert np.isnan(out[1:]).all()


def test_combinations_of_rows_and_columns():
    rows = 'def kernel(x0: "f32*", out0: "f32*"):\n    k = thread_x() + 8 * thread_y()\n    out0[k] = row_add_(x0[k])\n'
    out = np.zeros_like(X)
    run(rows, X, out, block=(8, 8, 1))
    np.testing.assert_array_equal(out.reshape(8, 8), np.repeat(X.reshape(8, 8).sum(axis=1), 8).reshape(8, 8))
    run(rows.replace("row_add_", "column_max_"), X, out, block=(8, 8, 1))
    np.testing.assert_array_equal(out.reshape(8, 8), np.tile(X.reshape(8, 8).max(axis=0), (8, 1)))


FAULTS = {
    "outside of 64 elements": "out0[thread_x() + 1] = x0[0]",
    r"out0\[0\]: written by thread 0 of block 0 and by thread 1 of block 0": "out0[0] = x0[0]",
    r"out0\[1\]: read by, and written, thread 0 of block 0 and by thread 1": "out0[thread_x()] = out0[thread_x() + 1]",
    "not aligned for a vector of 4": "store_vector_(out0, 1, load_vector_(x0, 0, 4))",
    "thread 32 is at None, thread 0 at": "if thread_x() < 32:\n        sync()",
    "thread 32 is at .*, thread 0 at": "if thread_x() < 32:\n        sync()\n    else:\n        row_add_(x0[0])",
}


@pytest.mark.parametrize("message", FAULTS)
def test_planted_faults_are_found(message):
    line = FAULTS[message]
    source = f'def kernel(x0: "f32*", out0: "f32*"):\n    {line}\n'
    with pytest.raises(KernelFault, match=message):
        run(source, X, np.zeros_like(X))


def test_two_blocks_may_not_share_an_element():
    with pytest.raises(KernelFault, match="thread 0 of block 0 and by thread 0 of block 1"):
        run('def kernel(x0: "f32*", out0: "f32*"):\n    out0[thread_x()] = x0[0]\n', X, np.zeros_like(X), grid=(2, 1, 1))


@pytest.mark.parametrize("line, message", [
    ("out0[k] = x0[k]", r"out0\[0\] is written where an input was read"),
    ("out0[k] = f32(1)\n    out0[k] = x0[k]", r"x0\[0\] is an input, and was written by thread 0 of block 0")])
def test_inputs_are_only_read(line, message):
    """They come through a cache that does not see what a kernel writes: no output may lie where an input does."""
    with pytest.raises(KernelFault, match=message):
        run(f'def kernel(x0: "f32*", out0: "f32*"):\n    k = thread_x()\n    {line}\n', same := np.zeros_like(X), same)


def test_shared_memory_of_a_launch_is_bounded():
    with pytest.raises(KernelFault, match="outside of 4 elements"):
        run('def kernel(x0: "f32*", out0: "f32*"):\n    kept_f32(0)[thread_x()] = x0[0]\n', X, np.zeros_like(X), shared=16)
