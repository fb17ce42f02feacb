"""A compiler for the runtime's own native code: Python functions on 64-bit words -> LLVM IR text.

native_memory.py, native_pool.py, native_program.py, native_call.py and blas_code.py are written in it. Every value is an
int64; a comparison is 0 or 1; memory is reached by address through the primitives below. It knows assignments, if, while,
for ... in range(...), break, continue, return, calls of its functions and of primitives, and integer operators (`//` and `%`
for numbers that are not negative). A function whose name begins with an underscore becomes part of its callers. Numba would
compile the same text in 0.9 s; this takes 20 ms.
"""
from __future__ import annotations

import ast
import itertools
import platform


class Primitive:
    """An operation that Python lacks: lines of IR with {0}, {1} for arguments, {out} for the result, {a}, {b} for others."""

    def __init__(self, *lines: str):
        self.lines = lines


def _load(kind: str, widen: str) -> Primitive:
    return Primitive("{a} = inttoptr i64 {0} to ptr", f"{{b}} = load {kind}, ptr {{a}}, align 1",
                     f"{{out}} = {widen} {kind} {{b}} to i64")


def _store(kind: str) -> Primitive:
    return Primitive("{a} = inttoptr i64 {0} to ptr", f"{{b}} = trunc i64 {{1}} to {kind}",
                     f"store {kind} {{b}}, ptr {{a}}, align 1", "{out} = add i64 0, 0")


def _call(count: int) -> Primitive:
    arguments = ", ".join(f"i64 {{{i + 1}}}" for i in range(count))
    return Primitive("{a} = inttoptr i64 {0} to ptr", f"{{out}} = call i64 {{a}}({arguments})")


load64 = Primitive("{a} = inttoptr i64 {0} to ptr", "{out} = load i64, ptr {a}, align 8")
store64 = Primitive("{a} = inttoptr i64 {0} to ptr", "store i64 {1}, ptr {a}, align 8", "{out} = add i64 0, 0")
load32, load8 = _load("i32", "sext"), _load("i8", "zext")
store32, store16, store8 = _store("i32"), _store("i16"), _store("i8")
store_f32 = Primitive("{a} = inttoptr i64 {0} to ptr", "{b} = bitcast i64 {1} to double", "{c} = fptrunc double {b} to float",
                      "store float {c}, ptr {a}, align 4", "{out} = add i64 0, 0")
f64_bits = Primitive("{a} = sitofp i64 {0} to double", "{out} = bitcast double {a} to i64")
lower_half = Primitive("{a} = trunc i64 {0} to i32", "{out} = sext i32 {a} to i64")
copy_bytes = Primitive("{a} = inttoptr i64 {0} to ptr", "{b} = inttoptr i64 {1} to ptr",
                       "call void @llvm.memcpy.p0.p0.i64(ptr {a}, ptr {b}, i64 {2}, i1 false)", "{out} = add i64 0, 0")
zero_bytes = Primitive("{a} = inttoptr i64 {0} to ptr", "call void @llvm.memset.p0.i64(ptr {a}, i8 0, i64 {1}, i1 false)",
                       "{out} = add i64 0, 0")
# Writes {2} where {1} stands, in one atomic step; 1 if it did.
swap_if = Primitive("{a} = inttoptr i64 {0} to ptr", "{b} = cmpxchg ptr {a}, i64 {1}, i64 {2} seq_cst seq_cst",
                    "{c} = extractvalue {{i64, i1}} {b}, 1", "{out} = zext i1 {c} to i64")
store_atomic = Primitive("{a} = inttoptr i64 {0} to ptr", "store atomic i64 {1}, ptr {a} release, align 8",
                         "{out} = add i64 0, 0")
load_atomic = Primitive("{a} = inttoptr i64 {0} to ptr", "{out} = load atomic i64, ptr {a} seq_cst, align 8")
add_atomic = Primitive("{a} = inttoptr i64 {0} to ptr", "{out} = atomicrmw add ptr {a}, i64 {1} seq_cst, align 8")
# Lets a waiting core rest for some cycles.
_X86 = platform.machine() in ("x86_64", "AMD64")
pause = Primitive(*(["call void @llvm.x86.sse2.pause()"] if _X86 else []), "{out} = add i64 0, 0")
call0, call1, call2, call3, call4, call8 = (_call(n) for n in (0, 1, 2, 3, 4, 8))
library = Primitive("{out} = ptrtoint ptr @jitnet_library to i64")


