"""The fused kernels: elementwise chains, reductions, normalizations, stencils, movement. float32 throughout."""
import math

from cases import CUBE, IN_CACHE, OUT_OF_CACHE, TEST, Case, normal

FUSED = "fused kernels"


def same(*dims):
    return dims


def columns(*dims):
    return dims[-1:]


# ---- elementwise chains

def axpy(np, x, y):
    return x * 2.5 + y


def polynomial(np, x):
    total = 0.125 * x
    for c in (-0.5, 0.25, 1.5, -0.75, 0.3, -1.25, 2.0):
        total = (total + c) * x
    return total + 1.0


def tanh_chain(np, x, y):
    t = np.tanh(x * y + 3)
    return t * t + x


def ten_operations(np, x):
    a = x * 0.5 + 1.0
    b = a * a - x
    c = np.maximum(b, 0.25) * a
    return (c - b) * 0.75 + a * 2.0


def gelu(np, x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def silu(np, x):
    return x / (1 + np.exp(-x))


def piecewise(np, x):
    return np.where(x > 0, np.log1p(np.abs(x)), x * x)


def rotation(np, x, angle):
    return x * np.cos(angle) - np.sin(angle)


def standardize(np, x, mean, scale, shift):
    return (x - mean) * scale + shift


def erf_of(np):
    """erf in the namespace's own library: NumPy has none, SciPy's is a ufunc and reaches traced arrays too."""
    name = np.__name__
    if name.startswith("jax"):
        from jax.scipy.special import erf
    elif name == "torch_numpy":
        from torch import erf
    elif name.startswith("mxnet"):
        from mxnet.numpy_extension import erf
    else:
        from scipy.special import erf
    return erf


def black_scholes(np, spot, strike, years, volatility, erf=None):
    erf = erf or erf_of(np)
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (0.02 + 0.5 * volatility * volatility) * years) / spread
    d2 = d1 - spread
    half = math.sqrt(0.5)
    call = 0.5 * spot * (1 + erf(d1 * half))
    return call - 0.5 * strike * np.exp(-0.02 * years) * (1 + erf(d2 * half))


def options(rng, *dims):
    ranges = ((50, 150), (50, 150), (0.1, 2.0), (0.1, 0.5))
    return tuple(rng.uniform(low, high, dims).astype("float32") for low, high in ranges)


def torch_black_scholes(torch):
    import torch_numpy
    return lambda *inputs: black_scholes(torch_numpy, *inputs, erf=torch.erf)


ELEMENTWISE = [
    Case("a x + y", FUSED, axpy, normal(same, same), memory_bound=True),
    Case("10 operations", FUSED, ten_operations, normal(), memory_bound=True),
    Case("standardize by row and column vectors", FUSED, standardize,
         normal(same, columns, lambda n, m: (n, 1), columns), memory_bound=True),
    Case("polynomial of degree 8", FUSED, polynomial, normal(), memory_bound=True, tolerance=1e-4),
    Case("piecewise log1p", FUSED, piecewise, normal()),
    Case("tanh chain", FUSED, tanh_chain, normal(same, same)),
    Case("gelu", FUSED, gelu, normal(),
         own={"torch": lambda torch: lambda x: torch.nn.functional.gelu(x, approximate="tanh")}),
    Case("silu", FUSED, silu, normal(), own={"torch": lambda torch: torch.nn.functional.silu}),
    Case("sin and cos", FUSED, rotation, normal(same, same)),
    Case("Black-Scholes", FUSED, black_scholes, options, own={"torch": torch_black_scholes}, tolerance=1e-4),
]

# ---- reductions on every axis


def reduction(name, axis, kind, sizes=None, tolerance=2e-5):
    """A case of one of NumPy's reductions along `axis`."""
    where = {None: "of all", 0: "down the columns", 1: "along the rows"}[axis] if sizes is None else "of the middle axis"
    extra = {} if sizes is None else {"sizes": sizes}
    return Case(f"{name} {where}", FUSED, lambda np, x: getattr(np, name)(x, axis=axis), normal(),
                memory_bound=kind == "light", tolerance=tolerance, **extra)


def squared_error(np, x, y):
    return np.sum((x - y) * (x - y))


REDUCTIONS = [
    *(reduction("sum", axis, "light", tolerance=2e-4) for axis in (None, 0, 1)),
    reduction("sum", 1, "light", CUBE, tolerance=2e-4),
    reduction("mean", 0, "light", tolerance=2e-4),
    *(reduction("max", axis, "light") for axis in (None, 0, 1)),
    reduction("max", 1, "light", CUBE),
    *(reduction("var", axis, "heavy", tolerance=2e-4) for axis in (None, 0, 1)),
    reduction("argmax", 1, "heavy"),
    Case("sum of squared differences", FUSED, squared_error, normal(same, same), memory_bound=True, tolerance=2e-4),
]

# ---- several reductions in one kernel


