"""What `gpu.py` measures on a GPU, and who runs it: one adapter per framework, and the cases with their checks.

An adapter is made in a process of its own (gpu_worker.py), on the card; in a rehearsal on a GPU of memory, or on the CPU.
Products of float32 are taken in float32 by everyone: where a framework would round their operands (TF32), that is off.
"""
import importlib
import math
import os
from typing import NamedTuple

import numpy

from cases_network import mlp_inputs, mlp_step_jax, mlp_step_jitnet, mlp_step_numpy, mlp_step_torch, mlp_step_torch_compiled
from frameworks import leaves
from worker import relative_error

NAMES = ("jitnet", "torch", "jax", "cupy", "torch.compile")   # whose compiling may take long comes last
COPY, CHAIN, ROWS, SOFTMAX, NORM = "copy", "elementwise chain", "sum of rows", "softmax of rows", "layer norm of rows"
SMALL, CAPTURED, STEP = "call of a small kernel", "call of two small layers", "MLP step"
WIDTH = 4096       # of the rows of large matrices


# ---- Frameworks: namespace, arrays there and back, compiling, waiting, a training step

class Jitnet:
    def __init__(self, rehearsed):
        import jitnet

        self.module, self.np, self.compile, self.version = jitnet, numpy, jitnet.jit, jitnet.__version__
        self.gpu = jitnet.gpu(0)
        self.put, self.get, self.copy = lambda x: jitnet.asarray(x, device="gpu"), lambda x: x.numpy(), lambda x: x.copy()
        self.wait, self.free = lambda out: self.gpu.synchronize(), self.gpu.release_memory

    def card(self):
        """What the page says of the card, and how much memory is free."""
        from jitnet.runtime.cuda.driver import driver

        p = self.gpu.properties
        return {"name": p.name, "capability": list(p.compute_capability), "multiprocessors": p.multiprocessors,
                "l2": p.l2_bytes, "cuda": list(driver().version()), "free": self.gpu.memory_info[0]}

    def step(self, arrays):
        return self.compile(mlp_step_jitnet(self.module))


class Torch:
    def __init__(self, rehearsed, compiled=False):
        import torch

        import torch_numpy

        if not rehearsed and not torch.cuda.is_available():
            raise ImportError(f"torch {torch.__version__} sees no GPU")
        torch.set_grad_enabled(False)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        self.module, self.np, self.compiled, self.version = torch, torch_numpy, compiled, torch.__version__
        device, cuda = torch.device("cpu" if rehearsed else "cuda"), torch.cuda
        self.put, self.get = lambda x: torch.from_numpy(x).to(device), lambda x: x.cpu().numpy()
        self.copy = lambda x: x.clone()
        self.wait, self.emptied = (lambda out: None, lambda: None) if rehearsed else (lambda out: cuda.synchronize(),
                                                                                      cuda.empty_cache)

    def compile(self, function):
        return self.module.compile(function, mode="max-autotune-no-cudagraphs") if self.compiled else function

    def step(self, arrays):
        """Eager: autograd, and the update in place. Compiled: one function, replayed as a CUDA graph on arguments that stay."""
        torch = self.module
        if not self.compiled:
            return mlp_step_torch(torch)
        for array in leaves(arrays):
            torch._dynamo.mark_static_address(array)   # else every call copies them to where the graph reads
        step = torch.compile(mlp_step_torch_compiled(torch), mode="reduce-overhead")

        def call(*given):
            torch.compiler.cudagraph_mark_step_begin()
            return step(*given)
        return call

    def free(self):
        if self.compiled:
            self.module.compiler.reset()   # cases share code objects, and after eight of one torch goes back to eager unasked
        self.emptied()


class Jax:
    def __init__(self, rehearsed):
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")   # it would take most of the card's memory
        import jax

        if not rehearsed and jax.default_backend() != "gpu":
            raise ImportError(f"JAX {jax.__version__} sees no GPU")
        jax.config.update("jax_default_matmul_precision", "highest")   # else products are rounded to 10 bits
        self.module, self.np, self.compile, self.put, self.get = jax, jax.numpy, jax.jit, jax.device_put, numpy.asarray
        self.wait, self.copy, self.version = jax.block_until_ready, lambda x: jax.numpy.array(x, copy=True), jax.__version__
        self.free = lambda: None

    def step(self, arrays):
        jax = self.module
        return jax.jit(mlp_step_jax(jax))


