"""One adapter per framework: how it takes arrays, compiles a case's function, and waits for its result.

Read by workers only, each in the environment of its framework; an adapter imports its framework when it is made.
"""
import importlib


def map_tree(f, tree):
    """The same nesting of lists and tuples, with `f` applied to every array."""
    return type(tree)(map_tree(f, part) for part in tree) if isinstance(tree, list | tuple) else f(tree)


def leaves(tree):
    """The arrays of nested lists and tuples, in order."""
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, list | tuple) else [tree]


class Framework:
    """What every adapter starts from: NumPy arrays in, run as they stand, results ready when the call returns."""
    name = module_name = "numpy"
    wait = None                                   # wait(result) returns when the result is computed

    def __init__(self):
        self.module = importlib.import_module(self.module_name)
        self.version = self.module.__version__
        self.setup()

    def setup(self):
        self.np = self.module

    def array(self, x):
        return x

    def to_numpy(self, x):
        import numpy
        return numpy.asarray(x)

    def compile(self, f):
        return f

    def compiles(self):
        """How many kernels were compiled so far; None where the framework does not say."""

    def function(self, case):
        """The case's function of its inputs, in this framework, compiled."""
        maker = case.own.get(self.name) or case.own.get(self.module_name)
        if maker:
            return maker(self.module) if case.as_it_stands else self.compile(maker(self.module))
        np, run = self.np, case.run

        def f(*inputs):
            return run(np, *inputs)
        return self.compile(f)


class NumPy(Framework):
    """NumPy itself."""


class Jitnet(Framework):
    """jitnet: NumPy arrays in, NumPy arrays out, every one freshly allocated."""
    name = module_name = "jitnet"

    def setup(self):
        import numpy
        self.np = numpy

    def compile(self, f):
        return self.module.jit(f)

    def compiles(self):
        return self.module.cache.info().compiles


class Jax(Framework):
    """JAX on the CPU, its own arrays in and out, as shipped."""
    name = module_name = "jax"

    def setup(self):
        import jax.numpy
        self.np = jax.numpy
        self.wait = self.module.block_until_ready

    def array(self, x):
        return self.np.asarray(x)

    def compile(self, f):
        return self.module.jit(f)


class Torch(Framework):
    """torch eager, tensors in and out, no gradients unless a case asks for them, threads as shipped."""
    name = module_name = "torch"

    def setup(self):
        import torch_numpy
        self.np = torch_numpy
        self.module.set_grad_enabled(False)

    def array(self, x):
        return self.module.from_numpy(x.copy())

    def to_numpy(self, x):
        return x.detach().numpy()


class TorchCompile(Torch):
    """The same through torch.compile with its default settings."""
    name = "torch.compile"

    def compile(self, f):
        # All cases share some code objects, and after eight recompiles of one torch goes back to eager: start anew for each.
        self.module.compiler.reset()
        return self.module.compile(f)


class MXNet(Framework):
    """MXNet 1.9.1 with its NumPy-like arrays; operations are queued, so every call waits for its result."""
    name = module_name = "mxnet"

    def setup(self):
        self.module.npx.set_np()
        self.np = self.module.np

    def function(self, case):
        """Programs for MXNet's older arrays run with their rules, the others with those of its NumPy-like arrays."""
        (self.module.npx.reset_np if case.as_it_stands else self.module.npx.set_np)()
        return super().function(case)

    def wait(self, result):
        for leaf in leaves(result):
            leaf.wait_to_read()

    def array(self, x):
        return self.np.array(x, dtype="int32" if x.dtype.kind == "i" else x.dtype)

    def to_numpy(self, x):
        return x.asnumpy()


FRAMEWORKS = {kind.name: kind for kind in (Jitnet, NumPy, Jax, Torch, TorchCompile, MXNet)}
