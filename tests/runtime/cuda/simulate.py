"""`NUMBA_ENABLE_CUDASIM=1 python simulate.py`: real CUDA kernels, launched by the runtime, in Numba's simulator.

What stands between the code generator and the runtime is checked here: the order and the bits of parameters, launch shapes,
sizes that come by pointer, kernels in graphs.
"""
import numpy as np

import jitnet
from jitnet.codegen import cuda_writer
from jitnet.codegen.cuda_simulator import simulated
from jitnet.nn.functional import softmax
from jitnet.runtime.cuda import driver, stream
from jitnet.testing_kernels import KernelDriver


class SimulatedDriver(KernelDriver):
    """A GPU of host memory whose kernels run in the simulator."""

    def kernel(self, source, name):
        scope = {}
        exec(source, scope)
        kernel = simulated(scope[name])

        def run(grid, block, shared, arguments):
            kernel[grid, block, 0, shared](*arguments)

        return run


def check(name, function, *arrays, calls=2):
    f = jitnet.jit(function)
    want = f(*arrays)
    there = [jitnet.asarray(a, device="gpu") for a in arrays]
    for _ in range(calls):
        got = f(*there)
    for g, w in zip(jitnet.tree.leaves(got), jitnet.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g.numpy(), w, rtol=2e-6, atol=1e-6, err_msg=name)
    print(name, "agrees")


def many_scalars(x):
    for k in range(40):
        x = x * (1 + k / 100) + k / 7
    return x


def main():
    stream.close_all()
    driver.use(SimulatedDriver())
    x = np.linspace(-2, 2, 21, dtype=np.float32).reshape(3, 7)
    check("map", lambda x: np.tanh(x) * 0.5 + np.float32(2), x)
    check("broadcast", lambda x, y: x * y[:, None] - 1, x, np.arange(3.0))
    check("rows", softmax, x)
    check("several kernels", lambda x: (np.sum(x, axis=0) * 2, np.max(x, axis=1), x.T + 1), x, calls=3)
    check("gather", lambda x, i: x[i] + 1, x, np.array([2, 0, 1, 2]))
    check("loop", lambda x: jitnet.scan(lambda c, row: (c * np.float32(0.5) + row, c), x[0], x), x)
    cuda_writer.MOST_PARAMETERS = 20
    check("sizes by pointer", many_scalars, x)


if __name__ == "__main__":
    main()
