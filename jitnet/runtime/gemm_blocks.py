"""Blocks of matrix products as LLVM IR: the sums of some rows and two vectors of columns stay in registers for all of k.

    block_8_2(a, ra, ca, b, rb, c, rc, k, columns, beta)      C = A B + beta C, 8 rows and at most 2 vectors
    lying_14_2, standing_14_2      the same for 14 rows, the tallest, where A's rows are contiguous, and where its columns are
    packing_14_2(a, place, ca, ...)      a standing block that leaves its rows of A packed
    packed_14_2(place, 0, 0, ...)      a block of rows that were packed
    turn(x, rx, lines, k, panel, width)      panel[i, j] = x[j, i]: a square of one vector's edge; only `lines` lines are read
    copy(x, rx, k, panel, columns)      the panel is k rows of x, at most two vectors wide

Addresses and strides are in bytes: ra between the rows of A and ca along them (so A may lie transposed), rb and rc between the
rows of B and C, whose elements lie side by side. An element of A is broadcast from where it lies. The last vector is masked.
beta is the bits of a double. Blocks of one or two rows split k among several sums, for one sum would wait for itself; the
order of additions depends on the block alone.

The tallest blocks reach 97% of what the processor can multiply, as long as there is little to do besides: an addition for a
pointer may take the place of a multiplication. So elements of A stand at fixed distances from few pointers.
"""
from __future__ import annotations

from . import llvm
from .words import Primitive

ITEM = {"float": 4, "double": 8}
PANEL_K = 256  # rows of a panel that was copied: with two vectors of 64 bytes 32 KB, which stay in the first cache
# Of a transposed A the first and the last element of a step AHEAD are fetched: no hardware guesses where steps longer than 2 KB
# lead to.
NEAR, AHEAD = 128, 12
BLOCK_BYTES = 1 << 15  # of a packed block of A: of float32, 512 steps along k
SPLIT = {1: 4, 2: 2}  # rows -> how many sums share k
TALL = ("lying", "standing", "packing", "packed")
TOGETHER = 2  # steps along k in one round of a block whose rows lie


def vector_bytes() -> int:
    """The width of the vectors that blocks are made of; 0 on a machine without masks and fused multiply-adds."""
    features = llvm.host()[2].split(",")
    if "+fma" not in features:
        return 0
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 0


def heights(width: int) -> tuple[int, ...]:
    """Rows of the blocks, tallest first: 14 x 2 sums of 32 registers, 6 x 2 of 16."""
    return (14, 8, 4, 2, 1) if width == 64 else (6, 4, 2, 1)


