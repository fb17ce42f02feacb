"""Every name that kernel source may use, with its meaning in plain Python.

`from jitnet.codegen.intrinsics import *` puts the names in scope, and the text of a kernel then runs as Python on a list of
flat NumPy arrays. kernel_scope.py holds the same names for the compiler.
"""
import numpy as np

from jitnet.codegen import memory
from jitnet.codegen.names import DTYPES, REDUCTIONS, SCALAR_FUNCTIONS
from jitnet.types import is_float


def quiet(function):
    """`function` without NumPy's floating-point warnings: kernels give none."""
    def call(*args):
        with np.errstate(all="ignore"):
            return function(*args)
    call.__name__ = getattr(function, "__name__", "call")
    return call


def special(name):
    """The ufunc of that name in scipy.special, imported when first called."""
    def call(*args):
        import scipy.special
        return getattr(scipy.special, name)(*args)
    return call


def sigmoid(x):
    return np.exp(-np.logaddexp(x.dtype.type(0), -x))


def threefry(key, counter):
    from jitnet.ops.random import threefry as op
    return op.body(key, counter)


def fma(x, y, z):
    """x * y + z; rounded once for float32, twice for float64."""
    return type(x)(np.float64(x) * np.float64(y) + np.float64(z))


NUMPY_NAMES = {"f32": "float32", "f64": "float64", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
               "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "b1": "bool",
               "f16": "float16", "bf16": "bfloat16"}
OWN = {"sigmoid": sigmoid, "softplus": lambda x: np.logaddexp(x, type(x)(0)), "fma": fma, "threefry": threefry,
       "lgamma": special("gammaln"), "exp_nonpositive": np.exp,
       "rint": lambda x: np.rint(x) if is_float(x.dtype) else x,
       "rsqrt": lambda x: type(x)(1) / np.sqrt(x), "ldexp": lambda x, n: np.ldexp(x, np.int32(n)),
       "to_bits": lambda x: x.view(f"i{x.itemsize}"), "from_bits": lambda n: n.view(f"f{n.itemsize}")}


def make_cast(dtype):
    kind = np.dtype(NUMPY_NAMES[dtype])
    return quiet(lambda x: np.asarray(x).astype(kind)[()])


PYTHON_SCOPE = {dtype: make_cast(dtype) for dtype in DTYPES}
PYTHON_SCOPE |= {f"buffer_{dtype}": lambda buffers, i: buffers[i] for dtype in DTYPES}
PYTHON_SCOPE |= {f"{name}_": quiet(OWN.get(name) or getattr(np, name, None) or special(name)) for name in SCALAR_FUNCTIONS}
COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
PYTHON_SCOPE |= {f"{name}_reduce_": quiet(COMBINE[name]) for name in REDUCTIONS}
PYTHON_SCOPE["select_"] = lambda condition, yes, no: yes if condition else no

PYTHON_SCOPE["masked_"] = lambda: None

PYTHON_SCOPE |= memory.python_scope(NUMPY_NAMES)

globals().update(PYTHON_SCOPE)
__all__ = sorted(PYTHON_SCOPE)  # noqa: PLE0605
