"""KERNEL_SCOPE: every name that kernel source may use, besides range, with how it is typed and built as LLVM IR."""
from __future__ import annotations

from . import math, memory
from .builtin import ALL_BUFFERS, Buffer, Builtin, is_number, llvm_type, plain, unified
from .cast import cast
from .names import DTYPES, REDUCTIONS, SCALAR_FUNCTIONS


def scalars(builder, args):
    target = math.Target.of(builder.module)
    return [math.Scalar(builder, a, target) for a in args]


def make_buffer(dtype):
    """buffer_<dtype>(buffers, i): buffers[i] as a typed pointer, which stays a pointer throughout."""
    def sign(buffers, i):
        slot = i if isinstance(i, int) else None
        return (Buffer(dtype, slot), (ALL_BUFFERS, i)) if buffers == ALL_BUFFERS else None

    def build(builder, kinds, buffers, i):
        pointer = builder.load(builder.gep(buffers, [i], inbounds=True))
        pointer.set_metadata("invariant.load", builder.module.add_metadata([]))
        return builder.bitcast(pointer, llvm_type(Buffer(dtype, None)))
    return Builtin(f"buffer_{dtype}", 2, sign, build, literal=True)


def make_cast(dtype):
    """f32(x) and its like: NumPy's astype for one element."""
    def build(builder, kinds, x):
        return cast(*scalars(builder, [x]), kinds[0], dtype).value
    return Builtin(dtype, 1, lambda x: (dtype, (plain(x),)) if is_number(x) else None, build)


def make_function(name):
    """name_(x, ...): the function of that name in jitnet.codegen.math, for whatever dtype comes."""
    def sign(*kinds):
        dtype = unified(*kinds)
        if (name, dtype) not in math.FUNCTIONS:
            return None
        return math.FUNCTIONS[name, dtype][1] or dtype, (dtype,) * len(kinds)

    def build(builder, kinds, *args):
        return math.call(name, kinds[0], *scalars(builder, args)).value
    return Builtin(name + "_", SCALAR_FUNCTIONS[name][0], sign, build)


def make_reduction(name):
    """<name>_reduce_(total, x): one step of a reduction, in the form that LLVM vectorizes."""
    def sign(total, x):
        dtype = unified(total, x)
        return None if dtype is None else (dtype, (dtype, dtype))

    def build(builder, kinds, *args):
        return math.reduce_step(name, kinds[0], *scalars(builder, args)).value
    return Builtin(name + "_reduce_", 2, sign, build)


def make_select():
    """select_(condition, yes, no)."""
    def sign(condition, yes, no):
        dtype = unified(yes, no)
        return None if dtype is None or condition != "b1" else (dtype, ("b1", dtype, dtype))

    def build(builder, kinds, condition, yes, no):
        return builder.select(condition, yes, no)
    return Builtin("select_", 3, sign, build)


def make_choice(name):
    """min(a, b) and max(a, b) of int64."""
    def sign(a, b):
        return ("i64", ("i64", "i64")) if unified(a, b, "i64") == "i64" else None

    def build(builder, kinds, *args):
        return math.Target().intrinsic(builder, f"llvm.s{name}", args)
    return Builtin(name, 2, sign, build)


def make_masked():
    """masked_() at the end of a loop's body: its last elements are a vector too, in which those beyond are masked out."""
    def build(builder, kinds):
        builder.block.loop_hint = "masked"   # the block ends with the branch that carries the hint
    return Builtin("masked_", 0, lambda: (None, ()), build)


BUILTINS = [*map(make_cast, DTYPES), *map(make_buffer, DTYPES), *map(make_function, SCALAR_FUNCTIONS),
            *map(make_reduction, REDUCTIONS), make_select(), make_choice("min"), make_choice("max"), make_masked()]
KERNEL_SCOPE = {builtin.name: builtin for builtin in BUILTINS} | memory.builtins()
