"""Every scalar function that kernels may call, as LLVM IR builders; importing this module fills `scalar.FUNCTIONS`."""
from jitnet.codegen import math_exp, math_hyper, math_trig  # noqa: F401
from jitnet.codegen.scalar import CPU, FUNCTIONS, TYPES, Scalar, Target, call, define

__all__ = ["CPU", "FUNCTIONS", "TYPES", "Scalar", "Target", "call", "define", "reduce_step"]

SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64", "b1")


@define("sqrt", "f32", "f64")
def sqrt(x):
    return x.sqrt()


@define("fma", "f32", "f64")
def fma(x, y, z):
    return x.fma(y, z)


@define("maximum", "f32", "f64")
def maximum(x, y):
    """NaN if either is; of zeros of both signs the second, as NumPy's vector code. Three instructions."""
    return x.ne(x).where(x, (x > y).where(x, y))


@define("minimum", "f32", "f64")
def minimum(x, y):
    return x.ne(x).where(x, (x < y).where(x, y))


for _name, _signed, _unsigned in (("maximum", "llvm.smax", "llvm.umax"), ("minimum", "llvm.smin", "llvm.umin")):
    define(_name, *SIGNED)(lambda x, y, op=_signed: x.intrinsic(op, y))
    define(_name, *UNSIGNED)(lambda x, y, op=_unsigned: x.intrinsic(op, y))


def reduce_step(name, dtype, total, x):
    """total + x, total * x, or their maximum or minimum, in the form that LLVM's vectorizer knows as a reduction.

    `reassoc` stands only here: without it a float sum never vectorizes. llvm.maximum propagates NaN.
    """
    if name in ("max", "min"):
        if dtype[0] == "f":
            return total.intrinsic(f"llvm.{name}imum", x)
        return call(f"{name}imum", dtype, total, x)
    if dtype[0] == "f":
        build = total.builder.fadd if name == "add" else total.builder.fmul
        return total.new(build(total.value, x.value, flags=("reassoc", "contract")))
    if dtype == "b1":
        return total | x if name == "add" else total & x
    return total + x if name == "add" else total * x
