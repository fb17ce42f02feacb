"""The source of a CPU kernel -> LLVM IR text: types and instructions in one walk over the syntax tree.

    kernel     ::= def kernel(buffers, sizes, start, stop): statement...
    statement  ::= name = value | place = value | call | for name in range(...): ... | while condition: ... | if condition: ...
    value      ::= number | name | place | -value | not value | value op value | value compare value | call
    place      ::= name[value]                             call ::= name(value, ...), a name of kernel_scope.py

Every name has one kind (builtin.py), that of the first value it gets. Whole numbers are int64. The text is Python: it runs on
NumPy arrays with the names of intrinsics.py, and means the same there. Numba reads such functions too, but takes 100 ms
to import and 10 ms a kernel; this takes 3.
"""
from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llvmlite import ir

from ..runtime import llvm
from .builtin import (
    ALL_BUFFERS,
    Buffer,
    Builtin,
    Kind,
    binary,
    binary_dtype,
    comparison,
    inverse,
    is_number,
    llvm_type,
    load_element,
    narrowed,
    negative,
    plain,
    store_element,
    truth,
    unified,
    widened,
)
from .kernel_scope import KERNEL_SCOPE
from .names import INTS
from .scalar import F64, I64

PARAMETERS = (ALL_BUFFERS, Buffer("i64", None, constant=True), "i64", "i64")
"""The kinds of a kernel's parameters: buffers, sizes, start, stop."""

LOOP_HINTS = {"masked": '!{!"llvm.loop.vectorize.predicate.enable", i1 true}'}
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.LShift: "<<", ast.RShift: ">>",
             ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^"}
COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class Value(NamedTuple):
    """A kind, and the LLVM value; for a name that is assigned several times the address of its variable."""

    kind: Kind
    value: object


def compile_kernel(source: str, symbol: str, scope: Mapping[str, Builtin] = KERNEL_SCOPE) -> str:
    """LLVM IR text of the kernel in `source`, a C function named `symbol`; SyntaxError for what is not in the language."""
    (function,) = ast.parse(source).body
    return _Compiler(function, symbol, scope).text()


