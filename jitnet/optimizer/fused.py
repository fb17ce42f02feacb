"""The steps of all parameters as one compiled program, which writes new weights and states where the old ones lie."""
from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ..jit import JitFunction, jit
from ..nd.pending import before_write
from ..operators import find
from ..operators.optimizers import in_32_bits
from ..runtime.array import Array


def step(operator: str, static: tuple, numbers: Sequence[str], weights: Sequence, grads: Sequence, states: Sequence[Sequence],
         values: Sequence[Sequence[float]], rescale_grad: float) -> None:
    """One step of an operator of `jitnet.operators.optimizers` on every weight, in place.

    static: ((parameter, value), ...), compiled in. numbers: names of the parameters that may change from call to call, `values`
    their values for each weight. A weight of 16 bits whose last state has 32 is stepped in 32 bits.
    """
    mixed = tuple([bool(s) and s[-1].dtype == np.float32 and w.dtype == np.float16 for w, s in zip(weights, states)])
    function = program(operator, static, tuple(numbers), tuple(map(len, states)), mixed)
    flat = [s for parts in states for s in parts]
    before_write(*weights, *flat)
    arrays = [*weights, *grads, *flat]
    function(*map(_value, arrays), *[v for row in values for v in row], float(rescale_grad))


def _value(array):
    """What a compiled function takes for an NDArray: its NumPy array, or its buffer on a GPU."""
    data = array._data
    return data if type(data) is np.ndarray else Array(data)


@functools.lru_cache(maxsize=256)
def program(operator: str, static: tuple, numbers: tuple[str, ...], states: tuple[int, ...],
            mixed: tuple[bool, ...]) -> JitFunction:
    """The compiled steps for so many weights: a function of weights, gradients, states, numbers and `rescale_grad`.

    Its arguments stand in one flat row, which is what a compiled function takes fastest.
    """
    body, options, count, width = find(operator).body, dict(static), len(states), len(numbers)

    def update(*row):
        weights, grads, rest = row[:count], row[count:2 * count], row[2 * count:]
        arrays, changing, rescale_grad = rest[:sum(states)], rest[sum(states):-1], rest[-1]
        first = 0
        for k, (weight, grad) in enumerate(zip(weights, grads)):
            own = arrays[first:first + states[k]]
            first += states[k]
            current = dict(zip(numbers, changing[k * width:(k + 1) * width]), rescale_grad=rescale_grad)
            out = (in_32_bits(body) if mixed[k] else body)(weight, grad, *own, **current, **options)
            for old, new in zip((weight, *own), out if isinstance(out, tuple) else (out,), strict=True):
                old[...] = new
    update.__name__ = update.__qualname__ = operator
    return jit(update)
