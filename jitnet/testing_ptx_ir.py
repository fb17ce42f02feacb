"""PTX as LLVM IR: each instruction as the one that means the same, for testing_ptx.py.

Known is what the PTX of scalar functions is made of. Any other instruction is an error, approximations above all, but for the
reciprocal that divisions begin with.
"""
from __future__ import annotations

import re

FLOATS = {"f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double"}
BITS = {"half": "i16", "bfloat": "i16", "float": "i32", "double": "i64"}   # float type -> registers that hold it
REGISTER = {"b16": "i16", "b32": "i32", "b64": "i64", "pred": "i1"}
EXACT = {"abs": "fabs", "sqrt": "sqrt", "fma": "fma"}           # with .rn where they round
TO_WHOLE = {"rni": "roundeven", "rmi": "floor", "rpi": "ceil", "rzi": "trunc"}
INFIX = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
ORDERED = {"eq": "oeq", "ne": "one", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "equ": "ueq", "neu": "une",
           "ltu": "ult", "leu": "ule", "gtu": "ugt", "geu": "uge", "num": "ord", "nan": "uno"}
LINE = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.]*)\s*(.*);")
FUNCTION = re.compile(r"\.(?:func|visible \.entry)\s+(?:\(\.param \.(\w+) func_retval0\)\s*)?(\w+)\((.*?)\)[^{;]*\{\n(.*?)\n\}",
                      re.DOTALL)
TABLE = re.compile(r"\.global \.align (\d+) \.b8 ([\w$]+)\[(\d+)\] = \{([\d, ]+)\};")


def unknown(text: str) -> ValueError:
    return ValueError(f"PTX that is not known here: {text}")


def llvm_of(ptx: str, name: str, ulps: int = 0) -> str:
    """The IR text of PTX functions; the entry becomes `name`, whose parameters are pointers to memory of this machine.

    ulps: how far approximate reciprocals are off. PTX says that it is an ulp at most.
    """
    lines = [f"@{symbol} = internal constant [{count} x i8] [{', '.join('i8 ' + b for b in values.split(', '))}], align {align}"
             for align, symbol, count, values in TABLE.findall(ptx)]
    functions = FUNCTION.findall(ptx)
    results = {symbol: REGISTER[kind] for kind, symbol, _, _ in functions if kind}
    for kind, symbol, parameters, body in functions:
        types = [REGISTER["b" + width] for width in re.findall(r"\.param \.[bu](\d+)", parameters)]
        lines += Translator(results, ulps).function(name if not kind else symbol, kind and REGISTER[kind], symbol, types, body)
    return "\n".join([*lines, ""])