def softmax(np, x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def softmax_columns(np, x):
    e = np.exp(x - np.max(x, axis=0, keepdims=True))
    return e / np.sum(e, axis=0, keepdims=True)


def log_softmax(np, x):
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def logsumexp(np, x):
    top = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=-1)) + top[:, 0]


def layer_norm(np, x, weight, bias):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * weight + bias


def rms_norm(np, x, weight):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) * weight


def pairwise(np, x, y):
    difference = x[:, None, :] - y[None, :, :]
    return np.sqrt(np.sum(difference * difference, axis=-1))


def torch_layer_norm(torch):
    return lambda x, weight, bias: torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias)


def torch_distances(torch):
    return lambda x, y: torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


NORMALIZATIONS = [
    Case("softmax along the rows", FUSED, softmax, normal(),
         own={"torch": lambda torch: lambda x: torch.softmax(x, -1), "mxnet": lambda mx: lambda x: mx.npx.softmax(x, axis=-1)}),
    Case("softmax down the columns", FUSED, softmax_columns, normal(),
         own={"torch": lambda torch: lambda x: torch.softmax(x, 0), "mxnet": lambda mx: lambda x: mx.npx.softmax(x, axis=0)}),
    Case("log-softmax", FUSED, log_softmax, normal(),
         own={"torch": lambda torch: lambda x: torch.log_softmax(x, -1),
              "mxnet": lambda mx: lambda x: mx.npx.log_softmax(x, axis=-1)}),
    Case("log-sum-exp", FUSED, logsumexp, normal(), own={"torch": lambda torch: lambda x: torch.logsumexp(x, -1)}),
    Case("layer norm", FUSED, layer_norm, normal(same, columns, columns), tolerance=1e-4,
         own={"torch": torch_layer_norm, "mxnet": lambda mx: lambda x, w, b: mx.npx.layer_norm(x, w, b, axis=-1, eps=1e-5)}),
    Case("RMS norm", FUSED, rms_norm, normal(same, columns), tolerance=1e-4),
    Case("pairwise distances", FUSED, pairwise, normal(same, same), own={"torch": torch_distances},
         sizes={TEST: (7, 3), IN_CACHE: (256, 8), OUT_OF_CACHE: (4096, 8)}),
]

# ---- stencils and movement


def heat(np, u):
    middle = u[1:-1, 1:-1]
    return middle + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * middle)


def blur(np, x):
    return 0.0625 * (x[:-4] + x[4:]) + 0.25 * (x[1:-3] + x[3:-1]) + 0.375 * x[2:-2]


def symmetric(np, x, y):
    return 0.5 * (x + y.T)


def rows_of(np, table, index):
    return table[index]


def scaled_rows_of(np, table, index, scale):
    return table[index] * scale


def table_and_index(rng, rows, width, picked):
    table = rng.standard_normal((rows, width), dtype="float32")
    return table, rng.integers(0, rows, picked)


def table_index_scale(rng, rows, width, picked):
    return (*table_and_index(rng, rows, width, picked), rng.standard_normal(width, dtype="float32"))


ROWS = {TEST: (9, 4, 5), IN_CACHE: (1024, 64, 1024), OUT_OF_CACHE: (65536, 64, 262144)}

MOVEMENT = [
    Case("heat stencil, 5 points", FUSED, heat, normal(), memory_bound=True),
    Case("blur of a line, 5 taps", FUSED, blur, normal(), memory_bound=True,
         sizes={TEST: (50,), IN_CACHE: (65536,), OUT_OF_CACHE: (1 << 24,)}),
    Case("transpose", FUSED, lambda np, x: x.T, normal(), memory_bound=True,
         own={"numpy": lambda np: lambda x: np.ascontiguousarray(x.T), "torch": lambda torch: lambda x: x.T.contiguous()}),
    Case("transpose of the last two of three axes", FUSED, lambda np, x: x.transpose(0, 2, 1), normal(), CUBE,
         memory_bound=True,
         own={"numpy": lambda np: lambda x: np.ascontiguousarray(x.transpose(0, 2, 1)),
              "torch": lambda torch: lambda x: x.permute(0, 2, 1).contiguous()}),
    Case("transpose that turns three axes", FUSED, lambda np, x: x.transpose(2, 0, 1), normal(), CUBE, memory_bound=True,
         own={"numpy": lambda np: lambda x: np.ascontiguousarray(x.transpose(2, 0, 1)),
              "torch": lambda torch: lambda x: x.permute(2, 0, 1).contiguous()}),
    Case("sum with a transpose", FUSED, symmetric, normal(same, lambda n, m: (m, n)), memory_bound=True),
    Case("gather of rows", FUSED, rows_of, table_and_index, ROWS),
    Case("gather of rows, scaled", FUSED, scaled_rows_of, table_index_scale, ROWS),
]

CASES = ELEMENTWISE + REDUCTIONS + NORMALIZATIONS + MOVEMENT
