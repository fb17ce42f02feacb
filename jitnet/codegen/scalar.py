"""Straight-line scalar code as LLVM IR, written with Python operators.

`Scalar` wraps one LLVM value; `a * b + c` on Scalars emits the instructions. Functions written with it have no branches, so
LLVM's loop vectorizer turns them into AVX2 or AVX-512 code, and NVVM into GPU code. `define` stores a function under a name
and a dtype; `call` emits it once per module as an always-inlined LLVM function and calls it.

Every float instruction carries the flag `arcp`, which means nothing on an add, a subtract or a multiply: the front end marks
products `contract` only where they have no flag, and a contracted product would break the exact double-double arithmetic
below.
"""
import struct

from llvmlite import ir

I1, I8, I16, I32, I64 = (ir.IntType(width) for width in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
TYPES = {"f32": F32, "f64": F64, "i8": I8, "i16": I16, "i32": I32, "i64": I64,
         "u8": I8, "u16": I16, "u32": I32, "u64": I64, "b1": I1, "f16": I16, "bf16": I16}  # halves travel as their bits
KEEP = ("arcp",)


class Target:
    """Where LLVM's intrinsics differ between targets; this one is the CPU."""

    name = "cpu"
    vector_variants = True  # LLVM's loop vectorizer runs on the code, and knows `vector-function-abi-variant`

    @staticmethod
    def of(module):
        """The target that a module is compiled for."""
        return CUDA if module.triple.startswith("nvptx") else CPU

    def intrinsic(self, builder, name, args, flags=()):
        """The value of LLVM intrinsic `name`, overloaded on the type of its first argument."""
        kind = args[0].type
        function = builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [a.type for a in args]))
        return builder.call(function, args, fastmath=flags)


class CudaTarget(Target):
    """An NVIDIA GPU: a thread works on one element at a time, so nothing needs a form for vectors."""

    name = "cuda"
    vector_variants = False

    @staticmethod
    def reciprocal(x):
        """1 / x for a float32, within an ulp."""
        name = "llvm.nvvm.rcp.approx.ftz.f"
        module = x.builder.module
        function = module.globals.get(name) or ir.Function(module, ir.FunctionType(F32, [F32]), name)
        return x.new(x.builder.call(function, [x.value]))


CPU, CUDA = Target(), CudaTarget()


def round_f32(value):
    """`value` rounded to the nearest float32, as a Python float."""
    return struct.unpack("f", struct.pack("f", value))[0]