class Translator:
    """One function of PTX. Registers are variables in memory, which LLVM takes out again."""

    def __init__(self, results: dict[str, str], ulps: int):
        self.results, self.ulps, self.lines, self.count, self.text = results, ulps, [], 0, ""

    def function(self, name: str, result: str, symbol: str, types: list[str], body: str) -> list[str]:
        """The lines of its IR."""
        self.kinds = {f"%{stem}": REGISTER[kind] for kind, stem in re.findall(r"\.reg \.(\w+)\s+%(\w+)<", body)}
        given = ", ".join(f"{kind} %given{k}" for k, kind in enumerate(types))
        head = f"define {'internal ' if result else ''}{result or 'void'} @{name}({given}) {{"
        self.memory = {"cc": "i1", **({"func_retval0": result} if result else {})}
        self.memory |= {f"{symbol}_param_{k}": kind for k, kind in enumerate(types)}
        for k in range(len(types)):
            self.put(f"store {types[k]} %given{k}, ptr %{symbol}_param_{k}")
        for line in body.split("\n"):
            self.line(line.split("//")[0].strip())
        made = [f"  %{place} = alloca {kind}" for place, kind in self.memory.items()]
        registers = dict.fromkeys(re.findall(r"%[a-z]+\d+", body))
        made += [f"  %v.{register[1:]} = alloca {self.kind(register)}" for register in registers]
        return [head, *made, *self.lines, "  unreachable", "}"]

    def kind(self, register: str) -> str:
        return self.kinds[re.match(r"%[a-z]+", register).group()]

    def put(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def value(self, text: str) -> str:
        """A new value."""
        self.count += 1
        self.put(f"%t{self.count} = {text}")
        return f"%t{self.count}"

    # Operands

    def read(self, operand: str, kind: str) -> str:
        """An operand as a value of an LLVM type; float types are the bits of a register."""
        bits = BITS.get(kind, kind)
        if operand.startswith("%"):
            found = self.value(f"load {self.kind(operand)}, ptr %v.{operand[1:]}")
            if self.kind(operand) != bits:   # a wider register holds it in its low bits
                found = self.value(f"trunc {self.kind(operand)} {found} to {bits}")
        elif operand[:2] in ("0f", "0d", "0x"):
            found = str(int(operand[2:], 16))
        elif re.match(r"-?\d+$", operand):
            found = operand if bits != "i1" else str(bool(int(operand))).lower()
        else:   # the address of a table
            found = self.value(f"ptrtoint ptr @{operand} to i64")
        return self.value(f"bitcast {bits} {found} to {kind}") if bits != kind else found

    def write(self, register: str, value: str, kind: str) -> None:
        """Puts a value of an LLVM type into a register; `_` is none."""
        if register == "_":
            return
        if kind in BITS:
            value, kind = self.value(f"bitcast {kind} {value} to {BITS[kind]}"), BITS[kind]
        self.put(f"store {kind} {value}, ptr %v.{register[1:]}")

    # Instructions

    def line(self, text: str) -> None:
        """Writes what a line of PTX means."""
        self.text = text
        if text.startswith("$"):
            self.put(f"br label %{text[1:-1]}")
            self.label(text[1:-1])
        elif text.startswith(".param"):   # of a call
            kind, place = re.match(r"\.param \.(\w+)\s+(\w+);", text).groups()
            self.memory[place] = REGISTER[kind]
        elif text == "ret;":
            result = self.memory.get("func_retval0")
            self.put(f"ret {result} {self.value(f'load {result}, ptr %func_retval0')}" if result else "ret void")
            self.begin()
        elif text.startswith("{ .reg"):   # a register of its own for what nobody reads
            _, move, _ = text.split(";")
            self.instruction(f"{move.strip().replace('tmp', '_')};")
        elif text and text not in ("{", "}") and text[0] != ".":
            self.instruction(text)

    def begin(self) -> str:
        """Starts another block; its name."""
        self.count += 1
        self.label(f"block{self.count}")
        return f"block{self.count}"

    def label(self, name: str) -> None:
        """Here the block of that name begins."""
        self.lines.append(f"{name}:")

    def instruction(self, text: str) -> None:
        negated, predicate, opcode, rest = LINE.match(text).groups()
        operands = re.findall(r"\{[^}]*\}|\([^)]*\)|\[[^\]]*\]|[^,\s]+", rest)
        name, *suffixes = opcode.split(".")
        if name == "bra":
            self.branch(negated, predicate, operands[0][1:])
        elif predicate:   # the rest, or nothing
            self.predicated(negated, predicate, text)
        else:
            method = getattr(self, f"do_{name}", None) or (self.do_float if suffixes[-1] in FLOATS else self.do_integer)
            method(name, suffixes, operands)

    def branch(self, negated: str, predicate: str | None, label: str) -> None:
        after = f"block{self.count + 2}"
        condition = self.read(predicate, "i1") if predicate else ""
        yes, no = (after, label) if negated else (label, after)
        self.put(f"br i1 {condition}, label %{yes}, label %{no}" if predicate else f"br label %{label}")
        self.begin()

    def predicated(self, negated: str, predicate: str, text: str) -> None:
        raise unknown(text)

    def do_ld(self, name, suffixes, operands):
        kind, register = f"i{suffixes[-1][1:]}", self.kind(operands[0])
        found = self.value(f"load {kind}, ptr {self.place(operands[1])}")
        if kind != register:   # a narrow element in a wider register
            found = self.value(f"{'sext' if suffixes[-1][0] == 's' else 'zext'} {kind} {found} to {register}")
        self.write(operands[0], found, register)

    def do_st(self, name, suffixes, operands):
        kind = f"i{suffixes[-1][1:]}"
        self.put(f"store {kind} {self.read(operands[1], kind)}, ptr {self.place(operands[0])}")

    def place(self, where: str) -> str:
        """A pointer to where `[base+offset]` lies."""
        base, _, offset = where[1:-1].partition("+")
        if base in self.memory:
            return f"%{base}"
        place = self.value(f"inttoptr i64 {self.read(base, 'i64')} to ptr")
        return self.value(f"getelementptr i8, ptr {place}, i64 {offset}") if offset else place

    def do_call(self, name, suffixes, operands):
        result, function, given = operands[0][1:-1], operands[1], operands[2][1:-1].split(", ")
        values = ", ".join(f"{self.memory[p]} {self.value(f'load {self.memory[p]}, ptr %{p}')}" for p in given)
        kind = self.results[function]
        self.put(f"store {kind} {self.value(f'call {kind} @{function}({values})')}, ptr %{result}")

    def do_cvta(self, name, suffixes, operands):
        self.write(operands[0], self.read(operands[1], "i64"), "i64")

    def do_mov(self, name, suffixes, operands):
        to, source = operands
        if to.startswith("{"):
            parts, kind = to[1:-1].split(", "), f"i{suffixes[0][1:]}"
            value, width = self.read(source, kind), int(kind[1:]) // len(parts)
            for k, part in enumerate(parts):
                moved = self.value(f"lshr {kind} {value}, {width * k}")
                self.write(part, self.value(f"trunc {kind} {moved} to i{width}"), f"i{width}")
        elif source.startswith("{"):
            parts, kind, value = source[1:-1].split(", "), f"i{suffixes[0][1:]}", "0"
            width = int(kind[1:]) // len(parts)
            for k, part in enumerate(parts):
                wide = self.value(f"zext i{width} {self.read(part, f'i{width}')} to {kind}")
                moved = self.value(f"shl {kind} {wide}, {width * k}")
                value = self.value(f"or {kind} {value}, {moved}")
            self.write(to, value, kind)
        else:
            kind = self.kind(to)
            self.write(to, self.read(source, kind), kind)

    def do_cvt(self, name, suffixes, operands):
        *how, to, source = suffixes
        a, b = (FLOATS.get(kind) or f"i{kind[1:]}" for kind in (to, source))
        value = self.read(operands[1], b)
        if to in FLOATS and source in FLOATS:
            if how and how[0] in TO_WHOLE and a == b:
                value = self.value(f"call {a} @llvm.{TO_WHOLE[how[0]]}.{to}({a} {value})")
            elif int(to[-2:]) > int(source[-2:]) and not how:
                value = self.value(f"fpext {b} {value} to {a}")
            elif (to, source, how) == ("bf16", "f32", ["rn"]):
                value = self.nearest_bfloat(value)
            elif int(to[-2:]) < int(source[-2:]) and how == ["rn"]:
                value = self.value(f"fptrunc {b} {value} to {a}")
            else:
                raise unknown(self.text)
        elif to in FLOATS:
            if how != ["rn"] and (int(source[1:]) > 32 or to == "f32"):
                raise unknown(self.text)
            value = self.value(f"{'sitofp' if source[0] == 's' else 'uitofp'} {b} {value} to {a}")
        elif source in FLOATS:
            if how != ["rzi"]:
                raise unknown(self.text)
            value = self.value(f"call {a} @llvm.fpto{to[0]}i.sat.{a}.{source}({b} {value})")
        elif a != b:
            how = "trunc" if int(a[1:]) < int(b[1:]) else "sext" if source[0] == "s" else "zext"
            value = self.value(f"{how} {b} {value} to {a}")
        if a == "i8":   # no register is that narrow
            a = self.kind(operands[0])
            value = self.value(f"{'sext' if to[0] == 's' else 'zext'} i8 {value} to {a}")
        self.write(operands[0], value, a)

    def nearest_bfloat(self, value: str) -> str:
        """The bfloat next to a float, by its bits: the instruction of some CPUs takes subnormal numbers for 0."""
        bits = self.value(f"bitcast float {value} to i32")
        last = self.value(f"and i32 {self.value(f'lshr i32 {bits}, 16')}, 1")
        nearest = self.value(f"add i32 {bits}, {self.value(f'add i32 {last}, 32767')}")
        nan, quiet = self.value(f"fcmp uno float {value}, {value}"), self.value(f"or i32 {bits}, 4194304")
        chosen = self.value(f"select i1 {nan}, i32 {quiet}, i32 {nearest}")
        half = self.value(f"trunc i32 {self.value(f'lshr i32 {chosen}, 16')} to i16")
        return self.value(f"bitcast i16 {half} to bfloat")

    def do_setp(self, name, suffixes, operands):
        relation, kind = suffixes
        type_ = FLOATS.get(kind) or f"i{kind[1:]}"
        a, b = (self.read(operand, type_) for operand in operands[1:])
        signed = relation if relation in ("eq", "ne") else kind[0] + relation
        compare = f"fcmp {ORDERED[relation]}" if kind in FLOATS else f"icmp {signed}"
        self.write(operands[0], self.value(f"{compare} {type_} {a}, {b}"), "i1")

    def do_selp(self, name, suffixes, operands):
        kind = FLOATS.get(suffixes[0]) or f"i{suffixes[0][1:]}"
        a, b = (self.read(operand, kind) for operand in operands[1:3])
        self.write(operands[0], self.value(f"select i1 {self.read(operands[3], 'i1')}, {kind} {a}, {kind} {b}"), kind)

    def do_clz(self, name, suffixes, operands):
        kind = f"i{suffixes[0][1:]}"
        found = self.value(f"call {kind} @llvm.ctlz.{kind}({kind} {self.read(operands[1], kind)}, i1 false)")
        self.write(operands[0], self.value(f"trunc {kind} {found} to i32") if kind == "i64" else found, "i32")

    def do_bfe(self, name, suffixes, operands):
        """Some bits of an integer, as an integer of their own."""
        value, start, length = operands[1:]
        kind, sign = integer(suffixes[0])
        if "%" in start + length or not 0 < int(length) <= int(kind[1:]) - int(start):
            raise unknown(self.text)
        above = int(kind[1:]) - int(start) - int(length)
        high = self.value(f"shl {kind} {self.read(value, kind)}, {above}")
        shift = "ashr" if sign == "s" else "lshr"
        self.write(operands[0], self.value(f"{shift} {kind} {high}, {int(kind[1:]) - int(length)}"), kind)

    def do_float(self, name, suffixes, operands):
        """Arithmetic of floats: what rounds says `.rn`."""
        kind, how = suffixes[-1], suffixes[:-1]
        type_ = FLOATS[kind]
        values = [self.read(operand, type_) for operand in operands[1:]]
        given = ", ".join(f"{type_} {value}" for value in values)
        if (name, kind, how) == ("rcp", "f32", ["approx", "ftz"]):
            self.write(operands[0], self.off(self.value(f"fdiv float 1.0, {values[0]}")), type_)
            return
        if how != (["rn"] if name in (*INFIX, "rcp", "sqrt", "fma") else []):
            raise unknown(self.text)
        if name in INFIX:
            value = f"{INFIX[name]} {type_} {values[0]}, {values[1]}"
        elif name == "rcp":
            value = f"fdiv {type_} 1.0, {values[0]}"
        elif name == "neg":
            value = f"fneg {type_} {values[0]}"
        elif name in ("max", "min"):    # the other one of a number and NaN; -0 is less than 0
            value = f"call {type_} @llvm.{name}imumnum.{kind}({given})"
        elif name == "copysign":        # the sign of the first, the size of the second
            value = f"call {type_} @llvm.copysign.{kind}({type_} {values[1]}, {type_} {values[0]})"
        elif name in EXACT:
            value = f"call {type_} @llvm.{EXACT[name]}.{kind}({given})"
        else:
            raise unknown(self.text)
        self.write(operands[0], self.value(value), type_)

    def off(self, exact: str) -> str:
        """A float32 that is off by some ulps; infinities, NaN and 0 are not."""
        bits = self.value(f"bitcast float {exact} to i32")
        size = self.value(f"and i32 {bits}, {0x7FFFFFFF}")
        ordinary = self.value(f"icmp ult i32 {self.value(f'sub i32 {size}, {1 << 23}')}, {0x7F000000}")
        moved = self.value(f"select i1 {ordinary}, i32 {self.value(f'add i32 {bits}, {self.ulps}')}, i32 {bits}")
        return self.value(f"bitcast i32 {moved} to float")

    def do_integer(self, name, suffixes, operands):
        """Arithmetic and logic of integers."""
        kind, sign = integer(suffixes[-1])
        values = [self.read(operand, kind) for operand in operands[1:]]
        if "cc" in suffixes:
            value = self.with_carry(name, True, kind, values)
        elif name in ("add", "sub", "and", "or", "xor"):
            value = self.value(f"{name} {kind} {values[0]}, {values[1]}")
        elif name in ("div", "rem"):    # by zero, or the least number by -1, gives nothing that anyone uses
            value = self.value(f"{sign}{name} {kind} {values[0]}, {values[1]}")
        elif name == "abs":
            value = self.value(f"call {kind} @llvm.abs.{kind}({kind} {values[0]}, i1 false)")
        elif name == "not":
            value = self.value(f"xor {kind} {values[0]}, -1")
        elif name == "neg":
            value = self.value(f"sub {kind} 0, {values[0]}")
        elif name in ("max", "min"):
            value = self.value(f"call {kind} @llvm.{sign}{name}.{kind}({kind} {values[0]}, {kind} {values[1]})")
        else:
            raise unknown(self.text)
        self.write(operands[0], value, kind)

    def do_shl(self, name, suffixes, operands):
        """A shift; by the width or more, all bits go."""
        kind, sign = integer(suffixes[-1])
        width, arithmetic = int(kind[1:]), name == "shr" and sign == "s"
        value, by = self.read(operands[1], kind), self.read(operands[2], "i32")
        least = self.value(f"call i32 @llvm.umin.i32(i32 {by}, i32 {width - 1})")
        amount = least if width == 32 else self.value(f"{'zext' if width > 32 else 'trunc'} i32 {least} to {kind}")
        shifted = self.value(f"{'shl' if name == 'shl' else 'ashr' if arithmetic else 'lshr'} {kind} {value}, {amount}")
        if not arithmetic:
            shifted = self.value(f"select i1 {self.value(f'icmp ult i32 {by}, {width}')}, {kind} {shifted}, {kind} 0")
        self.write(operands[0], shifted, kind)

    do_shr = do_shl

    def do_shf(self, name, suffixes, operands):
        """The high or low word of two words, shifted as one."""
        direction, mode, _ = suffixes
        if mode != "wrap":
            raise unknown(self.text)
        low, high, by = (self.read(operand, "i32") for operand in operands[1:])
        call = f"call i32 @llvm.fsh{direction}.i32(i32 {high}, i32 {low}, i32 {by})"
        self.write(operands[0], self.value(call), "i32")

    def do_addc(self, name, suffixes, operands):
        kind, _ = integer(suffixes[-1])
        values = [self.read(operand, kind) for operand in operands[1:]]
        self.write(operands[0], self.with_carry(name, "cc" in suffixes, kind, values), kind)

    do_subc = do_addc

    def with_carry(self, name: str, sets: bool, kind: str, values: list[str]) -> str:
        """A sum or difference that takes the carry or the borrow of the one before, or leaves its own."""
        what, value, carry, addends = "uadd" if name[:3] == "add" else "usub", values[0], "false", [values[1]]
        if name.endswith("c"):
            addends.append(self.value(f"zext i1 {self.value('load i1, ptr %cc')} to {kind}"))
        for addend in addends:
            both = self.value(f"call {{{kind}, i1}} @llvm.{what}.with.overflow.{kind}({kind} {value}, {kind} {addend})")
            value = self.value(f"extractvalue {{{kind}, i1}} {both}, 0")
            carry = self.value(f"or i1 {carry}, {self.value(f'extractvalue {{{kind}, i1}} {both}, 1')}")
        if sets:
            self.put(f"store i1 {carry}, ptr %cc")
        return value

    def do_mul(self, name, suffixes, operands):
        """The low or high half of a product, or all of it; mad adds to it."""
        if suffixes[-1] in FLOATS:
            self.do_float(name, suffixes, operands)
            return
        part, (kind, sign) = suffixes[0], integer(suffixes[-1])
        width, wide = int(kind[1:]), f"i{2 * int(kind[1:])}"
        a, b = (self.read(operand, kind) for operand in operands[1:3])
        if part == "lo":
            found = self.value(f"mul {kind} {a}, {b}")
        else:
            a, b = (self.value(f"{'sext' if sign == 's' else 'zext'} {kind} {value} to {wide}") for value in (a, b))
            found = self.value(f"mul {wide} {a}, {b}")
        if part == "hi":
            found = self.value(f"trunc {wide} {self.value(f'lshr {wide} {found}, {width}')} to {kind}")
        result = wide if part == "wide" else kind
        if name == "mad":
            found = self.value(f"add {result} {found}, {self.read(operands[3], result)}")
        self.write(operands[0], found, result)

    do_mad = do_mul


def integer(suffix: str) -> tuple[str, str]:
    """(LLVM type, "s" or "u") of `.s32`; of `.b32` and `.pred` too, whose sign nobody asks for."""
    if not re.fullmatch(r"pred|[bsu](8|16|32|64)", suffix):
        raise unknown(suffix)
    return ("i1", "u") if suffix == "pred" else (f"i{suffix[1:]}", "s" if suffix[0] == "s" else "u")
