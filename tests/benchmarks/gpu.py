"""`python tests/benchmarks/gpu.py` measures jitnet on the first GPU, against what else is installed, and writes docs/gpu.md.

Every framework runs in this process on the same card, one after the other, with arrays that are on the card already. A time is
that of many calls started one after the other and one wait at the end, per call: the best of several such runs. The page is
written anew after every measurement, jitnet's own come first, and peers have --minutes: whatever ends the run, what was
measured is there.
"""
import argparse
import datetime
import importlib
import os
import pathlib
import re
import sys
import time

import numpy

import jitnet
from jitnet.runtime.cuda.driver import driver

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cases_network import descend, mlp_inputs, mlp_loss

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
NAMES = ("jitnet", "torch", "torch.compile", "jax", "cupy")
LEAST = 0.05        # seconds of one run
RUNS = 7


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
    yield "call of a small kernel", lambda np, x, y, z: x * y + z, small, 0, ""
    for batch in batches:
        yield f"MLP step, batch {batch}", mlp_loss, mlp_inputs(rng, batch, 784, 128, 64, 10), 0, "step"


def mapped(function, tree):
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, t) for t in tree)
    return function(tree)


def seconds(framework, call, least=LEAST, runs=RUNS):
    """Seconds of one call."""
    framework.wait(call())
    count, best = 1, float("inf")
    while True:
        start = time.perf_counter()
        for _ in range(count):
            out = call()
        framework.wait(out)
        took = time.perf_counter() - start
        if took >= least or count >= 1 << 16:
            break
        count = max(2 * count, int(count * least / max(took, 1e-6)))
    for _ in range(runs):
        start = time.perf_counter()
        for _ in range(count):
            out = call()
        framework.wait(out)
        best = min(best, (time.perf_counter() - start) / count)
    return best


def measured(framework, case, least, runs):
    """Seconds of one call of a case, or why there are none."""
    _, function, arrays, _, unit = case
    try:
        given = mapped(framework.put, list(arrays))
        if unit == "step":
            compiled = framework.step(function)
        else:
            compiled = framework.compile(lambda *xs, f=function, np=framework.np: f(np, *xs))
        return seconds(framework, lambda: compiled(*given), least, runs)
    except Exception as error:  # what cannot do a case does not end the run
        return reason(error)


def reason(error):
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def copy_bandwidth(framework, n, least, runs):
    """Bytes read and written per second by a framework's copy of n floats; 0 where it cannot."""
    try:
        x = framework.put(numpy.ones(n, "float32"))
        return 2 * 4 * n / seconds(framework, lambda: framework.copy(x), least, runs)
    except Exception as error:
        print("copy:", reason(error), flush=True)
        return 0.0


# ---- The page

def driver_text():
    """`driver 580.65.06 for CUDA 13.0`; without its release where the system does not tell."""
    path = pathlib.Path("/proc/driver/nvidia/version")
    release = re.search(r" \d{3}\.[\d.]+", path.read_text()) if path.exists() else None
    return f"driver{release.group() if release else ''} for CUDA {'.'.join(map(str, driver().version()))}"


def page(command, rows, results, bandwidth, absent):
    """docs/gpu.md: rows are cases, results are {case: {framework: seconds, or why not}}."""
    card, found = jitnet.gpu(0).properties, [who for who in NAMES if any(who in row for row in results.values())]
    versions = {name: importlib.import_module(name).__version__ for name in ("jitnet", "torch", "jax", "cupy")
                if any(who.startswith(name) for who in found)}
    product = max((work / t for name, _, _, work, unit in rows if unit == "flops" for t in results[name].values()
                   if isinstance(t, float)), default=0.0)
    lines = ["# GPU", "",
             f"Written by `{command}` on {datetime.date.today()}; do not edit.", "",
             f"- Card: {card.name}, compute capability {'.'.join(map(str, card.compute_capability))}, "
             f"{card.multiprocessors} multiprocessors; {driver_text()}.",
             f"- {', '.join(f'{k} {v}' for k, v in versions.items())}.",
             f"- Ceilings, measured in the same run: copy {bandwidth / 1e12:.2f} TB/s; float32 product {product / 1e12:.1f} "
             "TFLOP/s.",
             "- Times in microseconds per call. *Of ceiling*: jitnet's share of the ceiling. *Ratio*: the best peer's time "
             "over jitnet's.", "",
             f"| case | {' | '.join(found)} | of ceiling | ratio |", f"|---|{'---|' * (len(found) + 2)}"]
    for name, _, _, work, unit in rows:
        row = results[name]
        cells = [f"{1e6 * row[who]:.1f}" if isinstance(row.get(who), float) else "-" for who in found]
        ours, ceiling = row.get("jitnet"), {"bytes": bandwidth, "flops": product}.get(unit)
        share = f"{work / ours / ceiling:.0%}" if ceiling and isinstance(ours, float) else ""
        peers = [t for who, t in row.items() if who != "jitnet" and isinstance(t, float)]
        ratio = f"{min(peers) / ours:.2f}" if peers and isinstance(ours, float) else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {share} | {ratio} |")
    failures = [f"- {name}, {who}: {why}" for name, row in results.items() for who, why in row.items() if isinstance(why, str)]
    failures += [f"- {who}: {why}" for who, why in absent.items()]
    return "\n".join([*lines, *(["", "Not measured:", "", *failures] if failures else [])]) + "\n"


def framework_of(name, absent):
    """A framework on the card; None when it is not installed, sees no card or does not start."""
    try:
        return MAKE[name]()
    except ImportError:
        return None
    except Exception as error:
        absent[name] = reason(error)
        return None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small arrays and short runs: to see that everything runs")
    parser.add_argument("--minutes", type=float, default=8, help="after so many, peers start no further measurement")
    parser.add_argument("--output", type=pathlib.Path, default=PAGE)
    options = parser.parse_args(arguments)
    jitnet.gpu(0)
    least, runs = (1e-4, 1) if options.quick else (LEAST, RUNS)
    sizes = (1 << 14, 64, (8,)) if options.quick else (1 << 28, 8192, (64, 1024))
    command = "python tests/benchmarks/gpu.py" + (" --quick" if options.quick else "")
    start, rows, bandwidth, absent = time.monotonic(), list(cases(*sizes)), 0.0, {}
    results = {name: {} for name, *_ in rows}
    for who in NAMES:
        framework = framework_of(who, absent)
        if framework is None:
            continue
        bandwidth = max(bandwidth, copy_bandwidth(framework, sizes[0], least, runs))
        for case in rows:
            late = who != "jitnet" and time.monotonic() - start > 60 * options.minutes
            found = results[case[0]][who] = "no time left" if late else measured(framework, case, least, runs)
            print(f"{case[0]}, {who}: {f'{1e6 * found:.1f} us' if isinstance(found, float) else found}", flush=True)
            options.output.write_text(page(command, rows, results, bandwidth, absent))
    options.output.write_text(page(command, rows, results, bandwidth, absent))


if __name__ == "__main__":
    main()