class _Compiler:
    """One kernel. Names that are assigned once are values, others live in stack slots, which LLVM turns into registers."""

    def __init__(self, function: ast.FunctionDef, symbol: str, scope: Mapping[str, Builtin]):
        self.scope, self.hints = scope, []
        self.module = ir.Module(symbol)
        self.module.triple, self.module.data_layout = llvm.host()[0], str(llvm.target_machine().target_data)
        self.module.jitnet_alias_bits = _alias_bits(function)
        kinds = dict(zip((a.arg for a in function.args.args), PARAMETERS, strict=True))
        self.function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), map(llvm_type, kinds.values())), symbol)
        self.function.attributes.add("nounwind")
        self.slots: dict[str, Value | None] = dict.fromkeys(_reassigned(function))
        self.values = {name: Value(kind, arg) for (name, kind), arg in zip(kinds.items(), self.function.args)}
        self.entry = ir.IRBuilder(self.function.append_basic_block("entry"))   # for the slots
        self.builder = ir.IRBuilder(self.function.append_basic_block("start"))
        self.entry.position_before(self.entry.branch(self.builder.block))
        self.block(function.body)
        self.builder.ret_void()

    def text(self) -> str:
        """The IR, with LLVM's hints in place of every mark: a loop's node names itself, which llvmlite cannot write."""
        text = str(self.module)
        for number, hint in self.hints:
            mark = re.search(f'^(!\\d+) = !{{ !"jitnet.loop.{number}" }}$', text, flags=re.MULTILINE)
            node = f"{mark[1]} = distinct !{{{mark[1]}, {LOOP_HINTS[hint]}}}"
            text = text[:mark.start()] + node + text[mark.end():]
        return text

    # Statements

    def block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            write = _STATEMENTS.get(type(statement))
            if write is None:
                raise _foreign(statement)
            write(self, statement)

    def assign(self, node: ast.Assign) -> None:
        (target,) = node.targets
        if isinstance(target, ast.Name):
            self.bind(target, self.expression(node.value))
            return
        value = self.expression(node.value)
        buffer, pointer, index = self.place(target)
        if {plain(value.kind), buffer.dtype} <= set(INTS):
            scalar = narrowed(self.builder, value.value, plain(value.kind), buffer.dtype)
        else:
            scalar = self.converted(value, buffer.dtype, node)
        store_element(self.builder, buffer, pointer, index, scalar)

    def bind(self, target: ast.Name, value: Value) -> None:
        """Gives a name a value."""
        name = target.id
        if name not in self.slots:
            self.values[name] = value
            return
        slot = self.slots[name]
        if slot is None:
            kind = plain(value.kind)
            slot = self.slots[name] = Value(kind, self.entry.alloca(llvm_type(kind)))
        self.builder.store(self.converted(value, slot.kind, target), slot.value)

    def expression_statement(self, node: ast.Expr) -> None:
        self.expression(node.value)

    def loop(self, node: ast.For) -> None:
        """for name in range(...), upwards by a positive number in the text."""
        if not (isinstance(node.iter, ast.Call) and isinstance(node.iter.func, ast.Name) and node.iter.func.id == "range"):
            raise _foreign(node)
        args = [self.whole_number(a) for a in node.iter.args]
        start, stop, step = (I64(0), *args, I64(1)) if len(args) == 1 else (*args, I64(1))[:3]
        before = self.builder.block
        head, body, end = (self.function.append_basic_block(name) for name in ("for", "do", "done"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        position = self.builder.phi(I64)
        position.add_incoming(start, before)
        self.builder.cbranch(self.builder.icmp_signed("<", position, stop), body, end)
        self.builder.position_at_end(body)
        self.bind(node.target, Value("i64", position))
        self.block(node.body)
        following = self.builder.add(position, step, flags=("nsw",))
        position.add_incoming(following, self.builder.block)
        self.hinted(self.builder.block, self.builder.branch(head))
        self.builder.position_at_end(end)

    def hinted(self, block, branch) -> None:
        """Marks the branch that ends a loop's body with the hint that the body asked for."""
        hint = getattr(block, "loop_hint", None)
        if hint:
            number = next(_numbers)   # each loop is marked apart
            self.hints.append((number, hint))
            branch.set_metadata("llvm.loop", self.module.add_metadata([f"jitnet.loop.{number}"]))

    def while_loop(self, node: ast.While) -> None:
        head, body, end = (self.function.append_basic_block(name) for name in ("while", "do", "done"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(self.condition(node.test), body, end)
        self.builder.position_at_end(body)
        self.block(node.body)
        self.builder.branch(head)
        self.builder.position_at_end(end)

    def choice(self, node: ast.If) -> None:
        if node.orelse:
            raise _foreign(node)
        with self.builder.if_then(self.condition(node.test)):
            self.block(node.body)

    # Expressions

    def expression(self, node: ast.expr) -> Value:
        write = _EXPRESSIONS.get(type(node))
        if write is None:
            raise _foreign(node)
        return write(self, node)

    def number(self, node: ast.Constant) -> Value:
        if type(node.value) is float:
            return Value("f64", F64(node.value))
        if type(node.value) is not int:
            raise _foreign(node)
        return Value(node.value, I64(node.value))

    def name(self, node: ast.Name) -> Value:
        slot = self.slots.get(node.id)
        if slot is not None:
            return Value(slot.kind, self.builder.load(slot.value))
        if node.id not in self.values:
            raise _foreign(node, "no such name")
        return self.values[node.id]

    def place(self, node: ast.expr) -> tuple[Buffer, object, object]:
        """(buffer, pointer, index) of name[index]."""
        if not isinstance(node, ast.Subscript):
            raise _foreign(node)
        buffer = self.expression(node.value)
        if not isinstance(buffer.kind, Buffer):
            raise _foreign(node, "no array")
        return buffer.kind, buffer.value, self.whole_number(node.slice)

    def element(self, node: ast.Subscript) -> Value:
        buffer, pointer, index = self.place(node)
        return Value(buffer.dtype, load_element(self.builder, buffer, pointer, index))

    def unary(self, node: ast.UnaryOp) -> Value:
        kind, value = self.expression(node.operand)
        if not is_number(kind):
            raise _foreign(node, "no number")
        if isinstance(node.op, ast.Not):
            return Value("b1", self.builder.not_(truth(self.builder, plain(kind), value)))
        if isinstance(node.op, ast.USub) and isinstance(kind, int):
            return Value(-kind, I64(-kind))
        dtype = binary_dtype({ast.USub: "-", ast.Invert: "^"}.get(type(node.op)), kind, kind)
        if dtype is None:
            raise _foreign(node)
        change = negative if isinstance(node.op, ast.USub) else inverse
        return Value(dtype, change(self.builder, dtype, widened(self.builder, value, plain(kind), dtype)))

    def operation(self, node: ast.BinOp) -> Value:
        left, right, op = self.expression(node.left), self.expression(node.right), OPERATORS.get(type(node.op))
        dtype = op and binary_dtype(op, left.kind, right.kind)
        if dtype is None:
            raise _foreign(node, f"{left.kind} and {right.kind}")
        return Value(dtype, binary(self.builder, op, dtype, *(widened(self.builder, x.value, plain(x.kind), dtype)
                                                              for x in (left, right))))

    def compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1:
            raise _foreign(node)
        left, right, op = self.expression(node.left), self.expression(node.comparators[0]), COMPARISONS.get(type(node.ops[0]))
        value = None
        if op and is_number(left.kind) and is_number(right.kind):
            value = comparison(self.builder, op, left.value, plain(left.kind), right.value, plain(right.kind))
        if value is None:
            raise _foreign(node, f"{left.kind} and {right.kind}")
        return Value("b1", value)

    def call(self, node: ast.Call) -> Value:
        builtin = self.scope.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if builtin is None or node.keywords or len(node.args) != builtin.arity:
            raise _foreign(node)
        args = [self.expression(a) for a in node.args]
        signature = builtin.sign(*(a.kind if builtin.literal else plain(a.kind) for a in args))
        if signature is None:
            raise _foreign(node, ", ".join(str(a.kind) for a in args))
        result, kinds = signature
        values = [self.converted(a, kind, node) for a, kind in zip(args, kinds)]
        return Value(result, builtin.build(self.builder, kinds, *values))

    # Conversions

    def converted(self, value: Value, kind: Kind, node: ast.AST):
        """The LLVM value as that kind, which holds all values of its own; SyntaxError where it does not."""
        have, want = plain(value.kind), plain(kind)
        if have == want:
            return value.value
        if not is_number(have) or unified(have, want) != want:
            raise _foreign(node, f"{have} as {want}")
        return widened(self.builder, value.value, have, want)

    def whole_number(self, node: ast.expr):
        """The value of an index or bound as an i64."""
        kind, value = self.expression(node)
        if not is_number(kind) or plain(kind)[0] not in "iu":
            raise _foreign(node, f"{kind} as an index")
        return widened(self.builder, value, plain(kind), "i64")

    def condition(self, node: ast.expr):
        """The value of a test as an i1."""
        kind, value = self.expression(node)
        if not is_number(kind):
            raise _foreign(node, "no number")
        return truth(self.builder, plain(kind), value)


_numbers = itertools.count()
_STATEMENTS = {ast.Assign: _Compiler.assign, ast.Expr: _Compiler.expression_statement, ast.For: _Compiler.loop,
               ast.While: _Compiler.while_loop, ast.If: _Compiler.choice}
_EXPRESSIONS = {ast.Constant: _Compiler.number, ast.Name: _Compiler.name, ast.Subscript: _Compiler.element,
                ast.UnaryOp: _Compiler.unary, ast.BinOp: _Compiler.operation, ast.Compare: _Compiler.compare,
                ast.Call: _Compiler.call}


def _foreign(node: ast.AST, why: str = "") -> SyntaxError:
    text = ast.unparse(node).splitlines()[0]
    return SyntaxError(f"line {node.lineno} of a kernel is not in its language{f' ({why})' if why else ''}: {text}")


def _alias_bits(function: ast.FunctionDef) -> int:
    """How many bits tell the numbers of a kernel's buffers apart."""
    calls = (s.value for s in function.body if isinstance(s, ast.Assign) and isinstance(s.value, ast.Call))
    count = sum(isinstance(call.func, ast.Name) and call.func.id.startswith("buffer_") for call in calls)
    return max(1, (count - 1).bit_length())


def _reassigned(function: ast.FunctionDef) -> set[str]:
    """The names that are no single value: assigned several times, or read outside of the block that assigns them."""
    stores: Counter[str] = Counter()
    home: dict[str, tuple[int, ...]] = {}
    loads: list[tuple[str, tuple[int, ...]]] = []

    def visit(node: ast.AST, path: tuple[int, ...]) -> None:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                stores[node.id] += 1
                home[node.id] = path
            else:
                loads.append((node.id, path))
            return
        inside = (*path, id(node)) if isinstance(node, (ast.For, ast.While, ast.If)) else path
        for field, child in ast.iter_fields(node):
            within = inside if field in ("body", "target", "test") else path
            for item in child if isinstance(child, list) else (child,):
                if isinstance(item, ast.AST):
                    visit(item, within)

    visit(function, ())
    outside = {name for name, path in loads if name in home and path[:len(home[name])] != home[name]}
    return {name for name, count in stores.items() if count > 1} | outside