class CuPy:
    def __init__(self, rehearsed):
        cupy = importlib.import_module("cupy")
        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise ImportError(f"CuPy {cupy.__version__} sees no GPU")
        self.module = self.np = cupy
        self.compile, self.put, self.get, self.version = lambda f: f, cupy.asarray, cupy.asnumpy, cupy.__version__
        self.copy, self.wait = lambda x: x.copy(), lambda out: cupy.cuda.Device().synchronize()
        self.free = cupy.get_default_memory_pool().free_all_blocks

    def step(self, arrays):
        return lambda *given: mlp_step_numpy(self.np, *given)   # the gradients are written out by hand


MAKE = {"jitnet": Jitnet, "torch": Torch, "torch.compile": lambda rehearsed: Torch(rehearsed, compiled=True), "jax": Jax,
        "cupy": CuPy}


# ---- Checks: results on the host -> their largest error, relative to the largest value

def error(results, wanted):
    return max(relative_error(numpy, numpy.asarray(r), numpy.asarray(w)) for r, w in zip(results, wanted, strict=True))


def repeated(small, times):
    """The check that a result is that of the first rows, so many times: a reference for all would take longer than the rest."""
    def check(results):
        (out,), part = results, small.reshape(-1).astype("float32")
        if out.size != times * part.size:
            return math.inf
        worst = numpy.max([numpy.max(numpy.abs(piece - part)) for piece in out.reshape(times, -1)])   # NaN where one is
        return float(worst / numpy.max(numpy.abs(part)))
    return check


def same(*wanted):
    return lambda results: error(results, wanted)


def some_rows(rows, wanted):
    """The check of some rows of a matrix."""
    return lambda results: error([results[0][rows]], [wanted])


# ---- Cases

class Case(NamedTuple):
    """A case: `make()` gives its arrays on the host and the check of its results."""

    name: str
    function: object       # of (np, *arrays); None: the framework's copy, or its step
    make: object
    work: float            # bytes read and written, or operations
    unit: str              # what the work counts: bytes, float32, float16; or what is measured: call, step
    tolerance: float = 1e-4
    own: dict = {}         # {module: what makes a function of the arrays out of it}, where a framework has the thing itself


def normalize(np, x):
    d = x - np.mean(x, axis=1, keepdims=True)
    return d / np.sqrt(np.mean(d * d, axis=1, keepdims=True) + 1e-5)


