"""NUMBA_SCOPE: every name that kernel source may use, as Numba types it and LLVM compiles it.

Only `jitnet.codegen.intrinsics` imports this module, and only when a kernel is compiled: it loads Numba.
"""
import operator

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic

from jitnet.codegen import math, memory
from jitnet.codegen.cast import cast
from jitnet.codegen.names import DTYPES, REDUCTIONS, SCALAR_FUNCTIONS


class HalfType(types.Type):
    """A float of 16 bits: kernels move it and cast it."""


@register_default(HalfType)
class HalfModel(models.PrimitiveModel):
    """The bits, as an integer."""

    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ir.IntType(16))


NUMBA_TYPES = {
    "f32": types.float32, "f64": types.float64, "i8": types.int8, "i16": types.int16, "i32": types.int32, "i64": types.int64,
    "u8": types.uint8, "u16": types.uint16, "u32": types.uint32, "u64": types.uint64, "b1": types.boolean,
    "f16": HalfType("f16"), "bf16": HalfType("bf16")}
DTYPE_OF = {t: name for name, t in NUMBA_TYPES.items()}
BUFFERS = types.CPointer(types.voidptr)
ALIAS_BITS = 8


class BufferType(types.Type):
    """Pointer to the elements of buffer `slot`; buffers of different slots never overlap.

    constant: nothing writes into it while the kernel runs. GPUs have a cache for such loads; the CPU's code ignores it.
    """

    def __init__(self, dtype, slot, constant=False):
        self.dtype, self.slot, self.constant = dtype, slot, constant
        super().__init__(name=f"Buffer({dtype}, {slot}, {constant})")


def storage(name):
    """The LLVM type of an element in memory: bools are bytes."""
    return ir.IntType(8) if name == "b1" else math.TYPES[name]


@register_default(BufferType)
class BufferModel(models.PrimitiveModel):
    """A bare pointer; bools are bytes in memory."""

    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ir.PointerType(math.TYPES[DTYPE_OF[fe_type.dtype]] if fe_type.dtype != types.boolean
                                                          else ir.IntType(8)))


