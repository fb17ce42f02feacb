"""Whole kernels of PTX as native code that runs one thread at a time, up to where threads meet: for testing_ptx_gpu.py.

    native = native_kernel(ptx)
    native.run(states, order, reasons, ...)     each thread goes on from where it stopped; reasons[k]: why thread k stopped now

A thread is a row of `states`: a head (which thread it is, where it stopped, what it gives to a shuffle), then its registers.
The function of a kernel is `resume(state)`: it jumps to where the thread stopped, runs to the next barrier or shuffle and says
which it is. Every address goes through `testing_ptx_memory.access`, which gives the one to use here, or finds a fault.
"""
from __future__ import annotations

import ctypes
import functools
import hashlib
import re
from dataclasses import dataclass

import numpy as np

from .runtime import llvm as objects
from .testing_ptx_ir import FLOATS, FUNCTION, INFIX, ORDERED, REGISTER, TABLE, Translator, integer, llvm_of, unknown
from .testing_ptx_memory import ATOMIC, READ, READ_ONLY, SPACES, WORLD, WRITE, access

DONE, FAULT, BARRIER, SHUFFLE, RUNNING = range(5)   # why a thread stops; running: it does not
HEAD = ("place", "line", "thread", "tid.x", "tid.y", "tid.z", "laneid", "value", "lane", "clamp", "mask")
"""The first int32 of a state; place: where to go on, line: of the PTX, value: given to a shuffle, then got from it."""
FIRST_REGISTER = 48   # the byte; registers are 8 bytes apart
MEMORY = "ptr %world, ptr %ranges, ptr %written"
GAP = 64              # bytes between arrays of shared memory: a place behind one is in none
ROUND = """
define void @{name}(ptr %states, i64 %stride, ptr %order, i64 %n, ptr %reasons, {memory}) {{
  br label %loop
loop:
  %i = phi i64 [0, %0], [%next, %body]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %place = getelementptr i64, ptr %order, i64 %i
  %thread = load i64, ptr %place
  %at = mul i64 %thread, %stride
  %state = getelementptr i8, ptr %states, i64 %at
  %reason = call i32 @resume(ptr %state, {memory})
  %there = getelementptr i32, ptr %reasons, i64 %thread
  store i32 %reason, ptr %there
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}}
"""


@dataclass(frozen=True)
class Symbol:
    """An array that a kernel declares: where it lies in its memory, and what is there to begin with."""

    space: str
    start: int
    nbytes: int
    values: bytes = b""