def _blas(routine: str, kind: str, letters: int, integers: int) -> tuple[Primitive, str]:
    """A BLAS routine as a primitive (function, flags, integers, alpha, matrix, ld, matrix or vector, step, beta, C, step).

    Fortran wants the addresses of everything; they are stack slots of a small function of its own, whose text comes second.
    """
    name = f"@{routine}_{kind}"
    order = [*["c"] * letters, *["i"] * integers, "f", "p", "i", "p", "i", "f", "p", "i"]
    header = ", ".join(["i64 %function", *[f"i64 %v{i}" for i in range(len(order))]])
    body, passed = [], []
    for i, sort in enumerate(order):
        if sort == "p":
            body.append(f"%p{i} = inttoptr i64 %v{i} to ptr")
            passed.append(f"ptr %p{i}")
            continue
        type_ = {"c": "i8", "i": "i32", "f": kind}[sort]
        body.append(f"%a{i} = alloca {type_}")
        if sort == "c":  # 0 or 1 -> N or T
            body += [f"%b{i} = trunc i64 %v{i} to i8", f"%c{i} = mul i8 %b{i}, 6", f"%x{i} = add i8 %c{i}, 78"]
        elif sort == "i":
            body.append(f"%x{i} = trunc i64 %v{i} to i32")
        else:
            body.append(f"%y{i} = bitcast i64 %v{i} to double")
            body.append(f"%x{i} = fptrunc double %y{i} to float" if kind == "float" else f"%x{i} = fadd double %y{i}, 0.0")
        body.append(f"store {type_} %x{i}, ptr %a{i}")
        passed.append(f"ptr %a{i}")
    # The lengths of the letter arguments come last, as gfortran has it.
    passed += ["i64 1"] * letters
    body += ["%f = inttoptr i64 %function to ptr", f"call void %f({', '.join(passed)})", "ret void"]
    text = f"define internal void {name}({header}) nounwind noinline {{\n  " + "\n  ".join(body) + "\n}\n"
    arguments = ", ".join(f"i64 {{{i}}}" for i in range(len(order) + 1))
    return Primitive(f"call void {name}({arguments})", "{out} = add i64 0, 0"), text


gemm_f32, _GEMM_F32 = _blas("gemm", "float", 2, 3)
gemm_f64, _GEMM_F64 = _blas("gemm", "double", 2, 3)
gemv_f32, _GEMV_F32 = _blas("gemv", "float", 1, 2)
gemv_f64, _GEMV_F64 = _blas("gemv", "double", 1, 2)
smaller = Primitive("{out} = call i64 @llvm.smin.i64(i64 {0}, i64 {1})")
larger = Primitive("{out} = call i64 @llvm.smax.i64(i64 {0}, i64 {1})")

DECLARATIONS = """
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
@jitnet_library = internal global [16 x i64] zeroinitializer
""" + ("declare void @llvm.x86.sse2.pause()\n" if _X86 else "") + _GEMM_F32 + _GEMM_F64 + _GEMV_F32 + _GEMV_F64

OPERATORS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "sdiv", ast.Mod: "srem", ast.LShift: "shl",
             ast.RShift: "ashr", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
COMPARISONS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge"}


def compile_words(source: str, names: dict[str, object], prefix: str) -> str:
    """LLVM IR text of all functions in `source`, as C functions named prefix + name. `names`: integers and Primitives."""
    tree = ast.parse(source)
    functions = {node.name: len(node.args.args) for node in tree.body if isinstance(node, ast.FunctionDef)}
    bodies = [_Function(node, names, functions, prefix).text for node in tree.body if isinstance(node, ast.FunctionDef)]
    return DECLARATIONS + "\n".join(bodies)