@infer_global(operator.getitem)
class BufferGetitem(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 2 and isinstance(args[0], BufferType) and isinstance(args[1], types.Integer):
            return signature(args[0].dtype, args[0], types.intp)
        return None


@infer_global(operator.setitem)
class BufferSetitem(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 3 and isinstance(args[0], BufferType) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.intp, args[0].dtype)
        return None


def mark_load(instruction, buffer):
    """Tells LLVM what is known of a load from a buffer."""
    mark_alias(instruction, buffer.slot)
    if buffer.constant:
        instruction.set_metadata("invariant.load", instruction.module.add_metadata([]))


def mark_alias(instruction, slot):
    """Tells LLVM that accesses to different slots never overlap.

    One alias domain per bit of the slot number, two scopes in each: an access lies in the scope of its bit and is `noalias`
    with the other one, so two slots are apart in some domain, and no list of all slots is needed.
    """
    if slot is None:
        return
    module, inside, outside = instruction.module, [], []
    for bit in range(ALIAS_BITS):
        domain = module.add_metadata([f"jitnet.{bit}"])
        scopes = [module.add_metadata([f"jitnet.{bit}.{value}", domain]) for value in (0, 1)]
        own = slot >> bit & 1
        inside.append(scopes[own])
        outside.append(scopes[1 - own])
    instruction.set_metadata("alias.scope", module.add_metadata(inside))
    instruction.set_metadata("noalias", module.add_metadata(outside))


def from_storage(builder, value, kind):
    """An element as it lies in memory, as the scalar of that Numba type."""
    return builder.icmp_unsigned("!=", value, value.type(0)) if kind == types.boolean else value


def to_storage(builder, value, kind):
    """A scalar of that Numba type as it lies in memory."""
    return builder.zext(value, ir.IntType(8)) if kind == types.boolean else value


@lower_builtin(operator.getitem, BufferType, types.intp)
def lower_getitem(context, builder, sig, args):
    value = builder.load(builder.gep(args[0], [args[1]], inbounds=True))
    mark_load(value, sig.args[0])
    return from_storage(builder, value, sig.return_type)


@lower_builtin(operator.setitem, BufferType, types.intp, types.Any)
def lower_setitem(context, builder, sig, args):
    value = to_storage(builder, args[2], sig.args[2])
    mark_alias(builder.store(value, builder.gep(args[0], [args[1]], inbounds=True)), sig.args[0].slot)
    return context.get_dummy_value()


def make_buffer(dtype):
    """buffer_<dtype>(buffers, i): buffers[i] as a typed pointer, which stays a pointer throughout."""
    def buffer(typingctx, buffers, i):
        slot = i.literal_value if isinstance(i, types.Literal) else None
        kind = BufferType(NUMBA_TYPES[dtype], slot)

        def codegen(context, builder, sig, args):
            pointer = builder.load(builder.gep(args[0], [args[1]], inbounds=True))
            pointer.set_metadata("invariant.load", builder.module.add_metadata([]))
            return builder.bitcast(pointer, context.get_value_type(kind))
        return kind(BUFFERS, types.intp), codegen
    buffer.__name__ = f"buffer_{dtype}"
    return intrinsic(prefer_literal=True)(buffer)


def unify(typingctx, args):
    """The one Numba scalar type that all arguments convert to."""
    args = [types.unliteral(a) for a in args]
    return args[0] if all(a == args[0] for a in args) else typingctx.unify_types(*args)


def scalars(builder, args):
    target = math.Target.of(builder.module)
    return [math.Scalar(builder, a, target) for a in args]


def make_cast(dtype):
    """f32(x) and its like: NumPy's astype for one element."""
    def convert(typingctx, x):
        source = types.unliteral(x)
        if source not in DTYPE_OF:
            return None

        def codegen(context, builder, sig, args):
            return cast(*scalars(builder, args), DTYPE_OF[source], dtype).value
        return NUMBA_TYPES[dtype](source), codegen
    convert.__name__ = dtype
    return intrinsic(convert)


PARAMETERS = {1: "x", 2: "x, y", 3: "x, y, z"}


def with_arity(arity, name, body):
    """`body(typingctx, args)` as a function of that many named arguments: Numba reads the signature."""
    names = PARAMETERS[arity]
    scope = {"body": body}
    exec(f"def {name}(typingctx, {names}):\n    return body(typingctx, ({names},))", scope)
    return intrinsic(scope[name])


def make_function(name):
    """name_(x, ...): the function of that name in jitnet.codegen.math, for whatever dtype comes."""
    arity = SCALAR_FUNCTIONS[name][0]

    def body(typingctx, args):
        kind = unify(typingctx, args)
        dtype = DTYPE_OF.get(kind)
        if (name, dtype) not in math.FUNCTIONS:
            return None
        result = math.FUNCTIONS[name, dtype][1]

        def codegen(context, builder, sig, values):
            return math.call(name, dtype, *scalars(builder, values)).value
        return (NUMBA_TYPES[result] if result else kind)(*[kind] * arity), codegen
    return with_arity(arity, name + "_", body)


def make_select():
    def select_(typingctx, condition, yes, no):
        kind = unify(typingctx, (yes, no))

        def codegen(context, builder, sig, args):
            return builder.select(*args)
        return kind(types.boolean, kind, kind), codegen
    return intrinsic(select_)


def make_masked():
    """masked_() at the end of a loop's body: its last elements are a vector too, in which those beyond are masked out."""
    def masked_(typingctx):
        def codegen(context, builder, sig, args):
            builder.block.loop_hint = "masked"   # the block ends with the branch that runtime/frontend.py marks
            return context.get_dummy_value()
        return types.void(), codegen
    return intrinsic(masked_)


def make_reduction(name):
    """<name>_reduce_(total, x): one step of a reduction, in the form that LLVM vectorizes."""
    def body(typingctx, args):
        kind = unify(typingctx, args)
        if kind not in DTYPE_OF:
            return None

        def codegen(context, builder, sig, values):
            return math.reduce_step(name, DTYPE_OF[kind], *scalars(builder, values)).value
        return kind(kind, kind), codegen
    return with_arity(2, name + "_reduce_", body)


NUMBA_SCOPE = {dtype: make_cast(dtype) for dtype in DTYPES}
NUMBA_SCOPE |= {f"buffer_{dtype}": make_buffer(dtype) for dtype in DTYPES}
NUMBA_SCOPE |= {f"{name}_": make_function(name) for name in SCALAR_FUNCTIONS}
NUMBA_SCOPE |= {f"{name}_reduce_": make_reduction(name) for name in REDUCTIONS}
NUMBA_SCOPE["select_"] = make_select()
NUMBA_SCOPE["masked_"] = make_masked()
NUMBA_SCOPE |= memory.numba_scope(BufferType, storage, NUMBA_TYPES)
