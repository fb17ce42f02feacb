"""Functions and arrays whose GPU kernels are looked at, assembled and simulated.

As a program, under NUMBA_ENABLE_CUDASIM=1: runs every case in the simulator and prints what differs from NumPy, as JSON.
"""
import json
import sys

import numpy as np

from jitnet import grad
from jitnet.codegen import cuda_rows
from jitnet.compile import compile_graph
from jitnet.passes import split
from jitnet.source_cuda import cuda_source_text
from jitnet.testing_compiled import LOOSE, assert_agree, graph_of, random_array
from jitnet.types import BF16, F16

F = random_array((33, 45), np.float32, 1)
D = random_array((6, 7), np.float64, 2)
V = random_array((2500,), np.float32, 3)
I = random_array((9, 5), np.int32, 4)
B = random_array((40,), np.bool_, 5)
PLACES = np.array([3, 0, -1, 32, 3, 7])


def chain(x, y):
    return np.tanh(x) * y + np.float32(2.5), x > y


def update(x, v):
    y = x.copy()
    y[1:4, ::2] = v
    return y


MAPS = {
    "chain": (chain, V, V[::-1].copy()),
    "doubles": (lambda x: x * x + 1, np.arange(1100.0)),
    "bytes": (lambda b: ~b, B),
    "mixed": (lambda x, d: x * d, D.astype(np.float32), D),
    "bias": (lambda x, b: np.maximum(x + b, 0), F, F[0]),
    "bias_of_long_rows": (lambda x, b: np.maximum(x + b, 0), random_array((3, 702), np.float32, 22),
                          random_array((702,), np.float32, 23)),
    "long_rows_picked": (lambda x, i: x[i], random_array((4, 401), np.float32, 24), PLACES % 4),
    "columns": (lambda x, c: x * c[:, None], F[:, :44].copy(), F[:, 0].copy()),
    "reversed": (lambda x: x[::-1] + x, V),
    "turned": (lambda x: x.T * 2, F),
    "turned_narrow": (lambda x: x.T + x[:3].sum(), random_array((300, 3), np.float32, 24)),
    "turned_wide": (lambda x, y: x.T * 2 + y[:, None], random_array((5, 290), np.float32, 25), V[:290].copy()),
    "pixels_turned": (lambda x: np.transpose(x, (0, 3, 1, 2)) / 2, random_array((2, 9, 31, 3), np.float32, 27)),
    "turned_batch": (lambda x: np.swapaxes(x, 1, 2) + 1, random_array((3, 34, 5), np.float32, 6)),
    "turned_sum": (lambda x: x + x.T, F[:33, :33].copy()),
    "rows_picked": (lambda x, i: x[i], F, PLACES),
    "elements_picked": (lambda x, i: x[i] * 2, V, PLACES),
    "columns_picked": (lambda x, i: x[:, i], F, PLACES),
    "slices": (lambda x: x[1:, 2:] - x[:-1, :-2], F),
    "positions": (lambda x: x + np.arange(45), F),
    "update": (update, F, F[1:4, ::2] * 2),
    "joined": (lambda x, y: np.concatenate([x, y], axis=1), I, I + 1),
    "scalar": (lambda x, s: x[0, 0] * s, F, np.float32(3)),
    "integers": (lambda i: (i // 7) ** 2 % 5, I),
    "empty": (lambda x: x * 2, np.zeros((0, 4), np.float32)),
    "halves": (lambda x, y: x * y + 1, random_array((2100,), F16, 14), random_array((2100,), F16, 15)),
    "brain_halves": (lambda x: np.exp(x), random_array((3, 20), BF16, 16)),
    "many_numbers": (lambda x: sum((x[k:k + 8] * np.float32(k + 0.5) for k in range(40)), x[:8]), V[:64].copy()),
}


def softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def layer_norm(x, g, b):
    d = x - x.mean(axis=-1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + np.float32(1e-5)) * g + b


def log_sum_exp(x):
    m = np.max(x, axis=1, keepdims=True)
    return np.log(np.sum(np.exp(x - m), axis=1)) + m[:, 0]


LONG = random_array((2, 1100), np.float32, 7)
REDUCTIONS = {
    "row_sums": (lambda x: (x * x).sum(axis=1), F),
    "row_sums_f64": (lambda x: x.sum(axis=1), D),
    "row_sums_of_short_rows": (lambda x: x.sum(axis=1), F[:, :3].copy()),
    "row_sums_of_long_rows": (lambda x: x.sum(axis=1), LONG),
    "row_extremes": (lambda i: (i.max(axis=1), i.min(axis=1)), I),
    "row_any_all": (lambda x: ((x > 2).any(axis=1), (x > -2).all(axis=1)), F[:11]),
    "row_products": (lambda x: x.prod(axis=1), D),
    "bytes_max": (lambda x: x.max(axis=1), random_array((5, 60), np.int8, 8)),
    "column_sums": (lambda x: x.sum(axis=0), F),
    "column_extremes": (lambda x: (x.max(axis=0), x.argmin(axis=0)), F),
    "column_any": (lambda x: (x > 2).any(axis=0), F),
    "sum_middle": (lambda x: x.sum(axis=1), random_array((3, 7, 5), np.float32, 9)),
    "sum_outer_inner": (lambda x: x.sum(axis=(0, 2)), random_array((4, 3, 21), np.float32, 10)),
    "sum_outer_middle": (lambda x: x.sum(axis=(0, 2)), random_array((4, 3, 5, 6), np.float32, 11)),
    "sum_of_three_axes": (lambda x: x.sum(axis=(0, 2, 4)), random_array((3, 2, 5, 2, 7), np.float32, 18)),
    "empty_axes": (lambda x: x.sum(axis=(0, 2)), np.zeros((4, 3, 0), np.float32)),
    "total": (lambda x: x.sum(), F),
    "total_of_many": (lambda x: (x * x).sum(), random_array((2600,), np.float32, 12)),
    "column_sums_of_many": (lambda x: x.sum(axis=0), random_array((150, 20), np.float32, 13)),
    "halves": (lambda x, y: (np.tanh(x) * y + 0.5, np.where(x > y, x, 2), np.nextafter(x, y), x.astype(np.float64)),
               random_array((7, 33), F16, 18), random_array((7, 33), F16, 19)),
    "bfloats": (lambda x, d: (np.exp(x) - x, x.T * 3, d.astype(x.dtype), d.astype(np.float16), x.astype(np.int32)),
                random_array((6, 7), BF16, 20), D),
    "half_softmax": (softmax, random_array((5, 70), F16, 21)),
    "half_sums": (lambda x: x.sum(axis=1), random_array((5, 70), BF16, 17)),
    "softmax_not_kept": (softmax, F[:11]),
    "layer_norm_not_kept": (layer_norm, F[:11], F[0], F[1]),
    "argmax": (lambda x: x.argmax(axis=1), F[:11]),
    "softmax": (softmax, F),
    "softmax_of_long_rows": (softmax, LONG),
    "softmax_down": (lambda x: softmax(x, 0), F),
    "log_sum_exp": (log_sum_exp, F[:11]),
    "layer_norm": (layer_norm, F[:11], F[0], F[1]),
    "moments": (lambda x: (x.mean(axis=0), x.std(axis=0)), F),
    "empty_sums": (lambda x: (x.sum(axis=1), x.sum(axis=0)), np.zeros((4, 0), np.float32)),
    "distances": (lambda x, y: ((x[:, None] - y[None]) ** 2).sum(axis=2), F[:5], F[5:11]),
}


def added(x, i, v):
    y = x.copy()
    np.add.at(y, i, v)
    return y


def placed(x, i, v):
    y = x.copy()
    y[i] = v
    return y


PRODUCTS = {
    "product": (lambda x: np.maximum(x @ x.T, 0), F),
}
SCATTERS = {
    "added": (added, V[:40].copy(), PLACES[[0, 1, 4, 5, 0, 1, 1]], V[:7].copy()),
    "added_rows": (added, F, PLACES, F[:6] * 3),
    "added_integers": (added, I, PLACES[[0, 1, 5, 0]], I[:4].copy()),
    "added_bytes": (added, I.astype(np.int8), PLACES[[0, 1, 5, 0]], I[:4].astype(np.int8)),
    "added_in_two_axes": (lambda x, i, j, v: added(x, (i, j), v), F, PLACES.reshape(2, 3), PLACES[[1, 1, 0]], F[:2, :3].copy()),
    "added_columns_of_one": (lambda x, i, v: added(x, (slice(None), i), v), random_array((3, 5, 3, 1), np.float64, 22),
                             np.array(4), random_array((3, 3, 1), np.float64, 23)),   # the innermost axis changes no address
    "added_in_order": (lambda x, i, j, v: added(x, (i, j), v), F, PLACES[[0, 1, 4, 5] * 5], PLACES[[1, 0, 1, 5] * 5],
                       V[:20].copy()),
    "placed": (placed, F, PLACES, F[:6] * 3),
    "placed_columns": (lambda x, i, v: placed(x, (slice(None), i), v), F, PLACES, F[:, :6] * 3),
    "gradient_of_rows": (grad(lambda x, i: (x[i] ** 2).sum()), F, PLACES),
}
CASES = {**MAPS, **REDUCTIONS, **PRODUCTS, **SCATTERS}


def simulated(name: str) -> str:
    """What is wrong with the values of a case in the simulator; empty when they are right."""
    function, *arrays = CASES[name]
    scope: dict = {}
    limit = cuda_rows.MOST_BYTES
    cuda_rows.MOST_BYTES = 0 if name.endswith("_not_kept") else limit   # as if the rows were too long for shared memory
    exec(cuda_source_text("case", compile_graph(graph_of(function, *arrays))), scope)
    cuda_rows.MOST_BYTES = limit
    found = scope["case"](*[a.copy() for a in arrays])
    wanted = function(*[a.copy() for a in arrays])
    found, wanted = ([np.asarray(a) for a in (r if isinstance(r, tuple) else (r,))] for r in (found, wanted))
    try:
        assert_agree(found, wanted, LOOSE)
    except AssertionError as error:
        return str(error) or "differs"
    return ""


def main() -> None:
    results = {}
    split.CHUNK = split.COLUMN_CHUNK = 1024   # several chunks of few elements
    np.seterr(all="ignore")
    for name in sys.argv[1:] or CASES:
        try:
            results[name] = simulated(name)
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(results))


if __name__ == "__main__":
    main()
