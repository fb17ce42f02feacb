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
through a library instead is called by the name of its op.
"""
from __future__ import annotations

import numpy as np

from .errors import Source
from .ir import Eqn
from .printing import identifier, place

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
    """The text for a compiled graph. Loops and branches stand as comments."""
    names: dict[str, str] = {}
    parts = [HEADER]
    for info in compiled.kernels:
        if _is_kernel(info) and info.source not in names:
            names[info.source] = info.name if info.name not in names.values() else f"{info.name}_{len(names)}"
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
            lines.append(_library_call(info, buffers))
            continue
        views = ", ".join(_view(slot, dtype, buffers) for slot, dtype in zip(step.buffers, _dtypes(info)))
        lines.append(f"    {names[info.source]}([{views}], {list(step.sizes)}, 0, {step.extent})")
    return "\n".join([*lines, f"    return {', '.join(outputs) or '()'}", ""])


def _library_call(info, buffers: dict[str, list[str]]) -> str:
    """A step that is no kernel, as a call of its op; as a comment where its buffers are not those of one equation."""
    slots = getattr(info.step, "buffers", ())
    if len(info.eqns) != 1 or len(slots) != len(info.eqns[0].inputs) + len(info.eqns[0].outputs):
        return f"    # {info.kind} {info.name}" + (f": {info.note}" if info.note else "")
    (eqn,) = info.eqns
    views = [f"shaped({buffers[s.kind][s.index]}, {_dtype(a.type.dtype)}, {a.type.shape}" + (f", {s.offset})" if s.offset else ")")
             for s, a in zip(slots, (*eqn.inputs, *eqn.outputs))]
    ins, outs = views[:len(eqn.inputs)], views[len(eqn.inputs):]
    params = "".join(f", {k}={v!r}" if not isinstance(v, np.dtype) else f", {k}={_dtype(v)}" for k, v in eqn.params.items())
    call = f"OPS[{eqn.op.name!r}]({', '.join(ins)}{params})"
    note = f"  # {info.note}" if info.note else ""
    if len(outs) == 1 and not eqn.op.multiple_outputs:
        return f"    {outs[0]}[...] = {call}{note}"
    return f"    for out, value in zip(({', '.join(outs)},), {call}):{note}\n        out[...] = value"


def _dtype(dtype) -> str:
    return f"np.{'bool' if dtype.kind == 'b' else dtype.name}"


def _view(slot, dtype: str, buffers: dict[str, list[str]]) -> str:
    return f"flat({buffers[slot.kind][slot.index]}, {dtype}" + (f", {slot.offset})" if slot.offset else ")")


def _dtypes(info) -> list[str]:
    """The dtype of every buffer of a kernel: what its source takes each as."""
    if info.nest is None:
        return ["np.uint8"] * len(info.step.buffers)
    return ["np.int64" if b.role == "status" else _dtype(b.dtype) for b in info.nest.buffers]
