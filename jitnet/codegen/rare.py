"""A slow exact path for the rare element, inside a loop that stays vectorized.

A branch keeps LLVM from vectorizing a loop, and computing both paths for every element costs too much where one of them is,
say, the reduction of 1e300 modulo pi. `call_rare` emits a call of a scalar function that returns the fast result unless its key
is beyond a limit. The attribute `vector-function-abi-variant` tells the vectorizer of variants for vectors: each
compares all keys at once and returns the fast results, or else walks through its lanes. The price is one call per vector.
"""
import functools

import llvmlite.binding as llvm
from llvmlite import ir

from jitnet.codegen.scalar import F32, I32, Scalar


@functools.cache
def lanes(bits):
    """The vector lengths worth a variant: a whole register of `bits`-wide floats and half of one."""
    full = (512 if llvm.get_host_cpu_features().get("avx512f") else 256) // bits
    return full, full // 2


def call_rare(name, key, limit, fast, slow, *args):
    """`fast` where key <= limit (or NaN), else slow(*args). All are Scalars of one float type; `slow` may branch."""
    module, kind = fast.builder.module, fast.type
    symbol = f"jitnet_{name}_{'f32' if kind == F32 else 'f64'}_rare"
    function = module.globals.get(symbol + "_any") or module.globals.get(symbol)
    if function is None:
        function = scalar_function(module, symbol, kind, limit, slow, len(args), fast.target)
        if fast.target.vector_variants:
            function = with_variants(module, function, kind, limit, len(args))
    values = [s.value for s in (key, fast, *args)]
    if fast.target.vector_variants:
        return fast.new(fast.builder.call(function, values))
    return called_if(key > limit, function, values, fast)


def called_if(condition, function, values, fast):
    """What the function gives where a condition holds, else `fast`: for a GPU's thread a call costs more than to ask first."""
    builder, start = condition.builder, condition.builder.block
    with builder.if_then(condition.value, likely=False):
        slow, end = builder.call(function, values), builder.block
    result = builder.phi(fast.type)
    result.add_incoming(fast.value, start)
    result.add_incoming(slow, end)
    return fast.new(result)


def new_function(module, symbol, kind, count):
    """An LLVM function of `count` arguments of one type, internal and free of side effects."""
    function = ir.Function(module, ir.FunctionType(kind, [kind] * count), symbol)
    function.linkage = "internal"
    for attribute in ("noinline", "nounwind", "readnone"):
        function.attributes.add(attribute)
    set.add(function.attributes, "willreturn")  # llvmlite knows a fixed list; LLVM needs this one to vectorize the call
    return function


def scalar_function(module, symbol, kind, limit, slow, arity, target):
    function = new_function(module, symbol, kind, arity + 2)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    key, fast, *args = (Scalar(builder, a, target) for a in function.args)
    far, near = function.append_basic_block("far"), function.append_basic_block("near")
    builder.cbranch((key > limit).value, far, near)
    builder.position_at_end(near)
    builder.ret(fast.value)
    builder.position_at_end(far)
    builder.ret(slow(*args).value)
    return function


def with_variants(module, function, kind, limit, arity):
    """A function that does what `function` does, and has variants for vectors.

    The variants call `function`, which has none: LLVM would vectorize their loop over the lanes into calls of themselves.
    """
    outer = new_function(module, f"{function.name}_any", kind, arity + 2)
    builder = ir.IRBuilder(outer.append_basic_block())
    builder.ret(builder.call(function, outer.args))
    variants = [vector_function(module, function, kind, n, limit, arity) for n in lanes(32 if kind == F32 else 64)]
    names = [f"_ZGV_LLVM_N{v.function_type.return_type.count}{'v' * (arity + 2)}_{outer.name}({v.name})" for v in variants]
    set.add(outer.attributes, f'"vector-function-abi-variant"="{",".join(names)}"')
    keep(module, variants)
    return outer


def vector_function(module, function, kind, count, limit, arity):
    """The same for `count` elements: one comparison, and a loop over the lanes only if any is beyond the limit."""
    vector = ir.VectorType(kind, count)
    variant = new_function(module, f"{function.name}_{count}", vector, arity + 2)
    # Small: or LLVM unrolls the loop over the lanes, which takes it long. (Not `function`: its 128-bit shifts would be calls.)
    for attribute in ("minsize", "optsize"):
        variant.attributes.add(attribute)
    entry, loop, step, near = (variant.append_basic_block(n) for n in ("entry", "loop", "step", "near"))
    b = ir.IRBuilder(entry)
    key, fast, *args = variant.args
    limit = Scalar(b, ir.Constant(kind, 0.0)).const(limit).value.constant
    far = b.fcmp_ordered(">", key, ir.Constant(vector, [ir.Constant(kind, limit)] * count))
    mask = b.bitcast(far, ir.IntType(count))
    b.cbranch(b.icmp_unsigned("==", mask, mask.type(0)), near, loop)
    b.position_at_end(near)
    b.ret(fast)
    b.position_at_end(loop)
    lane, out = b.phi(I32), b.phi(vector)
    one = b.call(function, [b.extract_element(v, lane) for v in [key, fast, *args]])
    new = b.insert_element(out, one, lane)
    following = b.add(lane, I32(1))
    lane.add_incoming(I32(0), entry)
    lane.add_incoming(following, loop)
    out.add_incoming(fast, entry)
    out.add_incoming(new, loop)
    b.cbranch(b.icmp_unsigned("==", following, I32(count)), step, loop)
    b.position_at_end(step)
    b.ret(new)
    return variant


def keep(module, functions):
    """Lists the functions in llvm.compiler.used, so that they are still there when the vectorizer looks for them."""
    pointer = ir.IntType(8).as_pointer()
    used = module.globals.get("llvm.compiler.used")
    members = list(used.initializer.constant) if used else []
    members += [f.bitcast(pointer) for f in functions]
    kind = ir.ArrayType(pointer, len(members))
    if used is None:
        used = ir.GlobalVariable(module, kind, "llvm.compiler.used")
        used.linkage, used.section = "appending", "llvm.metadata"
    used.value_type, used.type = kind, kind.as_pointer()
    used.initializer = ir.Constant(kind, members)
