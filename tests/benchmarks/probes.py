"""Measures that are more than a call in a loop. Run inside a worker: each takes it and returns plain data."""
import gc
import time


def new_batch(worker, case, dims, batches):
    """Seconds of the first call on each batch size never seen, and the kernels compiled for all of them."""
    import numpy as np

    from frameworks import map_tree
    framework, record = worker.framework, worker.cases[case]
    function = framework.function(record)
    rng = np.random.default_rng(3)

    def run(batch):
        inputs = map_tree(framework.array, record.inputs(rng, batch, *dims))
        start = time.perf_counter()
        result = function(*inputs)
        if framework.wait:
            framework.wait(result)
        return time.perf_counter() - start
    for _ in range(3):
        run(64)
    before = framework.compiles()
    times = [run(batch) for batch in batches]
    compiles = None if before is None else framework.compiles() - before
    return {"first": float(np.median(times)), "best": min(times), "worst": max(times), "compiles": compiles}


def chain_function(np, length):
    """A function of x with `length` array operations, each needing the one before."""
    def chain(x):
        y = x
        for k in range(length // 4):
            y = np.sin(y) * 0.9
            y = y + x
            y = np.maximum(y, -1.0 - k * 1e-3)
        return y
    return chain


def chain(worker, length):
    """Of a chain of operations, seconds: `cold` to the program with nothing compiled before, `lower` the same once more with
    the native kernels at hand (None where the framework keeps none), `first` from the program to the first result."""
    import numpy as np
    framework = worker.framework
    x = framework.array(np.linspace(-1, 1, 1000, dtype=np.float32))
    gc.collect()
    function = framework.compile(chain_function(framework.np, length))
    cold = lower(function, x)
    start = time.perf_counter()
    result = function(x)
    if framework.wait:
        framework.wait(result)
    first = time.perf_counter() - start
    again, before = None, framework.compiles()
    if before is not None:
        again = min(lower(framework.compile(chain_function(framework.np, length)), x) for _ in range(3))
        assert framework.compiles() == before, "kernels of the same chain were compiled again"
    return {"length": length, "cold": cold, "lower": again, "first": first}


def lower(function, x):
    """Seconds of everything up to the program (in JAX, which compiles later, up to the lowered module)."""
    start = time.perf_counter()
    function.lower(x)
    return time.perf_counter() - start


def memory(worker, case, dims):
    """Bytes by which a call raises this process's peak resident memory beyond its inputs and outputs (Linux only)."""
    import numpy as np

    from frameworks import leaves, map_tree
    framework, record = worker.framework, worker.cases[case]
    function = framework.function(record)
    small = map_tree(framework.array, record.inputs(np.random.default_rng(3), *[max(1, n // 8) for n in dims]))
    function(*small)                             # compiles and starts threads, outside the measure
    inputs = map_tree(framework.array, record.inputs(np.random.default_rng(3), *dims))
    gc.collect()
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")                       # resets the peak to what is resident now
    before = resident("VmRSS")
    result = function(*inputs)
    if framework.wait:
        framework.wait(result)
    grown = resident("VmHWM") - before
    return {"grown": grown, "outputs": sum(framework.to_numpy(x).nbytes for x in leaves(result))}


def resident(field):
    """A memory figure of this process in bytes, from Linux's own account."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))
