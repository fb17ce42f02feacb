"""A compiled function as Python text that runs: its kernels, and the steps that call them on planned buffers.

    from jitnet.codegen.intrinsics import *

    def kernel_0(buffers, sizes, start, stop):
        ...

    def f(x, w):
        out_0 = np.empty((64, 128), np.float32)
        arena = np.zeros(4096, np.uint8)
        kernel_0([flat(x, np.float32), flat(w, np.float32), flat(out_0, np.float32)], [64, 128], 0, 8192)
        return out_0

The kernels are the very text that is compiled; in Python they run on flat arrays, slowly and with the same meaning. What runs
through a library instead is called by the name of its op. Arrays that the function holds stand in the text when they are short;
long ones are keyword arguments of it, `const_0`, and lie in `f.lower(...).program.consts`.
"""
from __future__ import annotations

import numpy as np

from .errors import Source
from .ir import Eqn
from .printing import identifier
from .types import BF16, ArrayType

LONGEST = 4096   # bytes of a constant that the text holds
HEADER = '''from jitnet.codegen.intrinsics import *

import numpy as np

from jitnet.op import OPS


def flat(array, dtype, offset=0):
    """The array's memory as a flat array of that dtype, from a byte offset on."""
    memory = np.asarray(array).reshape(-1).view(np.uint8)[offset:]
    return memory[:len(memory) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize].view(dtype)


def shaped(array, dtype, shape, offset=0):
    """The array's memory as an array of that dtype and shape."""
    return flat(array, dtype, offset)[:int(np.prod(shape))].reshape(shape)
'''


def source_text(name: str, compiled) -> str:
    """The text for a compiled graph."""
    kernels: dict[str, str] = {}  # source -> name of its function
    parts = [HEADER]
    for info in compiled.kernels:
        if "def kernel(" in info.source and info.source not in kernels:
            function = info.name if info.name not in kernels.values() else f"{info.name}_{len(kernels)}"
            kernels[info.source] = function
            comments = "".join(f"# {line}\n" for line in places(info.eqns))
            parts.append(comments + info.source.strip().replace("def kernel(", f"def {function}(", 1) + "\n")
    parts.append(Program(compiled, kernels).text(identifier(name, "function")))
    return "\n\n".join(parts)


def places(eqns: tuple[Eqn, ...]) -> list[str]:
    """The user's lines of these equations."""
    lines = dict.fromkeys(Source(e.source.file, e.source.line) for e in eqns if e.source is not None)
    return [f"{line.place}: {line.text}" if line.text else line.place for line in lines]