class Blocks:
    """The IR of all functions for one type of element ("float", "double") and one width of vectors in bytes."""

    def __init__(self, kind: str, width: int):
        self.kind, self.width, self.item = kind, width, ITEM[kind]
        self.lanes = width // self.item
        self.vector = f"<{self.lanes} x {kind}>"
        self.suffix = f"v{self.lanes}f{8 * self.item}"

    def text(self) -> str:
        """All of it, with declarations."""
        vector, suffix, mask = self.vector, self.suffix, f"<{self.lanes} x i1>"
        head = ["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)", "declare i64 @llvm.smin.i64(i64, i64)",
                "declare i64 @llvm.smax.i64(i64, i64)",
                f"declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})",
                f"declare {vector} @llvm.masked.load.{suffix}.p0(ptr, i32, {mask}, {vector})",
                f"declare void @llvm.masked.store.{suffix}.p0({vector}, ptr, i32, {mask})"]
        blocks = [self.block(*shape) for shape in self.shapes()]
        return "\n".join([*head, *blocks, self.turn(), self.copy()])

    def shapes(self) -> list[tuple[str, int, int]]:
        """(kind, rows, vectors) of every block."""
        tallest, *others = heights(self.width)
        kinds = [*((kind, tallest) for kind in TALL), *(("block", rows) for rows in others)]
        return [(kind, rows, vectors) for kind, rows in kinds for vectors in (2, 1) if (kind, vectors) != ("packing", 1)]

    def counts(self) -> dict[str, int]:
        """How many arguments each function has."""
        return {f"{kind}_{rows}_{vectors}": 10 for kind, rows, vectors in self.shapes()} | {"turn": 6, "copy": 5}

    def declarations(self) -> str:
        """What a module says that calls these functions."""
        return "\n".join(f"declare hidden void @{name}({', '.join(['i64'] * count)})" for name, count in self.counts().items())

    def names(self) -> dict[str, object]:
        """What words.py may call, and numbers."""
        tallest = heights(self.width)[0]
        found: dict[str, object] = {
            "ITEM": self.item, "LANES": self.lanes, "WIDTH": self.width, "PANEL_K": PANEL_K, "NEAR": NEAR, "TALLEST": tallest,
            "BLOCK_K": BLOCK_BYTES // self.step(), "panel": PANEL}
        found |= {name: _primitive(name, count) for name, count in self.counts().items()}
        return found | {f"{kind}_{v}": found[f"{kind}_{rows}_{v}"] for kind, rows, v in self.shapes() if kind in TALL}

    def step(self) -> int:
        """Bytes of a packed block of A in one step along k: whole vectors."""
        return -(-heights(self.width)[0] // self.lanes) * self.width

    def strips(self) -> str:
        """In the language of words.py: strip_1 and strip_2, a block as wide for any number of rows."""
        lines = []
        tallest, *others = heights(self.width)
        for vectors in (2, 1):
            lines += [f"def strip_{vectors}(a, ra, ca, b, rb, c, rc, rows, k, columns, beta):",
                      # 16 rows are 8 and 8 rather than 14 and 2
                      f"    while rows >= {tallest}{' and rows != 16' if tallest == 14 else ''}:",
                      "        if ca == ITEM:",
                      f"            lying_{vectors}(a, ra, ca, b, rb, c, rc, k, columns, beta)",
                      "        else:",
                      f"            standing_{vectors}(a, ra, ca, b, rb, c, rc, k, columns, beta)",
                      f"        a += {tallest} * ra", f"        c += {tallest} * rc", f"        rows -= {tallest}"]
            for height in others:
                lines += [f"    {'while' if height == 8 else 'if'} rows >= {height}:",
                          f"        block_{height}_{vectors}(a, ra, ca, b, rb, c, rc, k, columns, beta)",
                          f"        a += {height} * ra", f"        c += {height} * rc", f"        rows -= {height}"]
        return "\n".join(lines) + "\n"

    def load(self, pointer: str, mask: str = "") -> str:
        """A vector from memory; of lanes that a mask leaves out nothing is read."""
        if not mask:
            return f"load {self.vector}, ptr {pointer}, align {self.item}"
        return (f"call {self.vector} @llvm.masked.load.{self.suffix}.p0(ptr {pointer}, i32 {self.item}, "
                f"<{self.lanes} x i1> {mask}, {self.vector} zeroinitializer)")

    def store(self, value: str, pointer: str, mask: str = "") -> str:
        """A vector to memory, but for the lanes that a mask leaves out."""
        if not mask:
            return f"store {self.vector} {value}, ptr {pointer}, align {self.item}"
        return (f"call void @llvm.masked.store.{self.suffix}.p0({self.vector} {value}, ptr {pointer}, i32 {self.item}, "
                f"<{self.lanes} x i1> {mask})")

    def fma(self, out: str, x: str, y: str, z: str) -> str:
        return f"{out} = call {self.vector} @llvm.fma.{self.suffix}({self.vector} {x}, {self.vector} {y}, {self.vector} {z})"

    def splat(self, out: str, scalar: str) -> list[str]:
        return [f"{out}.0 = insertelement {self.vector} poison, {self.kind} {scalar}, i32 0",
                f"{out} = shufflevector {self.vector} {out}.0, {self.vector} poison, <{self.lanes} x i32> zeroinitializer"]

    def mask(self, out: str, count: str) -> list[str]:
        """The lanes below a number."""
        integer = f"i{8 * self.item}"
        wide, lanes = f"<{self.lanes} x {integer}>", ", ".join(f"{integer} {i}" for i in range(self.lanes))
        return [f"{out}.n = trunc i64 {count} to i32" if self.item == 4 else f"{out}.n = add i64 {count}, 0",
                f"{out}.0 = insertelement {wide} poison, {integer} {out}.n, i32 0",
                f"{out}.all = shufflevector {wide} {out}.0, {wide} poison, <{self.lanes} x i32> zeroinitializer",
                f"{out} = icmp slt {wide} <{lanes}>, {out}.all"]

    # A block

    def block(self, kind: str, rows: int, vectors: int) -> str:
        """<kind>_<rows>_<vectors>."""
        split = SPLIT.get(rows, 1)
        steps = TOGETHER if kind == "lying" else split
        lines = ["entry:", *(f"%{x}.base = inttoptr i64 %{x} to ptr" for x in "bc"),
                 f"%last = sub i64 %columns, {(vectors - 1) * self.lanes}", *self.mask("%mask", "%last"),
                 *_pointers(rows, kind), *self.tail(),
                 f"%count.main = sdiv i64 %whole, {steps}", f"%done = mul i64 %count.main, {steps}",
                 "%count.rest = sub i64 %k, %done"]
        sums = [(s, r, v) for s in range(split) for r in range(rows) for v in range(vectors)]
        starts = dict.fromkeys(sums, "zeroinitializer")
        starts = self.loop(lines, "main", kind, rows, vectors, steps, starts, "base")
        starts = self.loop(lines, "rest", kind, rows, vectors, 1, starts, "main")
        self.finish(lines, rows, vectors, split, starts)
        header = "i64 %a, i64 %ra, i64 %ca, i64 %b, i64 %rb, i64 %c, i64 %rc, i64 %k, i64 %columns, i64 %beta"
        return _function(f"{kind}_{rows}_{vectors}", header, lines)

    def tail(self) -> list[str]:
        """%whole: how many rows of B are read as whole vectors. A mask costs as much as one multiplication.

        Behind the columns of a row there is the next row of B; only behind the last one memory may end.
        """
        return [f"%full = icmp eq i64 %last, {self.lanes}", f"%wide = icmp sge i64 %rb, {self.width}",
                "%narrow.rows = select i1 %wide, i64 1, i64 %k", "%masked = select i1 %full, i64 0, i64 %narrow.rows",
                "%whole.0 = sub i64 %k, %masked", "%whole = call i64 @llvm.smax.i64(i64 %whole.0, i64 0)"]

    def loop(self, lines: list[str], name: str, kind: str, rows: int, vectors: int, steps: int, starts, before: str) -> dict:
        """%count.<name> rounds of `steps` steps along k, in turns for each of the sums; returns their names behind it."""
        split = min(steps, SPLIT.get(rows, 1))
        label = {key: ".".join(map(str, key)) for key in starts if key[0] < split}
        strides = _strides(kind, rows, steps * self.item, self.step())
        lines += [f"br label %before.{name}", f"before.{name}:", f"%some.{name} = icmp sgt i64 %count.{name}, 0",
                  f"br i1 %some.{name}, label %loop.{name}, label %after.{name}",
                  f"loop.{name}:", f"%i.{name} = phi i64 [ %count.{name}, %before.{name} ], [ %j.{name}, %loop.{name} ]"]
        lines += [f"%{x}.{name}.0 = phi ptr [ %{x}.{before}, %before.{name} ], [ %{x}.{name}.{steps}, %loop.{name} ]"
                  for x in strides]
        lines += [f"%s.{name}.{at} = phi {self.vector} [ {starts[key]}, %before.{name} ], [ %n.{name}.{at}, %loop.{name} ]"
                  for key, at in label.items()]
        sums = {key: f"%s.{name}.{at}" for key, at in label.items()}
        for s in range(steps):
            at, last = f"{name}.{s}", s + split >= steps
            for v in range(vectors):
                mask = "%mask" if name == "rest" and v == vectors - 1 else ""
                lines += [f"%bp.{at}.{v} = getelementptr i8, ptr %b.{at}, i64 {v * self.width}",
                          f"%bv.{at}.{v} = {self.load(f'%bp.{at}.{v}', mask)}"]
            for r in range(rows):
                lines += [*self.address(f"%ap.{at}.{r}", kind, name, s, r),
                          f"%x.{at}.{r} = load {self.kind}, ptr %ap.{at}.{r}, align {self.item}",
                          *self.splat(f"%av.{at}.{r}", f"%x.{at}.{r}")]
                for v in range(vectors):
                    key, out = (s % split, r, v), f"%n.{name}.{s % split}.{r}.{v}" if last else f"%m.{at}.{r}.{v}"
                    lines.append(self.fma(out, f"%av.{at}.{r}", f"%bv.{at}.{v}", sums[key]))
                    sums[key] = out
            if kind == "packing":
                lines += self.packing(at, rows)
            if kind in ("standing", "packing") and name == "main":
                lines += [f"%f.{at} = getelementptr i8, ptr %a0.{at}, i64 %ahead",
                          f"%g.{at} = getelementptr i8, ptr %f.{at}, i64 {(rows - 1) * self.item}",
                          *(f"call void @llvm.prefetch.p0(ptr %{x}.{at}, i32 0, i32 3, i32 1)" for x in "fg")]
            lines += [f"%{x}.{name}.{s + 1} = getelementptr i8, ptr %{x}.{at}, i64 {stride}"
                      for x, (stride, each) in strides.items() if each]
        lines += [f"%{x}.{name}.{steps} = getelementptr i8, ptr %{x}.{name}.0, i64 {stride}"
                  for x, (stride, each) in strides.items() if not each]
        lines += [f"%j.{name} = sub i64 %i.{name}, 1", f"%more.{name} = icmp ne i64 %j.{name}, 0",
                  f"br i1 %more.{name}, label %loop.{name}, label %after.{name}", f"after.{name}:"]
        lines += [f"%{x}.{name} = phi ptr [ %{x}.{before}, %before.{name} ], [ %{x}.{name}.{steps}, %loop.{name} ]"
                  for x in strides]
        lines += [f"%e.{name}.{at} = phi {self.vector} [ {starts[key]}, %before.{name} ], [ %n.{name}.{at}, %loop.{name} ]"
                  for key, at in label.items()]
        return starts | {key: f"%e.{name}.{at}" for key, at in label.items()}

    def packing(self, at: str, rows: int) -> list[str]:
        """Copies the rows of A in one step to where the packed block is."""
        lines = []
        for v in range(self.step() // self.width):
            inside = ", ".join(f"i1 {int(v * self.lanes + i < rows)}" for i in range(self.lanes))
            lines += [f"%from.{at}.{v} = getelementptr i8, ptr %a0.{at}, i64 {v * self.width}",
                      f"%to.{at}.{v} = getelementptr i8, ptr %p.{at}, i64 {v * self.width}",
                      f"%pv.{at}.{v} = {self.load(f'%from.{at}.{v}', f'<{inside}>')}",
                      self.store(f"%pv.{at}.{v}", f"%to.{at}.{v}")]
        return lines

    def address(self, out: str, kind: str, name: str, s: int, r: int) -> list[str]:
        """The address of row r of A in step s of a round."""
        if kind not in ("block", "lying"):
            return [f"{out} = getelementptr i8, ptr %a0.{name}.{s}, i64 {r * self.item}"]
        distance = ("0", "%ra1", "%ra2", "%ra3")[r % 4]
        if kind == "block":
            return [f"{out} = getelementptr i8, ptr %a{r // 4}.{name}.{s}, i64 {distance}"]
        return [f"{out}.row = getelementptr i8, ptr %a{r // 4}.{name}.0, i64 {distance}",
                f"{out} = getelementptr i8, ptr {out}.row, i64 {s * self.item}"]

    def finish(self, lines: list[str], rows: int, vectors: int, split: int, sums: dict) -> None:
        """Adds the sums that share k, in pairs, and stores the block: the one place where results are written."""
        narrow = f"fptrunc double %beta.d to {self.kind}" if self.item == 4 else "fadd double %beta.d, -0.0"
        lines += ["%beta.d = bitcast i64 %beta to double", f"%beta.s = {narrow}", *self.splat("%beta.v", "%beta.s")]
        results = {}
        for r in range(rows):
            lines += [f"%cm.{r} = mul i64 %rc, {r}", f"%c.{r} = getelementptr i8, ptr %c.base, i64 %cm.{r}"]
            for v in range(vectors):
                parts = [sums[s, r, v] for s in range(split)]
                while len(parts) > 1:
                    pairs = [f"%t.{len(parts)}.{i}.{r}.{v}" for i in range(len(parts) // 2)]
                    lines += [f"{pair} = fadd {self.vector} {first}, {second}"
                              for pair, first, second in zip(pairs, parts[::2], parts[1::2])]
                    parts = pairs
                lines.append(f"%cp.{r}.{v} = getelementptr i8, ptr %c.{r}, i64 {v * self.width}")
                results[r, v] = parts[0], f"%cp.{r}.{v}", "%mask" if v == vectors - 1 else ""
        lines += ["%fresh = fcmp oeq double %beta.d, 0.0", "br i1 %fresh, label %write, label %update", "write:"]
        lines += [self.store(*result) for result in results.values()]
        lines += ["ret void", "update:"]
        for (r, v), (value, pointer, mask) in results.items():
            lines += [f"%old.{r}.{v} = {self.load(pointer, mask)}", self.fma(f"%u.{r}.{v}", f"%old.{r}.{v}", "%beta.v", value),
                      self.store(f"%u.{r}.{v}", pointer, mask)]
        lines.append("ret void")

    # Turning

    def turn(self) -> str:
        """turn: one square, by exchanging ever smaller halves of pairs of lines."""
        n = self.lanes
        lines = ["entry:", "%x.base = inttoptr i64 %x to ptr", "%p.base = inttoptr i64 %panel to ptr",
                 *self.mask("%mask", "%k"), "%most = sub i64 %lines, 1"]
        for j in range(n):  # a line that is not there is read as the last one that is
            lines += [f"%l.{j} = call i64 @llvm.smin.i64(i64 {j}, i64 %most)", f"%o.{j} = mul i64 %l.{j}, %rx",
                      f"%x.p.{j} = getelementptr i8, ptr %x.base, i64 %o.{j}", f"%v.{j} = {self.load(f'%x.p.{j}', '%mask')}"]
        rows, half = [f"%v.{j}" for j in range(n)], n // 2
        while half:
            low = ", ".join(f"i32 {i if not i & half else n + i - half}" for i in range(n))
            high = ", ".join(f"i32 {i + half if not i & half else n + i}" for i in range(n))
            for i in range(n):
                pair, order = ((rows[i], rows[i + half]), low) if not i & half else ((rows[i - half], rows[i]), high)
                operands = ", ".join(f"{self.vector} {row}" for row in pair)
                lines.append(f"%v.{half}.{i} = shufflevector {operands}, <{n} x i32> <{order}>")
            rows, half = [f"%v.{half}.{i}" for i in range(n)], half // 2
        for i in range(n):
            lines += [f"%q.{i} = mul i64 %width, {i}", f"%p.p.{i} = getelementptr i8, ptr %p.base, i64 %q.{i}",
                      self.store(rows[i], f"%p.p.{i}")]
        return _function("turn", "i64 %x, i64 %rx, i64 %lines, i64 %k, i64 %panel, i64 %width", [*lines, "ret void"])

    def copy(self) -> str:
        """copy: k rows of a panel, side by side."""
        lines = ["entry:", "%x.base = inttoptr i64 %x to ptr", "%p.base = inttoptr i64 %panel to ptr",
                 f"%last = sub i64 %columns, {self.lanes}", *self.mask("%mask0", "%columns"), *self.mask("%mask1", "%last"),
                 "br label %loop", "loop:",
                 "%i = phi i64 [ %k, %entry ], [ %j, %loop ]", "%x.at = phi ptr [ %x.base, %entry ], [ %x.next, %loop ]",
                 "%p.at = phi ptr [ %p.base, %entry ], [ %p.next, %loop ]"]
        for v in range(2):
            lines += [f"%x.{v} = getelementptr i8, ptr %x.at, i64 {v * self.width}",
                      f"%p.{v} = getelementptr i8, ptr %p.at, i64 {v * self.width}",
                      f"%v.{v} = {self.load(f'%x.{v}', f'%mask{v}')}", self.store(f"%v.{v}", f"%p.{v}")]
        lines += ["%x.next = getelementptr i8, ptr %x.at, i64 %rx",
                  f"%p.next = getelementptr i8, ptr %p.at, i64 {2 * self.width}",
                  "%j = sub i64 %i, 1", "%more = icmp sgt i64 %j, 0", "br i1 %more, label %loop, label %end",
                  "end:", "ret void"]
        return _function("copy", "i64 %x, i64 %rx, i64 %k, i64 %panel, i64 %columns", lines)


def _function(name: str, header: str, lines: list[str]) -> str:
    body = "\n".join(line if line.endswith(":") else f"  {line}" for line in lines)
    return f"define hidden void @{name}({header}) nounwind noinline {{\n{body}\n}}\n"


def _strides(kind: str, rows: int, round_bytes: int, packed: int) -> dict[str, tuple[object, bool]]:
    """The pointers of a block: (how far they go, whether in every step, not once in a round of several)."""
    found: dict[str, tuple[object, bool]] = {"b": ("%rb", True)}
    if kind in ("block", "lying"):
        along = (round_bytes, False) if kind == "lying" else ("%ca", True)
        return found | {f"a{group}": along for group in range(-(-rows // 4))}
    found["a0"] = (packed if kind == "packed" else "%ca", True)
    return found | {"p": (packed, True)} if kind == "packing" else found


def _pointers(rows: int, kind: str) -> list[str]:
    """%ra1, %ra2, %ra3 and the pointers to A.

    The empty assembly hides how they were computed: LLVM would otherwise go from row to row by additions, each of which waits
    for the one before, and 14 in a row take as long as the products.
    """
    if kind not in ("block", "lying"):
        return ["%a0.base = inttoptr i64 %a to ptr", "%p.base = inttoptr i64 %ra to ptr", f"%ahead = mul i64 %ca, {AHEAD}"]
    hide = 'call i64 asm "", "=r,0"(i64 '
    lines = []
    for name, r in (("%ra1", 1), ("%ra2", 2), ("%ra3", 3)):
        lines += [f"{name}.0 = mul i64 %ra, {r}", f"{name} = {hide}{name}.0)"]
    for group in range(-(-rows // 4)):
        lines += [f"%gm.{group} = mul i64 %ra, {4 * group}", f"%gs.{group} = add i64 %a, %gm.{group}",
                  f"%g.{group} = {hide}%gs.{group})", f"%a{group}.base = inttoptr i64 %g.{group} to ptr"]
    return lines


def _primitive(name: str, count: int) -> Primitive:
    return Primitive(f"call void @{name}({', '.join(f'i64 {{{i}}}' for i in range(count))})", "{out} = add i64 0, 0")


# Place for a panel of B or a packed block of A on the stack, for as long as the calling function runs; to be asked for once, at
# its start.
PANEL = Primitive(f"{{a}} = alloca [{max(PANEL_K * 128, BLOCK_BYTES)} x i8], align 64", "{out} = ptrtoint ptr {a} to i64")
