"""Small kernels and types for the runtime's tests."""
import types

import numpy as np
import pytest

from jitnet.runtime import cache
from jitnet.runtime.program import KernelStep, Program, Slot


def elementwise_source(expression, inputs=2, dtype="f32", out="f32"):
    """Source of out[i] = expression, over inputs called a, b, c."""
    names = "abcdef"[:inputs]
    lines = ["def kernel(buffers, sizes, start, stop):"]
    lines += [f"    {name} = buffer_{dtype}(buffers, {i})" for i, name in enumerate(names)]
    lines += [f"    out = buffer_{out}(buffers, {inputs})"]
    lines += ["    for i in range(start, stop):", f"        out[i] = {expression}"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def elementwise():
    """elementwise(expression, inputs=2, dtype="f32", out="f32") -> Kernel."""
    return lambda *args, **options: cache.get_kernel(elementwise_source(*args, **options))


@pytest.fixture
def array_type():
    """array_type(shape, dtype) -> what Program takes as a type."""
    return lambda shape, dtype=np.float32: types.SimpleNamespace(shape=shape, dtype=np.dtype(dtype))


@pytest.fixture
def add_program(elementwise, array_type):
    """add_program(shape, dtype) -> Program of a + b."""
    def make(shape=(4,), dtype="f4", short="f32"):
        t = array_type(shape, dtype)
        size = int(np.prod(shape))
        kernel = elementwise("a[i] + b[i]", dtype=short, out=short)
        return Program([KernelStep(kernel, (Slot("input", 0), Slot("input", 1), Slot("output", 0)), (), size)], [t, t], [t])
    return make
