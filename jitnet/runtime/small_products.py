"""Blocks of small matrix products as LLVM IR: what takes OpenBLAS longer to set up than to compute.

    block_float(rows, a, ra, ca, b, rb, c, rc, k, columns)    C = A B for 1, 2, 4 or 8 rows and at most 2 vectors of columns

Addresses and strides are in bytes: ra between rows of A and ca along them (so A may lie transposed), rb and rc between the
rows of B and C, whose elements lie side by side. The sums stay in registers; a block of few rows splits k among several
sums, for one sum would wait for itself. Their order depends on the block alone.
"""
from __future__ import annotations

import functools

from . import llvm
from .words import Primitive

ROWS = (8, 4, 2, 1)
SPLIT = {8: 1, 4: 1, 2: 2, 1: 4}  # how many sums share k
ITEM = {"float": 4, "double": 8}
ARGUMENTS = ("a", "ra", "ca", "b", "rb", "c", "rc", "k", "columns")


@functools.cache
def vector_bytes() -> int:
    """The width of the vectors that this machine computes with."""
    features = llvm.host()[2].split(",")
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


def tallest() -> int:
    """The rows of the largest block: as many as there are registers for."""
    return 8 if vector_bytes() == 64 else 4


class _Block:
    """The text of one block function of a fixed number of rows and vectors, the last of them masked or not."""

    def __init__(self, kind: str, rows: int, vectors: int, masked: bool):
        self.kind, self.rows, self.vectors, self.masked = kind, rows, vectors, masked
        self.lanes = vector_bytes() // ITEM[kind]
        self.type = f"<{self.lanes} x {kind}>"
        self.split = SPLIT[rows]
        self.suffix = f"v{self.lanes}f{8 * ITEM[kind]}"
        self.name = f"@block_{kind}_{rows}_{vectors}{'_masked' if masked else ''}"

    @property
    def sums(self) -> list[tuple[int, int, int]]:
        return [(s, r, v) for s in range(self.split) for r in range(self.rows) for v in range(self.vectors)]

    def load(self, name: str, pointer: str) -> str:
        if self.masked:
            return (f"{name} = call {self.type} @llvm.masked.load.{self.suffix}.p0(ptr {pointer}, i32 {ITEM[self.kind]}, "
                    f"<{self.lanes} x i1> %mask, {self.type} zeroinitializer)")
        return f"{name} = load {self.type}, ptr {pointer}, align {ITEM[self.kind]}"

    def store(self, value: str, pointer: str) -> str:
        if self.masked:
            return (f"call void @llvm.masked.store.{self.suffix}.p0({self.type} {value}, ptr {pointer}, i32 {ITEM[self.kind]}, "
                    f"<{self.lanes} x i1> %mask)")
        return f"store {self.type} {value}, ptr {pointer}, align {ITEM[self.kind]}"

    def step(self, label: str, shares: int) -> list[str]:
        """`shares` steps along k from number %p.label, one for each of the first sums; the results are %n.label.s.r.v."""
        lines = []
        for s in range(shares):
            at = f"{label}.{s}"
            lines += [f"%k.{at} = add i64 %p.{label}, {s}", f"%bo.{at} = mul i64 %k.{at}, %rb", f"%ao.{at} = mul i64 %k.{at}, %ca",
                      f"%bp.{at} = getelementptr i8, ptr %b.0, i64 %bo.{at}"]
            for v in range(self.vectors):
                lines += [f"%bp.{at}.{v} = getelementptr i8, ptr %bp.{at}, i64 {v * vector_bytes()}",
                          self.load(f"%b.{at}.{v}", f"%bp.{at}.{v}")]
            for r in range(self.rows):
                row = f"{at}.{r}"
                lines += [f"%ap.{row} = getelementptr i8, ptr %a.{r}, i64 %ao.{at}",
                          f"%x.{row} = load {self.kind}, ptr %ap.{row}, align {ITEM[self.kind]}",
                          f"%y.{row} = insertelement {self.type} poison, {self.kind} %x.{row}, i32 0",
                          f"%a.{row} = shufflevector {self.type} %y.{row}, {self.type} poison, <{self.lanes} x i32> zeroinitializer"]
                lines += [f"%n.{row}.{v} = call {self.type} @llvm.fmuladd.{self.suffix}({self.type} %a.{row}, {self.type} %b.{at}.{v}, "
                          f"{self.type} %s.{label}.{s}.{r}.{v})" for v in range(self.vectors)]
        return lines

    def loop(self, label: str, before: str, after: str, starts: dict, first: str, shares: int) -> list[str]:
        """A loop in steps of `shares` while that many are left, from %first."""
        lines = [f"{label}:", f"%p.{label} = phi i64 [ {first}, %{before} ], [ %q.{label}, %{label}.body ]"]
        for s, r, v in self.sums:
            new = f"%n.{label}.{s}.{r}.{v}" if s < shares else f"%s.{label}.{s}.{r}.{v}"
            lines.append(f"%s.{label}.{s}.{r}.{v} = phi {self.type} [ {starts[s, r, v]}, %{before} ], [ {new}, %{label}.body ]")
        lines += [f"%q.{label} = add i64 %p.{label}, {shares}", f"%more.{label} = icmp sle i64 %q.{label}, %k",
                  f"br i1 %more.{label}, label %{label}.body, label %{after}", f"{label}.body:", *self.step(label, shares),
                  f"br label %{label}"]
        return lines

    def text(self) -> str:
        header = ", ".join(f"i64 %{name}" for name in ARGUMENTS)
        lines = ["entry:", "%b.0 = inttoptr i64 %b to ptr", "%c.base = inttoptr i64 %c to ptr", "%a.base = inttoptr i64 %a to ptr"]
        for r in range(self.rows):
            lines += [f"%ar.{r} = mul i64 %ra, {r}", f"%a.{r} = getelementptr i8, ptr %a.base, i64 %ar.{r}",
                      f"%cr.{r} = mul i64 %rc, {r}", f"%c.{r} = getelementptr i8, ptr %c.base, i64 %cr.{r}"]
        if self.masked:
            many = f"<{self.lanes} x i64>"
            lines += [f"%one = insertelement {many} poison, i64 %columns, i32 0",
                      f"%all = shufflevector {many} %one, {many} poison, <{self.lanes} x i32> zeroinitializer",
                      f"%mask = icmp slt {many} <{', '.join(f'i64 {i}' for i in range(self.lanes))}>, %all"]
        last, starts = "entry", dict.fromkeys(self.sums, "zeroinitializer")
        lines.append("br label %main")
        lines += self.loop("main", "entry", "rest" if self.split > 1 else "end", starts, "0", self.split)
        last = "main"
        if self.split > 1:
            starts = {key: "%s.main." + ".".join(map(str, key)) for key in self.sums}
            lines += self.loop("rest", "main", "end", starts, "%p.main", 1)
            last = "rest"
        lines.append("end:")
        for r in range(self.rows):
            for v in range(self.vectors):
                parts = [f"%s.{last}.{s}.{r}.{v}" for s in range(self.split)]
                while len(parts) > 1:  # pairs of sums
                    pairs = [f"{parts[i]}.t" for i in range(0, len(parts), 2)]
                    lines += [f"{pair} = fadd {self.type} {parts[2 * i]}, {parts[2 * i + 1]}" for i, pair in enumerate(pairs)]
                    parts = pairs
                lines += [f"%cp.{r}.{v} = getelementptr i8, ptr %c.{r}, i64 {v * vector_bytes()}", self.store(parts[0], f"%cp.{r}.{v}")]
        lines.append("ret void")
        body = "\n".join(line if line.endswith(":") else f"  {line}" for line in lines)
        return f"define internal void {self.name}({header}) nounwind noinline {{\n{body}\n}}\n"