class KernelTranslator(Translator):
    """A kernel. Its registers lie in the state of a thread."""

    def __init__(self, symbols: dict[str, Symbol], local_bytes: int):
        super().__init__({}, 0)
        self.symbols, self.local_bytes = symbols, local_bytes
        self.number, self.places = 0, 0            # of the line; of meeting points
        self.blocks: list[list[str]] = []          # the opcodes of each piece without jumps

    def kernel(self, symbol: str, parameters: int, body: str, first_line: int) -> str:
        """Its IR."""
        self.kinds = {f"%{stem}": REGISTER[kind] for kind, stem in re.findall(r"\.reg \.(\w+)\s+%(\w+)<", body)}
        given = {f"{symbol}_param_{k}": "i64" for k in range(parameters)}
        self.memory = {"cc": "i1", **given}
        registers = list(dict.fromkeys(re.findall(r"%[a-z]+\d+", body)))
        self.label("begin")
        for self.number, line in enumerate(body.split("\n"), first_line):
            self.line(line.split("//")[0].strip())
        self.state_bytes = -(-(FIRST_REGISTER + 8 * len(registers)) // 16) * 16
        head = [f"define internal i32 @resume(ptr noalias %state, {MEMORY}) {{"]
        head += [f"  %{place} = alloca {kind}" for place, kind in self.memory.items() if place not in given]
        head += [f"  %h.{name} = getelementptr i32, ptr %state, i64 {k}" for k, name in enumerate(HEAD)]
        head += [f"  %v.{r[1:]} = getelementptr i8, ptr %state, i64 {FIRST_REGISTER + 8 * k}" for k, r in enumerate(registers)]
        for name in ("parameters", "counts", "shared", "tables", "local"):
            head += [f"  %at.{name} = getelementptr i64, ptr %world, i64 {WORLD.index(name)}"]
            head += [f"  %w.{name} = load i64, ptr %at.{name}"]
        head += ["  %counts = inttoptr i64 %w.counts to ptr", "  %given = inttoptr i64 %w.parameters to ptr"]
        head += [f"  %{place} = getelementptr i64, ptr %given, i64 {k}" for k, place in enumerate(given)]
        head += ["  %thread = load i32, ptr %h.thread", "  %number = zext i32 %thread to i64",
                 f"  %own = mul i64 %number, {self.local_bytes}", "  %mine = add i64 %w.local, %own"]
        targets = " ".join(f"i32 {k}, label %after{k}" for k in range(1, self.places + 1))
        head += ["  %where = load i32, ptr %h.place", f"  switch i32 %where, label %begin [{targets}]"]
        return "\n".join([*head, *self.lines, "  unreachable", "fault:", f"  ret i32 {FAULT}", "}", ""])

    # Pieces without jumps, and where threads stop

    def label(self, name: str) -> None:
        super().label(name)
        place = self.value(f"getelementptr i64, ptr %counts, i64 {len(self.blocks)}")
        count = self.value(f"load i64, ptr {place}")
        self.put(f"store i64 {self.value(f'add i64 {count}, 1')}, ptr {place}")
        self.blocks.append([])

    def line(self, text: str) -> None:
        if text == "ret;":
            self.blocks[-1].append("ret")
            self.put(f"ret i32 {DONE}")
            self.begin()
        else:
            super().line(text)

    def instruction(self, text: str) -> None:
        self.blocks[-1].append(re.sub(r"^@\S+\s+", "", text).split()[0].rstrip(";"))
        super().instruction(text)

    def predicated(self, negated: str, predicate: str, text: str) -> None:
        self.count += 1
        yes, no = f"if{self.count}", f"else{self.count}"
        self.put(f"br i1 {self.read(predicate, 'i1')}, label %{no if negated else yes}, label %{yes if negated else no}")
        self.lines.append(f"{yes}:")
        super().instruction(text.split(None, 1)[1])
        self.put(f"br label %{no}")
        self.lines.append(f"{no}:")

    def stop(self, reason: int) -> None:
        """Ends this turn of the thread, which goes on here in its next."""
        self.places += 1
        self.put(f"store i32 {self.places}, ptr %h.place")
        self.put(f"store i32 {self.number}, ptr %h.line")
        self.put(f"ret i32 {reason}")
        self.label(f"after{self.places}")

    def do_bar(self, name, suffixes, operands):
        if (suffixes, operands) != (["sync"], ["0"]):
            raise unknown(self.text)
        self.stop(BARRIER)

    def do_shfl(self, name, suffixes, operands):
        if suffixes != ["sync", "bfly", "b32"] or "|" in operands[0]:
            raise unknown(self.text)
        for place, operand in zip(("value", "lane", "clamp", "mask"), operands[1:], strict=True):
            self.put(f"store i32 {self.read(operand, 'i32')}, ptr %h.{place}")
        self.stop(SHUFFLE)
        self.write(operands[0], self.value("load i32, ptr %h.value"), "i32")

    # Memory

    def host_address(self, where: str, nbytes: int, space: str, what: int) -> str:
        """A pointer to memory of this machine, once the address has been checked."""
        base, _, offset = where[1:-1].partition("+")
        address = self.read(base, "i64")
        if offset:
            address = self.value(f"add i64 {address}, {offset}")
        given = ", ".join(f"i64 {value}" for value in ("%number", address, nbytes, SPACES.index(space), what, self.number))
        found = self.value(f"call i64 inttoptr (i64 {access().address} to ptr)({MEMORY}, {given})")
        self.put(f"br i1 {self.value(f'icmp eq i64 {found}, 0')}, label %fault, label %good{self.count}")
        self.lines.append(f"good{self.count}:")
        return self.value(f"inttoptr i64 {found} to ptr")

    def parts(self, suffixes: list[str], values: str) -> tuple[str, int, list[str], bool]:
        """(address space, bytes of an element, registers, is it for reading alone?) of a load or store."""
        *how, kind = suffixes
        space = next((s for s in how if s in SPACES), "generic")
        registers = values[1:-1].split(", ") if values.startswith("{") else [values]
        vector = [f"v{len(registers)}"] if values.startswith("{") else []
        if [h for h in how if h not in (space, "nc")] != vector:
            raise unknown(self.text)
        return space, int(kind[1:]) // 8, registers, "nc" in how

    def do_ld(self, name, suffixes, operands):
        if suffixes[0] == "param":
            super().do_ld(name, suffixes, operands)
            return
        space, nbytes, registers, alone = self.parts(suffixes, operands[0])
        place = self.host_address(operands[1], nbytes * len(registers), space, READ_ONLY if alone else READ)
        for k, register in enumerate(registers):
            found = self.value(f"load i{8 * nbytes}, ptr {self.value(f'getelementptr i8, ptr {place}, i64 {k * nbytes}')}")
            if register != "_":
                kind = self.kind(register)
                if kind != f"i{8 * nbytes}":
                    found = self.value(f"{'sext' if suffixes[-1][0] == 's' else 'zext'} i{8 * nbytes} {found} to {kind}")
                self.write(register, found, kind)

    def do_st(self, name, suffixes, operands):
        if suffixes[0] == "param":   # of a call
            super().do_st(name, suffixes, operands)
            return
        space, nbytes, registers, _ = self.parts(suffixes, operands[1])
        values = [self.read(register, f"i{8 * nbytes}") for register in registers]
        place = self.host_address(operands[0], nbytes * len(registers), space, WRITE)
        for k, value in enumerate(values):
            self.put(f"store i{8 * nbytes} {value}, ptr {self.value(f'getelementptr i8, ptr {place}, i64 {k * nbytes}')}")

    def do_atom(self, name, suffixes, operands):
        *how, kind = suffixes
        space = how[0] if how[0] in SPACES else "generic"
        how = [h for h in how if h not in (space, "relaxed", "gpu", "noftz")]
        type_ = FLOATS.get(kind) or f"i{kind[1:]}"
        place = self.host_address(operands[1], int(kind[-2:]) // 8, space, ATOMIC)
        old, value = self.value(f"load {type_}, ptr {place}"), self.read(operands[2], type_)
        if how == ["add"] and kind == "f32" and space == "global":   # numbers below the normal ones are zeros there
            new = self.flushed(self.value(f"fadd float {self.flushed(old)}, {self.flushed(value)}"))
        elif how == ["add"]:
            new = self.value(f"{'fadd' if kind in FLOATS else 'add'} {type_} {old}, {value}")
        elif how == ["cas"]:
            same = self.value(f"icmp eq {type_} {old}, {value}")
            new = self.value(f"select i1 {same}, {type_} {self.read(operands[3], type_)}, {type_} {old}")
        else:
            raise unknown(self.text)
        self.put(f"store {type_} {new}, ptr {place}")
        self.write(operands[0], old, type_)

    def flushed(self, value: str) -> str:
        """A float32; a zero of its sign where it is subnormal."""
        size = self.value(f"call float @llvm.fabs.f32(float {value})")
        zero = self.value(f"call float @llvm.copysign.f32(float 0.0, float {value})")
        return self.value(f"select i1 {self.value(f'fcmp olt float {size}, 0x3810000000000000')}, float {zero}, float {value}")

    def read(self, operand: str, kind: str) -> str:
        """An operand as a value: special registers and addresses of arrays too."""
        if re.match(r"%\w+\.[xyz]$|%laneid$", operand):
            if operand[1:] in HEAD:
                return self.value(f"load i32, ptr %h.{operand[1:]}")
            if operand[1:] not in WORLD:
                raise unknown(self.text)
            place = self.value(f"getelementptr i64, ptr %world, i64 {WORLD.index(operand[1:])}")
            return self.value(f"load i32, ptr {place}")
        if operand in self.memory:   # the address of a parameter, of which ld.param loads
            return self.value(f"ptrtoint ptr %{operand} to i64")
        if operand in self.symbols:
            symbol = self.symbols[operand]
            return self.value(f"add i64 {'%w.tables' if symbol.space == 'global' else 0}, {symbol.start}")
        if re.match(r"(0x[0-9A-F]+|\d+)U$", operand):
            return str(int(operand[:-1], 0))
        return super().read(operand, kind)

    def do_cvta(self, name, suffixes, operands):
        """Addresses of shared and of local memory begin at 0, and lie at those of this machine as generic ones."""
        space = suffixes[-2]
        value = self.read(operands[1], "i64")
        if space in ("shared", "local"):
            base = "%w.shared" if space == "shared" else "%mine"
            value = self.value(f"{'sub' if suffixes[0] == 'to' else 'add'} i64 {value}, {base}")
        elif space != "global":
            raise unknown(self.text)
        self.write(operands[0], value, "i64")

    # What scalar functions do without

    def do_integer(self, name, suffixes, operands):
        """Divisions by zero, which threads beyond the last element do, and drop: all ones; they are no fault."""
        if suffixes[-1] in ("f16x2", "bf16x2"):
            self.do_pair(name, suffixes, operands)
            return
        if name not in ("div", "rem"):
            super().do_integer(name, suffixes, operands)
            return
        kind, sign = integer(suffixes[-1])
        a, b = (self.read(operand, kind) for operand in operands[1:])
        bad = self.value(f"icmp eq {kind} {b}, 0")
        if sign == "s":   # nor is the least number by -1
            least = self.value(f"icmp eq {kind} {a}, {-(1 << int(kind[1:]) - 1)}")
            both = self.value(f"and i1 {least}, {self.value(f'icmp eq {kind} {b}, -1')}")
            bad = self.value(f"or i1 {bad}, {both}")
        by = self.value(f"select i1 {bad}, {kind} 1, {kind} {b}")
        found = self.value(f"{sign}{name} {kind} {a}, {by}")
        self.write(operands[0], self.value(f"select i1 {bad}, {kind} -1, {kind} {found}"), kind)

    def do_mul(self, name, suffixes, operands):
        if suffixes[-1] in ("f16x2", "bf16x2"):
            self.do_pair(name, suffixes, operands)
        else:
            super().do_mul(name, suffixes, operands)

    def do_prmt(self, name, suffixes, operands):
        """Four of the eight bytes of two registers, or four times the sign of one."""
        if suffixes != ["b32"] or "%" in operands[3]:
            raise unknown(self.text)
        selector = int(operands[3].rstrip("U"), 0)
        low, high = (self.value(f"zext i32 {self.read(operand, 'i32')} to i64") for operand in operands[1:3])
        both, result = self.value(f"or i64 {low}, {self.value(f'shl i64 {high}, 32')}"), "0"
        for k in range(4):
            pick = selector >> 4 * k & 15
            byte = self.value(f"trunc i64 {self.value(f'lshr i64 {both}, {8 * (pick & 7)}')} to i8")
            if pick & 8:
                byte = self.value(f"ashr i8 {byte}, 7")
            moved = self.value(f"shl i32 {self.value(f'zext i8 {byte} to i32')}, {8 * k}")
            result = self.value(f"or i32 {result}, {moved}")
        self.write(operands[0], result, "i32")

    def do_cvt(self, name, suffixes, operands):
        if suffixes not in (["rn", "f16x2", "f32"], ["rn", "bf16x2", "f32"]):
            super().do_cvt(name, suffixes, operands)
            return
        kind, halves = FLOATS[suffixes[1][:-2]], []
        for operand in operands[1:]:   # the first is the upper half
            half = self.value(f"fptrunc float {self.read(operand, 'float')} to {kind}")
            halves.append(self.value(f"zext i16 {self.value(f'bitcast {kind} {half} to i16')} to i32"))
        self.write(operands[0], self.value(f"or i32 {self.value(f'shl i32 {halves[0]}, 16')}, {halves[1]}"), "i32")

    def do_setp(self, name, suffixes, operands):
        if suffixes[1:] not in (["f16x2"], ["bf16x2"]):
            super().do_setp(name, suffixes, operands)
            return
        kind = FLOATS[suffixes[1][:-2]]   # two comparisons: of the lower halves, and of the upper ones
        a, b = (self.value(f"bitcast i32 {self.read(operand, 'i32')} to <2 x {kind}>") for operand in operands[1:])
        found = self.value(f"fcmp {ORDERED[suffixes[0]]} <2 x {kind}> {a}, {b}")
        for k, register in enumerate(operands[0].split("|")):
            self.write(register, self.value(f"extractelement <2 x i1> {found}, i64 {k}"), "i1")

    def do_pair(self, name, suffixes, operands):
        """Arithmetic of two halves at once."""
        *how, kind = suffixes
        type_ = f"<2 x {FLOATS[kind[:-2]]}>"
        values = [self.value(f"bitcast i32 {self.read(operand, 'i32')} to {type_}") for operand in operands[1:]]
        intrinsic = {("fma", "rn"): "fma", ("abs",): "fabs", ("max", "NaN"): "maximum", ("min", "NaN"): "minimum",
                     ("max",): "maximumnum", ("min",): "minimumnum"}.get((name, *how))
        if intrinsic:
            given = ", ".join(f"{type_} {value}" for value in values)
            found = self.value(f"call {type_} @llvm.{intrinsic}.v2{kind[:-2]}({given})")
        elif name in ("add", "sub", "mul") and how in ([], ["rn"]):
            found = self.value(f"{INFIX[name]} {type_} {', '.join(values)}")
        elif (name, how) == ("neg", []):
            found = self.value(f"fneg {type_} {values[0]}")
        else:
            raise unknown(self.text)
        self.write(operands[0], self.value(f"bitcast {type_} {found} to i32"), "i32")

    def do_float(self, name, suffixes, operands):
        if name in ("max", "min") and suffixes[0] == "NaN":
            type_ = FLOATS[suffixes[1]]
            a, b = (self.read(operand, type_) for operand in operands[1:])
            call = f"call {type_} @llvm.{name}imum.{suffixes[1]}({type_} {a}, {type_} {b})"
            self.write(operands[0], self.value(call), type_)
        elif name in ("add", "sub", "fma") and suffixes[:2] == ["rn", "f32"] and suffixes[2:]:   # all but the last are narrower
            kind = FLOATS[suffixes[2]]
            values = [self.value(f"fpext {kind} {self.read(operand, kind)} to float") for operand in operands[1:-1]]
            values.append(self.read(operands[-1], "float"))
            call = f"call float @llvm.fma.f32({', '.join(f'float {value}' for value in values)})"
            self.write(operands[0], self.value(call if name == "fma" else f"f{name} float {', '.join(values)}"), "float")
        elif name in ("add", "sub", "mul") and len(suffixes) == 1:   # products may be joined to it: here they are not
            super().do_float(name, ["rn", *suffixes], operands)
        else:
            super().do_float(name, suffixes, operands)


# A kernel as native code

ENTRY = re.compile(r"\.visible \.entry (\w+)\((.*?)\)[^{;]*\{\n(.*?)\n\}", re.DOTALL)
ARRAY = re.compile(r"\.(shared|local) \.align (\d+) \.b8 ([\w$]+)\[(\d*)\];")


@dataclass(frozen=True, eq=False)
class NativeKernel:
    """A kernel as code of this machine."""

    name: str
    parameters: int
    run: ctypes.CFUNCTYPE
    loaded: objects.LoadedObject   # the code lives as long as this does
    symbols: dict[str, Symbol]
    state_bytes: int
    local_bytes: int
    blocks: list[list[str]]        # opcodes; how often each runs is counted
    lines: list[str]               # of the PTX

    def shared_bytes(self, dynamic: int) -> int:
        """Bytes of shared memory from 0 on, the gaps between its arrays included."""
        return max([s.start + (s.nbytes or dynamic) + GAP for s in self.symbols.values() if s.space == "shared"], default=GAP)


def declared(ptx: str) -> dict[str, Symbol]:
    """The arrays that a kernel's text declares, with places."""
    symbols, ends = {}, {"shared": GAP, "local": 0, "global": 0}
    found = [(space, int(align), name, int(count or 0), b"") for space, align, name, count in ARRAY.findall(ptx)]
    found += [("global", int(align), name, int(count), bytes(map(int, values.split(", "))))
              for align, name, count, values in TABLE.findall(ptx)]
    if len(found) != len(re.findall(r"^\s*(?:\.extern )?\.(?:shared|local|global|const) ", ptx, re.MULTILINE)):
        raise unknown("an array that is declared in another way")
    for space, align, name, count, values in sorted(found, key=lambda f: f[3] == 0):   # the launch's own comes last
        start = -(-ends[space] // align) * align
        symbols[name] = Symbol(space, start, count, values)
        ends[space] = start + count + (GAP if space == "shared" else 0)
    return symbols


@functools.lru_cache(maxsize=512)
def native_kernel(ptx: str) -> NativeKernel:
    """The kernel of a PTX text as code of this machine."""
    ((name, parameters, body),) = ENTRY.findall(ptx)
    symbols = declared(ptx)
    local = -(-max([s.start + s.nbytes for s in symbols.values() if s.space == "local"], default=0) // 16) * 16
    first = ptx[:ptx.index(body)].count("\n") + 1
    translator = KernelTranslator(symbols, local)
    translator.results = {symbol: REGISTER[kind] for kind, symbol, _, _ in FUNCTION.findall(ptx) if kind}
    text = translator.kernel(name, parameters.count(".param"), body, first)
    symbol = f"jitnet_ptx_{hashlib.sha256(ptx.encode()).hexdigest()}"
    functions = llvm_of(ptx[:ptx.index(".visible .entry")] if translator.results else "", "")
    text = "\n".join([functions, text, ROUND.format(name=symbol, memory=MEMORY)])
    loaded = objects.LoadedObject(objects.emit_object([text], vectorize=False), (symbol,))
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p, ctypes.c_int64] * 2, *[ctypes.c_void_p] * 4)(loaded.address[symbol])
    return NativeKernel(name, parameters.count(".param"), run, loaded, symbols, translator.state_bytes, local,
                        translator.blocks, ptx.split("\n"))


def head_of(states: np.ndarray, field: str) -> np.ndarray:
    """That field of the heads of all threads."""
    return states.view(np.int32)[:, HEAD.index(field)]