class _Function:
    """One function's IR. Variables live in stack slots, which LLVM turns into registers."""

    def __init__(self, node: ast.FunctionDef, names, functions, prefix):
        self.names, self.functions, self.prefix = names, functions, prefix
        self.slots: list[str] = []    # variables, in front of all lines
        self.lines: list[str] = []
        self.fresh = itertools.count()
        self.loops: list[tuple[str, str]] = []  # (continue, break)
        self.variables: set[str] = set()
        parameters = [a.arg for a in node.args.args]
        for name in parameters:
            self.store(name, f"%{name}")
        self.block(node.body)
        self.lines.append("ret i64 0")
        header = ", ".join(f"i64 %{name}" for name in parameters)
        body = "\n".join(line if line.endswith(":") else f"  {line}" for line in self.slots + self.lines)
        linkage, inline = ("internal ", " alwaysinline") if node.name.startswith("_") else ("", "")
        self.text = f"define {linkage}i64 @{prefix}{node.name}({header}) nounwind{inline} {{\nentry:\n{body}\n}}\n"

    def name(self) -> str:
        return f"%t{next(self.fresh)}"

    def label(self) -> str:
        return f"L{next(self.fresh)}"

    def place(self, label: str) -> None:
        self.lines += [f"br label %{label}", f"{label}:"]

    def store(self, name: str, value: str) -> None:
        if name not in self.variables:   # a text assigns before it reads
            self.variables.add(name)
            self.slots.append(f"%{name}.at = alloca i64")
        self.lines.append(f"store i64 {value}, ptr %{name}.at")

    def out(self, text: str) -> str:
        result = self.name()
        self.lines.append(f"{result} = {text}")
        return result

    # Expressions give the text of an i64; conditions branch

    def value(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=int() as number):
                return str(int(number))
            case ast.Name(id=name) if name in self.variables:
                return self.out(f"load i64, ptr %{name}.at")
            case ast.Name(id=name) if isinstance(self.names.get(name), int):
                return str(self.names[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.out(f"sub i64 0, {self.value(operand)}")
            case ast.BinOp(left=left, op=op, right=right):
                return self.out(f"{OPERATORS[type(op)]} i64 {self.value(left)}, {self.value(right)}")
            case ast.Call(func=ast.Name(id=name), args=args):
                return self.call(name, [self.value(a) for a in args])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.choose(test, lambda: self.value(body), lambda: self.value(orelse))
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self.choose(node, lambda: "1", lambda: "0")
        raise SyntaxError(f"line {node.lineno}: not in this language: {ast.unparse(node)}")

    def choose(self, test, yes, no) -> str:
        then, other, end = self.label(), self.label(), self.label()
        slot = self.name()
        self.slots.append(f"{slot} = alloca i64")
        self.condition(test, then, other)
        for label, value in ((then, yes), (other, no)):
            self.lines.append(f"{label}:")
            self.lines += [f"store i64 {value()}, ptr {slot}", f"br label %{end}"]
        self.lines.append(f"{end}:")
        return self.out(f"load i64, ptr {slot}")

    def call(self, name: str, args: list[str]) -> str:
        if name in self.functions:
            assert len(args) == self.functions[name], name
            return self.out(f"call i64 @{self.prefix}{name}({', '.join('i64 ' + a for a in args)})")
        primitive = self.names[name]
        result, a, b, c = self.name(), self.name(), self.name(), self.name()
        self.lines += [line.format(*args, out=result, a=a, b=b, c=c) for line in primitive.lines]
        return result

    def condition(self, node: ast.expr, then: str, other: str) -> None:
        match node:
            case ast.BoolOp(op=op, values=values):
                for value in values[:-1]:
                    following = self.label()
                    self.condition(value, *((following, other) if isinstance(op, ast.And) else (then, following)))
                    self.lines.append(f"{following}:")
                self.condition(values[-1], then, other)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.condition(operand, other, then)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                test = self.out(f"icmp {COMPARISONS[type(op)]} i64 {self.value(left)}, {self.value(right)}")
                self.lines.append(f"br i1 {test}, label %{then}, label %{other}")
            case _:
                test = self.out(f"icmp ne i64 {self.value(node)}, 0")
                self.lines.append(f"br i1 {test}, label %{then}, label %{other}")

    # Statements

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def jump(self, text: str) -> None:
        """Leaves the block; what follows, if anything, is dead and starts another."""
        self.lines += [text, f"{self.label()}:"]

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.store(name, self.value(value))
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                computed = [self.value(value) for value in values]
                for target, value in zip(targets, computed, strict=True):
                    self.store(target.id, value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.store(name, self.out(f"{OPERATORS[type(op)]} i64 {self.value(node.target)}, {self.value(value)}"))
            case ast.If(test=test, body=body, orelse=orelse):
                then, other, end = self.label(), self.label(), self.label()
                self.condition(test, then, other)
                for label, statements in ((then, body), (other, orelse)):
                    self.lines.append(f"{label}:")
                    self.block(statements)
                    self.lines.append(f"br label %{end}")
                self.lines.append(f"{end}:")
            case ast.While(test=test, body=body):
                self.loop(test, body, None)
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=args), body=body):
                start, stop = ("0", self.value(args[0])) if len(args) == 1 else (self.value(args[0]), self.value(args[1]))
                limit, counter = self.name(), self.name()
                self.slots += [f"{limit} = alloca i64", f"{counter} = alloca i64"]
                self.lines += [f"store i64 {stop}, ptr {limit}", f"store i64 {start}, ptr {counter}"]
                self.loop((name, counter, limit), body, counter)
            case ast.Break():
                self.jump(f"br label %{self.loops[-1][1]}")
            case ast.Continue():
                self.jump(f"br label %{self.loops[-1][0]}")
            case ast.Return(value=value):
                self.jump(f"ret i64 {self.value(value)}")
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=value):
                self.value(value)
            case _:
                raise SyntaxError(f"line {node.lineno}: not in this language: {ast.unparse(node)}")

    def loop(self, test, body: list[ast.stmt], counter: str | None) -> None:
        head, inside, following, end = self.label(), self.label(), self.label(), self.label()
        self.place(head)
        if counter is None:
            self.condition(test, inside, end)
            self.lines.append(f"{inside}:")
        else:
            name, _, limit = test
            current, stop = self.out(f"load i64, ptr {counter}"), self.out(f"load i64, ptr {limit}")
            more = self.out(f"icmp slt i64 {current}, {stop}")
            self.lines += [f"br i1 {more}, label %{inside}, label %{end}", f"{inside}:"]
            self.store(name, current)
        self.loops.append((following, end))
        self.block(body)
        self.loops.pop()
        self.place(following)
        if counter is not None:
            following_value = self.out(f"add i64 {self.out(f'load i64, ptr {counter}')}, 1")
            self.lines.append(f"store i64 {following_value}, ptr {counter}")
        self.lines += [f"br label %{head}", f"{end}:"]