def softmax(np, x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def chain(np, x):
    return np.tanh(x) * 0.5 + np.exp(-x * x)


TORCH_SOFTMAX = {"torch": lambda torch: lambda x: torch.softmax(x, 1)}
TORCH_NORMALIZE = {"torch": lambda torch: lambda x: torch.nn.functional.layer_norm(x, x.shape[1:])}
TORCH_DENSE = {"torch": lambda torch: lambda x, w, b: torch.relu(torch.addmm(b, x, w))}
# Results of torch and CuPy lie in memory as their operands do: without more, they would not move anything.
TRANSPOSED = {"torch": lambda torch: lambda x: (x.T + 1.0).contiguous(),
              "cupy": lambda cupy: lambda x: cupy.ascontiguousarray(x.T + 1.0)}


def large(n, form, wanted):
    """make(): about n floats as the form says, the same rows over and over; wanted(rows, times) gives the check."""
    def make():
        rows = max(4, n // WIDTH)
        kept = max(1, min(256, rows // 4))
        few = numpy.random.default_rng(0).standard_normal((kept, WIDTH), dtype="float32") + numpy.float32(0.5)
        x = numpy.tile(few, (rows // kept, 1))
        return [x.reshape(form)], wanted(few.astype("float64"), rows // kept)
    return make


def memory_cases(n):
    flat, matrix, long = (-1,), (-1, WIDTH), (4, -1)
    read = 4 * max(4, n // WIDTH) * WIDTH

    def case(name, function, form, wanted, arrays=2, tolerance=1e-4, own={}):  # noqa: B006
        return Case(name, function, large(n, form, wanted), arrays * read, "bytes", tolerance, own)

    yield case(COPY, None, flat, lambda few, k: repeated(few, k), tolerance=0)
    yield case(CHAIN, chain, flat, lambda few, k: repeated(chain(numpy, few), k))
    yield case(ROWS, lambda np, x: np.sum(x, axis=1), matrix, lambda few, k: repeated(few.sum(1), k), 1)
    yield case(SOFTMAX, softmax, matrix, lambda few, k: repeated(softmax(numpy, few), k), own=TORCH_SOFTMAX)
    yield case(NORM, normalize, matrix, lambda few, k: repeated(normalize(numpy, few), k), own=TORCH_NORMALIZE)
    yield case("sum of all", lambda np, x: np.sum(x), flat, lambda few, k: same(few.sum() * k), 1)
    yield case("sum of columns", lambda np, x: np.sum(x, axis=0), matrix, lambda few, k: same(few.sum(0) * k), 1)
    yield case("sum of 4 long rows", lambda np, x: np.sum(x, axis=1), long,
               lambda few, k: same(numpy.full(4, few.sum() * (k // 4))), 1)
    yield case("softmax of 4 long rows", softmax, long,
               lambda few, k: repeated(softmax(numpy, few.reshape(1, -1)) / (k // 4), k), own=TORCH_SOFTMAX)
    yield case("transpose", lambda np, x: x.T + 1.0, matrix,
               lambda few, k: lambda results: repeated(few + 1, k)([results[0].T]), own=TRANSPOSED)


def product_cases(edge):
    def make(edge, dtype, bias):
        def made():
            rng = numpy.random.default_rng(1)
            x, w = (rng.standard_normal((edge, edge), dtype="float32").astype(dtype) for _ in range(2))
            b, rows = rng.standard_normal(edge, dtype="float32"), slice(None, None, max(1, edge // 64))
            out = x[rows].astype("float64") @ w.astype("float64")
            return ([x, w, b], some_rows(rows, numpy.maximum(out + b, 0))) if bias else ([x, w], some_rows(rows, out))
        return made

    flops = 2 * edge ** 3
    yield Case(f"product {edge}, bias, relu", lambda np, x, w, b: np.maximum(x @ w + b, 0.0), make(edge, "f4", True), flops,
               "float32", own=TORCH_DENSE)
    yield Case(f"product {edge}", lambda np, x, w: x @ w, make(edge, "f4", False), flops, "float32")
    yield Case(f"product {2 * edge}, float16", lambda np, x, w: x @ w, make(2 * edge, "f2", False), 8 * flops, "float16", 2e-3)


def small_cases():
    one, eye = numpy.ones(8, "float32"), numpy.full((8, 8), 0.25, "float32")
    yield Case(SMALL, lambda np, x, y, z: x * y + z, lambda: ([one] * 3, same(one * 2)), 0, "call")
    yield Case(CAPTURED, lambda np, x, w: np.tanh(np.tanh(x @ w) @ w), lambda: (
        [eye] * 2, same(numpy.tanh(numpy.tanh(eye @ eye) @ eye))), 0, "call")


def step_case(batch):
    def make():
        arrays = list(mlp_inputs(numpy.random.default_rng(2), batch, 784, 128, 64, 10))
        return arrays, same(*leaves(mlp_step_numpy(numpy, *arrays)))
    return Case(f"{STEP}, batch {batch}", None, make, 0, "step", 1e-3)


def cases(n, edge, batches):
    """The cases for about n floats, products of matrices with that edge, and training steps of those batch sizes: first those
    that something is promised of, for a run may be cut off."""
    memory = list(memory_cases(n))
    return [*memory[:5], *small_cases(), *map(step_case, batches), *product_cases(edge), *memory[5:]]
