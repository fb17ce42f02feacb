"""PTX of scalar functions, run on this machine: each instruction as the instruction of LLVM that means the same.

    exp = on_gpu("exp", "f32")      # the PTX of a GPU kernel that computes exp, read back
    exp(x)                          # what a GPU gives, bit for bit

What a GPU computes is laid down by PTX: `fma.rn.f32` rounds once, `sqrt.rn.f64` to the nearest, shifts by more than the width
give zero. What is left to the device is the reciprocal that some divisions begin with, which may be an ulp off: `ulps` says how
far it is here. Other approximations are an error. A NaN has whatever bits.
"""
from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from .codegen.math import FUNCTIONS
from .codegen.names import SCALAR_FUNCTIONS
from .runtime import cuda_compile
from .runtime import llvm as objects
from .testing_ptx_ir import llvm_of
from .types import DTYPES

LOOP = """
define void @{symbol}({parameters}, i64 %n) {{
  br label %loop
loop:
  %i = phi i64 [0, %0], [%next, %body]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
{addresses}
  call void @one({given})
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}}
"""


def source_of(expression: str, given: Sequence[str], result: str) -> str:
    """The source of a GPU kernel that computes an expression of the scalars x0, x1, ... of those dtypes once."""
    parameters = [f'a{k}: "{dtype}*"' for k, dtype in enumerate(given)] + [f'out0: "{result}*"']
    loads = "".join(f"    x{k} = a{k}[0]\n" for k in range(len(given)))
    return f"def kernel({', '.join(parameters)}):\n{loads}    out0[0] = {expression}\n"


def compiled_ptx(ptx: str, dtypes: Sequence[str], ulps: int = 0) -> Callable:
    """The PTX of such a kernel, as a function of arrays of one shape that gives a new one; dtypes: of arguments and result.

    ulps: how far its approximate reciprocals are off, 1 at most.
    """
    kinds, symbol = [DTYPES[d] for d in dtypes], f"jitnet_ptx_{hashlib.sha256(f'{ulps}{ptx}'.encode()).hexdigest()}"
    addresses = [f"  %at{k} = mul i64 %i, {kind.itemsize}\n  %p{k} = add i64 %x{k}, %at{k}" for k, kind in enumerate(kinds)]
    loop = LOOP.format(symbol=symbol, parameters=", ".join(f"i64 %x{k}" for k in range(len(kinds))),
                       addresses="\n".join(addresses), given=", ".join(f"i64 %p{k}" for k in range(len(kinds))))
    loaded = objects.LoadedObject(objects.emit_object([llvm_of(ptx, "one", ulps) + loop], vectorize=False), (symbol,))
    native = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * (len(kinds) + 1))(loaded.address[symbol])

    def run(*arrays: np.ndarray) -> np.ndarray:
        given = [np.ascontiguousarray(a, kind) for a, kind in zip(arrays, kinds[:-1], strict=True)]
        out = np.empty(given[0].shape, kinds[-1])
        native(*[a.ctypes.data for a in (*given, out)], out.size)
        return out
    run.loaded = loaded   # the code lives as long as this does
    return run


@functools.cache
def on_gpu(name: str, dtype: str, cc: tuple[int, int] = (9, 0)) -> Callable:
    """A scalar function as GPUs of that compute capability compute it."""
    given, result = [dtype] * SCALAR_FUNCTIONS[name][0], FUNCTIONS[name, dtype][1] or dtype
    call = f"{name}_({', '.join(f'x{k}' for k in range(len(given)))})"
    return compiled_ptx(cuda_compile.compile_ptx(source_of(call, given, result), cc), [*given, result])


def same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two arrays of one dtype have the same bits, or both NaN."""
    bits = f"u{a.dtype.itemsize}"
    with np.errstate(invalid="ignore"):
        return (a.view(bits) == b.view(bits)) | (a != a) & (b != b)
