"""GPU kernels run in Numba's CUDA simulator: every thread of a launch is a Python thread, and values are checked without a GPU.

    @simulated                                            with NUMBA_ENABLE_CUDASIM=1 in the environment
    def kernel(x0: "f32*", out0: "f32*", n0: "i64"):
        ...

    kernel[(4, 1, 1), (256, 1, 1), 0, 0](x, out, 1000)    grid, block, stream, bytes of dynamic shared memory

The simulator has no warp shuffles: threads combine their values through shared memory here, in the order in which shuffles
combine them, so sums have the bits that they have on a GPU.
"""
from __future__ import annotations

import types

import numpy as np

from .cuda_names import COMBINATIONS, COORDINATES, VECTOR_BYTES
from .intrinsics import COMBINE, NUMPY_NAMES, PYTHON_SCOPE, quiet
from .names import DTYPES

WARP = 32
MOST_THREADS = 512
PLACES = {"tid": "threadIdx", "ntid": "blockDim", "ctaid": "blockIdx", "nctaid": "gridDim"}


class Simulated:
    """A kernel that works on NumPy arrays in place: the simulator would copy each of them, also where they share memory."""

    def __init__(self, kernel, wrap):
        self.kernel, self.wrap = kernel, wrap

    def __getitem__(self, launch):
        def call(*arguments):
            self.kernel[launch](*[self.wrap(a) if isinstance(a, np.ndarray) else a for a in arguments])
        return call


def simulated(function, aligned: bool = True) -> Simulated:
    """The kernel as the simulator launches it, `kernel[grid, block, 0, shared bytes](*arguments)`.

    aligned=False: no address is aligned for vectors.     RuntimeError without NUMBA_ENABLE_CUDASIM=1.
    """
    from numba import config, cuda
    if not config.ENABLE_CUDASIM:
        raise RuntimeError("the simulator is off: set NUMBA_ENABLE_CUDASIM=1 before Numba is imported")
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
    return Simulated(cuda.jit(within(function, simulator_scope(cuda, aligned))), FakeCUDAArray)


def simulator_scope(cuda, aligned: bool) -> dict[str, object]:
    """Every name that the source of a GPU kernel may use; `cuda` is what the simulator puts its own module in place of."""
    scope: dict[str, object] = {**PYTHON_SCOPE, "cuda": cuda, "np": np, "ALIGNED": aligned, "VECTOR": VECTOR_BYTES,
                                "WARP": WARP, "MOST_THREADS": MOST_THREADS}
    for name, register in COORDINATES.items():
        place, axis = register.split(".")
        define(scope, name, "", f"cuda.{PLACES[place]}.{axis}")
    for dtype in DTYPES:
        kind = f"np.dtype('{NUMPY_NAMES[dtype]}')"
        define(scope, f"shared_{dtype}", "n, k", f"shared_array(k, n, {kind})")
        define(scope, f"kept_{dtype}", "at", f"elements(cuda.shared.array(0, np.dtype('u1')), at, {kind})")
    for function in (elements, shared_array, sync, div_, aligned_, load_vector_, store_vector_, either_, atomic_add_, inverse_,
                     quotients_, exchanged, combined_row, combined_column):
        scope[function.__name__] = within(function, scope)
    for half in ("f16", "bf16"):
        scope |= {f"inverse_{half}_": scope["inverse_"], f"quotients_{half}_": scope["quotients_"]}
    for name in COMBINATIONS:
        scope[f"{name}_step"] = quiet(COMBINE[name])
        for kind in ("row", "column"):
            define(scope, f"{kind}_{name}_", "value", f"combined_{kind}(value, {name}_step)")
    return scope


def define(scope: dict, name: str, arguments: str, text: str) -> None:
    """Defines a function that returns an expression."""
    exec(f"def {name}({arguments}):\n    return {text}", scope)


def within(function, scope: dict):
    """The function with the names of that scope."""
    return types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)


# What follows runs with the names of a scope: `cuda` is the simulator's module, and coordinates are there.

def elements(memory, at, dtype):
    """The bytes from `at` on as elements of a dtype."""
    return memory[at:at + (len(memory) - at) // dtype.itemsize * dtype.itemsize].view(dtype)


def shared_array(name, count, dtype):
    """An array that the threads of a block share; `cuda.shared.array` reads its caller's source at every call: slow."""
    return cuda.shared.__dict__.setdefault(f"{name} {dtype}", np.empty(count, dtype))   # noqa: F821


def sync():
    cuda.syncthreads()   # noqa: F821


def div_(a, b):
    return a // b if b else 0   # where nothing is divided up, nothing reads the result


def aligned_(x, at):
    return ALIGNED and at * x.dtype.itemsize % VECTOR == 0   # noqa: F821


def load_vector_(x, at, lanes):
    return tuple(x[at + k] for k in range(lanes))


def store_vector_(x, at, values):
    for k, value in enumerate(values):
        x[at + k] = value


def either_(condition, yes, no):
    return yes if condition else no


def atomic_add_(x, at, value):
    cuda.atomic.add(x, at, value)   # noqa: F821


def inverse_(d):
    return d   # a GPU divides by it what it divides by d


def quotients_(values, d, inverse):
    return tuple(value / inverse for value in values)


def exchanged(value, thread, other):
    """The value that thread `other` of the block brings here, while this one brings its own."""
    scratch = shared_array("scratch", MOST_THREADS, np.asarray(value).dtype)
    scratch[thread] = value
    cuda.syncthreads()   # noqa: F821
    found = scratch[other]
    cuda.syncthreads()   # noqa: F821
    return found


def combined_row(value, combine):
    """Halves of ever smaller groups within a warp, then the warps of the row in the same way."""
    width, y = cuda.blockDim.x, cuda.threadIdx.y   # noqa: F821
    x = cuda.threadIdx.x   # noqa: F821
    thread = y * width + x
    for offset in (16, 8, 4, 2, 1):
        if offset < width:
            value = combine(value, exchanged(value, thread, thread ^ offset))
    warps = width // WARP
    if warps > 1:
        lane = x % warps
        value = exchanged(value, thread, y * width + lane * WARP)
        for offset in (16, 8, 4, 2, 1):
            if offset < warps:
                value = combine(value, exchanged(value, thread, y * width + (x ^ offset)))
    return value


def combined_column(value, combine):
    """The upper half of the threads joins the lower one until one is left."""
    width, height = cuda.blockDim.x, cuda.blockDim.y   # noqa: F821
    x, y = cuda.threadIdx.x, cuda.threadIdx.y   # noqa: F821
    while height > 1:
        height //= 2
        thread = y * width + x
        value = combine(value, exchanged(value, thread, thread + height * width if y < height else thread))
    return exchanged(value, y * width + x, x)
