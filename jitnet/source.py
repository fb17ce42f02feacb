"""A compiled function as Python text that runs: its kernels, and the steps that call them on planned buffers.

    from jitnet.codegen.intrinsics import *

    def kernel_0(buffers, sizes, start, stop):
        ...

    def f(x, w):
        out_0 = np.empty((64, 128), np.float32)
        arena = np.zeros(4096, np.uint8)
        kernel_0([flat(x), flat(w), flat(out_0)], [64, 128], 0, 8192)
        return out_0

The kernels are the very text that is compiled; in Python they run on flat arrays, slowly and with the same meaning.
"""
from __future__ import annotations

from .errors import Source
from .ir import Eqn
from .printing import identifier, place

HEADER = '''import numpy as np
from jitnet.codegen.intrinsics import *


def flat(array, dtype, offset=0):
    """The array's memory as a flat array of that dtype, from a byte offset on."""
    memory = array.reshape(-1).view(np.uint8)[offset:]
    return memory[:len(memory) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize].view(dtype)
'''


def source_text(name: str, compiled) -> str:
    """The text for a compiled graph. Steps that are no kernels (BLAS, NumPy, loops) stand as comments."""
    names: dict[str, str] = {}
    parts = [HEADER]
    for info in compiled.kernels:
        if _is_kernel(info) and info.source not in names:
            names[info.source] = f"kernel_{len(names)}"
            comments = "".join(f"# {line}\n" for line in _places(info.eqns))
            parts.append(comments + info.source.strip().replace("def kernel(", f"def {names[info.source]}(", 1) + "\n")
    parts.append(_program(identifier(name, "function"), compiled, names))
    return "\n\n".join(parts)


def _is_kernel(info) -> bool:
    return info.source.lstrip().startswith("def kernel(")


def _places(eqns: tuple[Eqn, ...]) -> list[str]:
    """The user's lines of these equations."""
    lines = dict.fromkeys(Source(e.source.file, e.source.line) for e in eqns if e.source is not None)
    return [f"{place(line)}: {line.text}" if line.text else place(line) for line in lines]


def _program(name: str, compiled, names: dict[str, str]) -> str:
    graph, program = compiled.graph, compiled.program
    arguments = [identifier(v.name, f"in_{k}") for k, v in enumerate(graph.inputs)]
    outputs = [f"out_{k}" for k in range(len(graph.outputs))]
    lines = [f"def {name}({', '.join(arguments)}):", f"    # {', '.join(map(str, graph.input_types))}"]
    for out, t in zip(outputs, graph.output_types):
        lines.append(f"    {out} = np.empty({t.shape}, {_dtype(t.dtype)})")
    lines.append(f"    arena = np.zeros({program.arena_bytes}, np.uint8)")
    lines += [f"    const_{k} = np.array({c.tolist()}, {_dtype(c.dtype)})" if c.size <= 8 else f"    const_{k} = ...  # {c.dtype}{list(c.shape)}"
              for k, c in enumerate(program.consts)]
    buffers = {"input": arguments, "output": outputs, "const": [f"const_{k}" for k in range(len(program.consts))], "arena": ["arena"]}
    for info in compiled.kernels:
        step = info.step
        if info.source not in names:
            lines.append(f"    # {info.kind} {info.name}" + (f": {info.note}" if info.note else ""))
            continue
        views = ", ".join(_view(slot, dtype, buffers) for slot, dtype in zip(step.buffers, _dtypes(info)))
        lines.append(f"    {names[info.source]}([{views}], {list(step.sizes)}, 0, {step.extent})")
    return "\n".join([*lines, f"    return {', '.join(outputs) or '()'}", ""])


def _dtype(dtype) -> str:
    return f"np.{'bool' if dtype.kind == 'b' else dtype.name}"


def _view(slot, dtype: str, buffers: dict[str, list[str]]) -> str:
    return f"flat({buffers[slot.kind][slot.index]}, {dtype}" + (f", {slot.offset})" if slot.offset else ")")


def _dtypes(info) -> list[str]:
    """The dtype of every buffer of a kernel: what its source takes each as."""
    if info.nest is None:
        return ["np.uint8"] * len(info.step.buffers)
    return ["np.int64" if b.role == "status" else _dtype(b.dtype) for b in info.nest.buffers]