class Program:
    """The steps of a program as statements."""

    def __init__(self, compiled, kernels: dict[str, str]):
        self.graph, self.program, self.kernels = compiled.graph, compiled.program, kernels
        self.infos = {id(info.step): info for info in compiled.kernels}
        self.arguments = [identifier(v.name, f"in_{k}") for k, v in enumerate(self.graph.inputs)]
        self.outputs = [f"out_{k}" for k in range(len(self.program.outputs))]
        self.lines: list[str] = []
        self.loops: list = []  # around the step that is written

    def kernel_call(self, step, info) -> str:
        """The call of a kernel."""
        views = ", ".join(self.flat(slot, dtype) for slot, dtype in zip(step.buffers, buffer_dtypes(info)))
        return f"{self.kernels[info.source]}([{views}], {list(step.sizes)}, 0, {step.extent})"

    def text(self, name: str) -> str:
        consts = {f"const_{k}": c for k, c in enumerate(self.program.consts)}
        long = [c for c, value in consts.items() if value.nbytes > LONGEST]
        self.put(0, f"def {name}({', '.join([*self.arguments, *(['*', *long] if long else [])])}):")
        self.put(1, f"# {', '.join(map(str, self.graph.input_types))}")
        for c in long:
            self.put(1, f"# {c}: {ArrayType(consts[c].shape, consts[c].dtype)}, too long to be written here")
        for out, (shape, dtype) in zip(self.outputs, self.program.outputs):
            self.put(1, f"{out} = np.empty({shape}, {_dtype(dtype)})")
        self.put(1, f"arena = np.zeros({self.program.arena_bytes}, np.uint8)")
        for c in [c for c in consts if c not in long]:
            self.put(1, f"{c} = {_constant(consts[c])}")
        self.block(self.program.steps, 1)
        self.put(1, f"return {', '.join(self.outputs) or '()'}")
        return "\n".join(self.lines) + "\n"

    def put(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def block(self, steps, depth: int) -> None:
        if not steps:
            self.put(depth, "pass")
        for step in steps:
            if hasattr(step, "kernel"):
                self.call(step, depth)
            elif hasattr(step, "branches"):
                self.switch(step, depth)
            else:
                self.loop(step, depth)

    def call(self, step, depth: int) -> None:
        info = self.infos.get(id(step))
        if info is None:
            self.put(depth, f"# {step.kernel!r}")
        elif info.source in self.kernels:
            self.put(depth, self.kernel_call(step, info))
        else:
            self.library_call(info, depth)

    def library_call(self, info, depth: int) -> None:
        """A step that is no kernel, by the name of its op."""
        (eqn,) = info.eqns

        def view(t):
            return lambda s: f"shaped({self.buffer(s)}, {_dtype(t.dtype)}, {t.shape}{self.offset(s)})"

        views = [self.in_turn(s, view(a.type))
                 for s, a in zip(info.step.buffers, (*eqn.inputs, *eqn.outputs), strict=True)]
        ins, outs = views[:len(eqn.inputs)], views[len(eqn.inputs):]
        params = "".join(f", {k}={_dtype(v) if isinstance(v, np.dtype) else repr(v)}" for k, v in eqn.params.items())
        call = f"OPS[{eqn.op.name!r}]({', '.join(ins)}{params})"
        if eqn.op.multiple_outputs:
            self.put(depth, f"for out, value in zip(({', '.join(outs)},), {call}):")
            self.put(depth + 1, "out[...] = value")
        else:
            self.put(depth, f"{outs[0]}[...] = {call}" + (f"  # {info.note}" if info.note else ""))

    def loop(self, step, depth: int) -> None:
        """A loop with a counter named by its level, which moves the slots that have strides of that level."""
        counter = f"i{step.level}"
        if step.cond is None:
            count = step.count if isinstance(step.count, int) else f"{self.flat(step.count, 'np.int64')}[0]"
            self.put(depth, f"for {counter} in range({count}):")
            self.loops.append(step)
            self.block((*step.before, *step.body), depth + 1)
            self.loops.pop()
            return
        self.put(depth, f"{counter} = 0")
        self.put(depth, "while True:")
        if step.before:
            self.block(step.before, depth + 1)
        self.put(depth + 1, f"if not {self.flat(step.cond, 'np.bool')}[0]:")
        self.put(depth + 2, "break")
        if step.body:
            self.block(step.body, depth + 1)
        self.put(depth + 1, f"{counter} += 1")

    def switch(self, step, depth: int) -> None:
        last = len(step.branches) - 1
        self.put(depth, f"branch = min(max({self.flat(step.index, 'np.int64')}[0], 0), {last})")
        for k, branch in enumerate(step.branches):
            self.put(depth, f"{'if' if k == 0 else 'elif'} branch == {k}:")
            self.block(branch, depth + 1)

    # Slots

    def buffer(self, slot) -> str:
        if slot.kind == "arena":
            return "arena"
        if slot.kind == "const":
            return f"const_{slot.index}"
        return (self.arguments if slot.kind == "input" else self.outputs)[slot.index]

    @staticmethod
    def offset(slot) -> str:
        """The slot's place in bytes, as a further argument: `, 512 + 8 * i1`."""
        terms = [str(slot.offset)] if slot.offset else []
        terms += [f"{nbytes} * i{level}" for level, nbytes in slot.strides if nbytes]
        return ", " + " + ".join(terms) if terms else ""

    def flat(self, slot, dtype: str) -> str:
        return self.in_turn(slot, lambda s: f"flat({self.buffer(s)}, {dtype}{self.offset(s)})")

    def in_turn(self, slot, write) -> str:
        """The text for a slot: of two, when it is one of two places that take turns in a loop."""
        for step in self.loops:
            other = step.odd(slot)
            if other != slot:
                return f"({write(slot)}, {write(other)})[i{step.level} % 2]"
        return write(slot)


def _constant(value: np.ndarray) -> str:
    """A constant as an expression that gives its very bits."""
    if value.size <= 16 and np.isfinite(value).all():
        return f"np.array({value.tolist()}, {_dtype(value.dtype)})"
    return f"np.frombuffer(bytes.fromhex({value.tobytes().hex()!r}), {_dtype(value.dtype)}).reshape({value.shape})"


def _dtype(dtype) -> str:
    return repr(dtype.name) if dtype == BF16 else f"np.{'bool' if dtype.kind == 'b' else dtype.name}"


def buffer_dtypes(info) -> list[str]:
    """The dtype of every buffer of a kernel: what its source takes each as."""
    if info.nest is not None:
        return ["np.int64" if b.role == "status" else _dtype(b.dtype) for b in info.nest.buffers]
    return ["np.uint8" if info.kind == "copy" else _dtype(info.eqns[0].outputs[0].type.dtype)] * len(info.step.buffers)