def _declarations() -> str:
    lines = []
    for kind, item in ITEM.items():
        lanes = vector_bytes() // item
        type_, suffix, mask = f"<{lanes} x {kind}>", f"v{lanes}f{8 * item}", f"<{lanes} x i1>"
        lines += [f"declare {type_} @llvm.fmuladd.{suffix}({type_}, {type_}, {type_})",
                  f"declare {type_} @llvm.masked.load.{suffix}.p0(ptr, i32, {mask}, {type_})",
                  f"declare void @llvm.masked.store.{suffix}.p0({type_}, ptr, i32, {mask})"]
    return "\n".join(lines) + "\n"


def _choice(kind: str) -> str:
    """The function that takes the block of so many rows, and gives the columns that it did."""
    lanes, passed = vector_bytes() // ITEM[kind], ", ".join(f"i64 %{name}" for name in ARGUMENTS)
    rows = [r for r in ROWS if r <= tallest()]
    lines = [f"define internal i64 @block_{kind}(i64 %rows, {passed}) nounwind {{", "entry:",
             f"  %two = icmp sge i64 %columns, {2 * lanes}", f"  %one = icmp sge i64 %columns, {lanes}",
             "  br i1 %two, label %wide, label %narrow", "narrow:", "  br i1 %one, label %single, label %part"]
    for label, shape, done in (("wide", "2", 2 * lanes), ("single", "1", lanes), ("part", "1_masked", "%columns")):
        cases = " ".join(f"i64 {r}, label %{label}.{r}" for r in rows[:-1])
        lines += [f"{label}:", f"  switch i64 %rows, label %{label}.1 [ {cases} ]"]
        for r in rows:
            lines += [f"{label}.{r}:", f"  call void @block_{kind}_{r}_{shape}({passed})", f"  ret i64 {done}"]
    return "\n".join(lines) + "\n}\n"


def text() -> str:
    """IR of all blocks, and of `block_float` and `block_double`."""
    shapes = [(2, False), (1, False), (1, True)]
    blocks = [_Block(kind, rows, *shape).text() for kind in ITEM for rows in ROWS if rows <= tallest() for shape in shapes]
    return _declarations() + "".join(blocks) + "".join(_choice(kind) for kind in ITEM)


def names() -> dict[str, object]:
    """What words.py code may call: block_float(rows, a, ra, ...) and block_double, which give the columns they did; TALLEST."""
    arguments = ", ".join(f"i64 {{{i}}}" for i in range(1 + len(ARGUMENTS)))
    calls = {f"block_{kind}": Primitive(f"{{out}} = call i64 @block_{kind}({arguments})") for kind in ITEM}
    return {**calls, "TALLEST": tallest()}
