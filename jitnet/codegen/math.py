"""Every scalar function that kernels may call, as LLVM IR builders; importing this module fills `scalar.FUNCTIONS`."""
from jitnet.codegen import math_basic, math_exp, math_hyper, math_power, math_random, math_special, math_trig  # noqa: F401
from jitnet.codegen.scalar import CPU, CUDA, FUNCTIONS, TYPES, Scalar, Target, call, define

__all__ = ["CPU", "CUDA", "FUNCTIONS", "TYPES", "Scalar", "Target", "call", "define", "reduce_step"]

def reduce_step(name, dtype, total, x):
    """total + x, total * x, or their maximum or minimum, in the form that LLVM's vectorizer knows as a reduction.

    `reassoc` stands only here: without it a float sum never vectorizes. llvm.maximum propagates NaN;
    `nsz`: which of +0 and -0 wins is left open, as in NumPy's reductions, and saves half of the instructions.
    """
    if name in ("max", "min"):
        if dtype[0] == "f":
            return total.intrinsic(f"llvm.{name}imum", x, flags=("nsz",))
        return call(f"{name}imum", dtype, total, x)
    if dtype[0] == "f":
        build = total.builder.fadd if name == "add" else total.builder.fmul
        return total.new(build(total.value, x.value, flags=("reassoc", "contract")))
    if dtype == "b1":
        return total | x if name == "add" else total & x
    return total + x if name == "add" else total * x
