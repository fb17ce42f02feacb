"""NUMBA_SCOPE: the names of kernel_scope.py for Numba, which types and lowers the source of kernels.

Imported only when a kernel is compiled: it loads Numba.
"""
import operator

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic

from .builtin import ALL_BUFFERS, Buffer, Builtin, Kind, llvm_type, load_element, store_element
from .kernel_scope import KERNEL_SCOPE


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
BUFFERS = types.CPointer(types.voidptr)   # the first parameter of CPU kernels


class BufferType(types.Type):
    """builtin.Buffer as Numba's type."""

    def __init__(self, dtype, slot, constant=False):
        self.dtype, self.slot, self.constant = dtype, slot, constant
        self.buffer = Buffer(DTYPE_OF[dtype], slot, constant)
        super().__init__(name=f"Buffer({dtype}, {slot}, {constant})")


@register_default(BufferType)
class BufferModel(models.PrimitiveModel):
    """A bare pointer; bools are bytes in memory."""

    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, llvm_type(fe_type.buffer))


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


@lower_builtin(operator.getitem, BufferType, types.intp)
def lower_getitem(context, builder, sig, args):
    return load_element(builder, sig.args[0].buffer, *args)


@lower_builtin(operator.setitem, BufferType, types.intp, types.Any)
def lower_setitem(context, builder, sig, args):
    store_element(builder, sig.args[0].buffer, *args)
    return context.get_dummy_value()


def kind_of(numba_type: types.Type) -> Kind:
    """What builtin.py calls a type of Numba."""
    if isinstance(numba_type, types.IntegerLiteral):
        return numba_type.literal_value
    if isinstance(numba_type, BufferType):
        return numba_type.buffer
    return ALL_BUFFERS if numba_type == BUFFERS else DTYPE_OF.get(types.unliteral(numba_type))


def type_of(kind: Kind) -> types.Type:
    """What Numba calls a kind."""
    if isinstance(kind, Buffer):
        return BufferType(NUMBA_TYPES[kind.dtype], kind.slot, kind.constant)
    if kind == ALL_BUFFERS:
        return BUFFERS
    # A literal stays in the signature: Numba keeps one implementation per signature.
    return types.literal(kind) if isinstance(kind, int) else NUMBA_TYPES.get(kind, types.none)


PARAMETERS = ", x, y, z, u, v, w"


def for_numba(builtin: Builtin):
    """The builtin as an intrinsic of Numba."""
    def typed(typingctx, *args):
        kinds = [kind_of(a if builtin.literal else types.unliteral(a)) for a in args]
        found = None if None in kinds else builtin.sign(*kinds)
        if found is None:
            return None
        result, kinds = found

        def codegen(context, builder, sig, values):
            value = builtin.build(builder, kinds, *values)
            return context.get_dummy_value() if result is None else value
        return type_of(result)(*map(type_of, kinds)), codegen

    names = PARAMETERS[:3 * builtin.arity]   # Numba reads the signature
    scope = {"typed": typed}
    exec(f"def {builtin.name}(typingctx{names}):\n    return typed(typingctx{names})", scope)
    return intrinsic(prefer_literal=builtin.literal)(scope[builtin.name])


NUMBA_SCOPE = {name: for_numba(builtin) for name, builtin in KERNEL_SCOPE.items()}