class Scalar:
    """One LLVM value of type float, double, i1 or an integer; operators emit instructions."""

    __slots__ = ("builder", "target", "value")

    def __init__(self, builder, value, target=CPU):
        self.builder, self.value, self.target = builder, value, target

    def new(self, value):
        return Scalar(self.builder, value, self.target)

    @property
    def type(self):
        return self.value.type

    @property
    def is_float(self):
        return self.type in (F32, F64)

    @property
    def bits(self):
        return 32 if self.type == F32 else 64 if self.type == F64 else self.type.width

    def const(self, number):
        """A constant of the same type. Floats are rounded to it; integers wrap."""
        if self.type == F32:
            return self.new(ir.Constant(F32, round_f32(float(number))))
        if self.type == F64:
            return self.new(ir.Constant(F64, float(number)))
        width = self.type.width
        number = int(number) & ((1 << width) - 1)
        return self.new(ir.Constant(self.type, number - (1 << width) if width > 1 and number >> (width - 1) else number))

    def lift(self, other):
        return other if isinstance(other, Scalar) else self.const(other)

    def _binary(self, other, float_op, int_op):
        other = self.lift(other)
        if self.is_float:
            return self.new(getattr(self.builder, float_op)(self.value, other.value, flags=KEEP))
        return self.new(getattr(self.builder, int_op)(self.value, other.value))

    def __add__(self, other):
        return self._binary(other, "fadd", "add")

    def __sub__(self, other):
        return self._binary(other, "fsub", "sub")

    def __mul__(self, other):
        return self._binary(other, "fmul", "mul")

    def __truediv__(self, other):
        return self.new(self.builder.fdiv(self.value, self.lift(other).value))

    def over(self, divisor):
        """self / divisor for a result that is little beside what it is added to, of operands of moderate size.

        On a GPU a division asks first whether its operands are of moderate size, and calls a function where they are not. This
        is what it does where they are. Any guess within an ULP of 1 / divisor gives the quotient rounded right, unless the
        divisor is the last float below a power of two (Markstein): then it may give the other neighbour.
        """
        if self.target is not CUDA or self.type != F32:
            return self / divisor
        guess = self.target.reciprocal(divisor)
        inverse = guess.fma((-divisor).fma(guess, 1), guess)
        quotient = self * inverse
        return (-divisor).fma(quotient, self).fma(inverse, quotient)

    def __radd__(self, other):
        return self.const(other) + self

    def __rsub__(self, other):
        return self.const(other) - self

    def __rmul__(self, other):
        return self.const(other) * self

    def __rtruediv__(self, other):
        return self.const(other) / self

    def __neg__(self):
        return self.new(self.builder.fneg(self.value) if self.is_float else self.builder.neg(self.value))

    def __and__(self, other):
        return self.new(self.builder.and_(self.value, self.lift(other).value))

    def __or__(self, other):
        return self.new(self.builder.or_(self.value, self.lift(other).value))

    def __xor__(self, other):
        return self.new(self.builder.xor(self.value, self.lift(other).value))

    def __invert__(self):
        return self.new(self.builder.not_(self.value))

    def __lshift__(self, other):
        return self.new(self.builder.shl(self.value, self.lift(other).value))

    def __rshift__(self, other):
        """Logical shift right (zeros come in)."""
        return self.new(self.builder.lshr(self.value, self.lift(other).value))

    def sar(self, other):
        """Arithmetic shift right (the sign comes in)."""
        return self.new(self.builder.ashr(self.value, self.lift(other).value))

    def _compare(self, op, other):
        other = self.lift(other)
        if self.is_float:
            compare = self.builder.fcmp_unordered if op == "!=" else self.builder.fcmp_ordered
            return self.new(compare(op, self.value, other.value, flags=KEEP))
        return self.new(self.builder.icmp_signed(op, self.value, other.value))

    def __lt__(self, other):
        return self._compare("<", other)

    def __le__(self, other):
        return self._compare("<=", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def __ge__(self, other):
        return self._compare(">=", other)

    def eq(self, other):
        return self._compare("==", other)

    def ne(self, other):
        return self._compare("!=", other)

    def below(self, other):
        """Unsigned comparison self < other."""
        return self.new(self.builder.icmp_unsigned("<", self.value, self.lift(other).value))

    def where(self, yes, no):
        """`yes` where this i1 holds, else `no`: a select, never a branch."""
        yes, no = (yes, no) if isinstance(yes, Scalar) else (no.lift(yes), no)
        return self.new(self.builder.select(self.value, yes.value, yes.lift(no).value))

    def intrinsic(self, name, *others, flags=()):
        args = [self.value] + [self.lift(o).value for o in others]
        return self.new(self.target.intrinsic(self.builder, name, args, flags))

    def fma(self, factor, addend):
        """self * factor + addend, rounded once."""
        return self.intrinsic("llvm.fma", factor, addend)

    def abs(self):
        return self.intrinsic("llvm.fabs")

    def sqrt(self):
        return self.intrinsic("llvm.sqrt")

    def rint(self):
        return self.intrinsic("llvm.rint")

    def floor(self):
        return self.intrinsic("llvm.floor")

    def copysign(self, sign):
        return self.intrinsic("llvm.copysign", sign)

    def clamp(self, low, high):
        """self within [low, high]; NaN stays NaN. Each select is one vector min or max."""
        x = self.lift(high)
        x = (x < self).where(x, self)
        low = self.lift(low)
        return (low > x).where(low, x)

    def to_bits(self):
        """The bits of this float as an integer of the same width."""
        return self.new(self.builder.bitcast(self.value, I32 if self.type == F32 else I64))

    def from_bits(self):
        """The float whose bits this integer holds."""
        return self.new(self.builder.bitcast(self.value, F32 if self.type == I32 else F64))

    def to(self, kind):
        """Converted to another LLVM type, integers taken as signed; float to int truncates and must be in range."""
        b, source = self.builder, self.type
        if source == kind:
            return self
        if self.is_float and kind in (F32, F64):
            return self.new(b.fpext(self.value, kind) if source == F32 else b.fptrunc(self.value, kind))
        if self.is_float:
            return self.new(b.fptosi(self.value, kind))
        if kind in (F32, F64):
            return self.new(b.sitofp(self.value, kind))
        return self.new(b.sext(self.value, kind) if kind.width > source.width else b.trunc(self.value, kind))

    def zext(self, kind):
        return self.new(self.builder.zext(self.value, kind))

    def poly(self, *coefficients):
        """The polynomial with these coefficients, highest power first, by Horner's rule with fma."""
        total = self.const(coefficients[0])
        for c in coefficients[1:]:
            total = total.fma(self, c)
        return total


FUNCTIONS = {}


def define(name, *dtypes, result=None):
    """Decorator: stores a function of Scalars under `name` for each dtype; it returns `result`, by default that dtype."""
    def store(function):
        for dtype in dtypes:
            FUNCTIONS[name, dtype] = function, result
        return function
    return store


def call(name, dtype, *args):
    """The Scalar that function `name` returns for Scalars `args`; its IR is emitted once per module, always inlined."""
    first = args[0]
    module = first.builder.module
    symbol = f"jitnet.{name}.{dtype}"
    function = module.globals.get(symbol) or _emit(module, symbol, name, dtype, [a.type for a in args], first.target)
    return first.new(first.builder.call(function, [a.value for a in args]))


def _emit(module, symbol, name, dtype, kinds, target):
    body, result = FUNCTIONS[name, dtype]
    function = ir.Function(module, ir.FunctionType(TYPES[result] if result else kinds[0], kinds), symbol)
    function.linkage = "internal"
    for attribute in ("alwaysinline", "nounwind", "readnone"):
        function.attributes.add(attribute)
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(body(*(Scalar(builder, a, target) for a in function.args)).value)
    return function
