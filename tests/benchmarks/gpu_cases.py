"""What `gpu.py` measures on a GPU, and who runs it: one adapter per framework, and the cases.

Every framework runs in one process on the same card, with arrays that are on the card already.
"""
import importlib
import os

import numpy

import jitnet
from cases_network import descend, mlp_inputs, mlp_loss

SMALL, CAPTURED, STEP = "call of a small kernel", "call of two small layers", "MLP step"
NAMES = ("jitnet", "torch", "torch.compile", "jax", "cupy")


# ---- Frameworks: namespace, arrays, compiling, waiting, a training step

class Jitnet:
    def __init__(self):
        self.np, self.compile = numpy, jitnet.jit
        self.put, self.copy = lambda x: jitnet.asarray(x, device="gpu"), lambda x: x.copy()
        self.wait = lambda out: jitnet.gpu(0).synchronize()

    def step(self, loss):
        def step(layers, x, labels):
            value, gradients = jitnet.value_and_grad(lambda layers: loss(numpy, layers, x, labels))(layers)
            return value, descend(layers, gradients)
        return jitnet.jit(step)


class Torch:
    def __init__(self, compiled=False):
        import torch

        import torch_numpy

        if not torch.cuda.is_available():
            raise ImportError("this torch has no CUDA")
        self.torch, self.np = torch, torch_numpy
        self.compile = (lambda f: torch.compile(f, mode="max-autotune-no-cudagraphs")) if compiled else lambda f: f
        self.compile_step = (lambda f: torch.compile(f, mode="reduce-overhead")) if compiled else lambda f: f
        self.put, self.copy = lambda x: torch.from_numpy(x).cuda(), lambda x: x.clone()
        self.wait = lambda out: torch.cuda.synchronize()

    def step(self, loss):
        torch = self.torch

        class Arange:   # positions on the card, as the loss asks for them
            def __getattr__(_, name):
                return (lambda n: torch.arange(n, device="cuda")) if name == "arange" else getattr(self.np, name)

        def step(layers, x, labels):
            flat = [p.detach().requires_grad_() for layer in layers for p in layer]
            value = loss(Arange(), list(zip(flat[::2], flat[1::2])), x, labels)
            gradients = torch.autograd.grad(value, flat)
            new = [p.detach() - 0.05 * g for p, g in zip(flat, gradients)]
            return value.detach(), list(zip(new[::2], new[1::2]))
        return self.compile_step(step)


class Jax:
    def __init__(self):
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")   # it would take most of the card's memory
        import jax

        if jax.default_backend() != "gpu":
            raise ImportError("this JAX has no GPU")
        jax.config.update("jax_default_matmul_precision", "highest")   # else products are rounded to 10 bits
        self.jax, self.np, self.compile, self.put = jax, jax.numpy, jax.jit, jax.device_put
        self.wait, self.copy = jax.block_until_ready, lambda x: jax.numpy.array(x, copy=True)

    def step(self, loss):
        def step(layers, x, labels):
            value, gradients = self.jax.value_and_grad(lambda layers: loss(self.np, layers, x, labels))(layers)
            return value, descend(layers, gradients)
        return self.jax.jit(step)


class CuPy:
    def __init__(self):
        cupy = importlib.import_module("cupy")
        self.np, self.compile, self.put, self.copy = cupy, lambda f: f, cupy.asarray, lambda x: x.copy()
        self.wait = lambda out: cupy.cuda.Device().synchronize()


MAKE = {"jitnet": Jitnet, "torch": Torch, "torch.compile": lambda: Torch(compiled=True), "jax": Jax, "cupy": CuPy}


# ---- Cases: (name, function(np, *arrays), arrays(n), bytes moved or operations, unit)

def normalize(np, x):
    d = x - np.mean(x, axis=1, keepdims=True)
    return d / np.sqrt(np.mean(d * d, axis=1, keepdims=True) + 1e-5)


def softmax(np, x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def cases(n, edge, batches):
    """The cases for about n floats, products of matrices with that edge, and training steps of those batch sizes."""
    rng, rows = numpy.random.default_rng(0), max(1, n // 4096)
    matrix = rng.standard_normal((rows, 4096), dtype="float32")
    vector = matrix.reshape(-1)
    x, w, b = (rng.standard_normal(s, dtype="float32") for s in ((edge, edge), (edge, edge), (edge,)))
    both, read, small = 2 * matrix.nbytes, matrix.nbytes, [numpy.ones(8, "float32")] * 3
    flops = 2 * edge ** 3
    yield "elementwise chain", lambda np, x: np.tanh(x) * 0.5 + np.exp(-x * x), [vector], both, "bytes"
    yield "sum of all", lambda np, x: np.sum(x), [vector], read, "bytes"
    yield "sum of rows", lambda np, x: np.sum(x, axis=1), [matrix], read, "bytes"
    yield "sum of 4 long rows", lambda np, x: np.sum(x, axis=1), [matrix.reshape(4, -1)], read, "bytes"
    yield "sum of columns", lambda np, x: np.sum(x, axis=0), [matrix], read, "bytes"
    yield "softmax of rows", softmax, [matrix], both, "bytes"
    yield "softmax of 4 long rows", softmax, [matrix.reshape(4, -1)], both, "bytes"
    yield "layer norm of rows", normalize, [matrix], both, "bytes"
    yield "transpose", lambda np, x: x.T + 1.0, [matrix], both, "bytes"
    yield f"product {edge}", lambda np, x, w: x @ w, [x, w], flops, "flops"
    yield f"product {edge}, bias, relu", lambda np, x, w, b: np.maximum(x @ w + b, 0.0), [x, w, b], flops, "flops"
    yield SMALL, lambda np, x, y, z: x * y + z, small, 0, ""
    yield CAPTURED, lambda np, x, w: np.tanh(np.tanh(x @ w) @ w), [numpy.ones((8, 8), "float32")] * 2, 0, ""
    for batch in batches:
        yield f"{STEP}, batch {batch}", mlp_loss, mlp_inputs(rng, batch, 784, 128, 64, 10), 0, "step"
