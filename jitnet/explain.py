"""What a compiled function lets you see: its passes, which lines became which kernel, what moves, what did not fuse and why.

Also what JITNET_DEBUG writes to standard error when a function is compiled.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator

from .codegen.cuda import cuda_kernel
from .codegen.cuda_launch import launch_shape
from .errors import Source
from .ir import Eqn, Graph, Var, definitions
from .passes.kernel import is_view
from .printing import print_graph
from .runtime.joining import Joined, join
from .source import source_text
from .source_cuda import cuda_source_text
from .text import Text, columns, size_text


class Steps(tuple):
    """(pass, Graph) for every stage of a compilation; prints as the Graphs under their passes' names."""

    __slots__ = ()

    def __str__(self) -> str:
        parts, before = [], None
        for name, graph in self:
            text = print_graph(graph)
            parts.append(f"# {name}: no change" if text == before else f"# {name}: {_count('equation', graph.eqns)}\n{text}")
            before = text
        return "\n\n".join(parts)

    __repr__ = __str__


def steps(compiled) -> Steps:
    """The Graph after every pass."""
    return Steps(tuple(compiled.stages))


def source(name: str, compiled, gpu: bool = False) -> Text:
    """The kernels and the program of steps as one Python text that runs; with gpu=True, in the CUDA simulator."""
    return Text((cuda_source_text if gpu else source_text)(name, compiled))


# Which lines became which kernel

def explain(name: str, compiled, gpu: bool = False) -> Text:
    """A line per step with the bytes it moves, the user's lines in it, then what was stored between steps and why.

    gpu=True: how the steps run on a GPU.
    """
    graph = compiled.graph
    lines = [f"{name}({_types(graph.input_types)}): {_count('equation', graph.eqns)} became {_counted(compiled.kernels)}; "
             f"{size_text(arena_bytes(compiled))} of scratch memory"]
    infos = {id(info.step): info for info in compiled.kernels}
    lines += ["", *_steps(compiled.program, compiled.program.steps, infos, "", _gpu_headline if gpu else _headline)]
    reasons = list(_unfused(compiled))
    if reasons:
        lines += ["", "stored between steps, not fused:", *(f"  {line}" for line in columns(reasons))]
    return Text("\n".join(lines))


def _steps(program, steps, infos: dict, indent: str, headline) -> Iterator[str]:
    """The steps, those inside loops and branches further in."""
    following = {id(step) for run in join(steps) if type(run) is Joined for step, _ in run.links[1:]}
    for step in steps:
        if hasattr(step, "kernel"):
            info = infos.get(id(step))
            joined = ", joined with the step before, piece by piece" if id(step) in following else _launch(program, step)
            yield f"{indent}- {headline(info) if info else step.kernel}{joined}"
            if info:
                yield from (f"{indent}    {line}" for line in _user_lines(info.eqns))
        elif hasattr(step, "branches"):
            for k, branch in enumerate(step.branches):
                yield f"{indent}- branch {k} of {len(step.branches)}{_decision(program, step)}"
                yield from _steps(program, branch, infos, indent + "    ", headline)
        else:
            yield f"{indent}- native loop, {_rounds(step)}{_decision(program, step)}"
            yield from _steps(program, (*step.before, *step.body), infos, indent + "    ", headline)


def _launch(program, step) -> str:
    """`, in the launch of kernel_3`: where a GPU's program has one launch for several kernels."""
    name = program.launched_with(step) if hasattr(program, "launched_with") else ""
    return f", in the launch of {name}" if name else ""


def _types(types) -> str:
    """The types; of many the first and the last ones."""
    texts = [str(t) for t in types]
    return ", ".join(texts if len(texts) <= 8 else [*texts[:3], "...", *texts[-2:]])


def _rounds(step) -> str:
    if step.cond is not None:
        return "rounds while a condition holds"
    return _count("round", step.count) if isinstance(step.count, int) else "as many rounds as an argument says"


def _decision(program, step) -> str:
    """`, decided on the device`: who decides what a loop or a branch of a GPU's program does."""
    text = program.decision(step) if hasattr(program, "decision") else ""
    return f", {text}" if text else ""


def _counted(kernels) -> str:
    names = {"blas": "matrix product", "callback": "Python callback"}
    kinds = [info.kind for info in kernels]
    parts = [_count(names.get(kind, kind), kinds.count(kind)) for kind in dict.fromkeys(kinds)]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts) or "no step at all"


def _count(word: str, things) -> str:
    """`1 copy`, `2 copies`, `3 kernels`; `things` is how many, or the things themselves."""
    many = things if isinstance(things, int) else len(things)
    return f"{many} {word if many == 1 else word[:-1] + 'ies' if word.endswith('py') else word + 's'}"


def _headline(info) -> str:
    """`kernel_1: reads 4.2 kB, writes 4.1 kB, in 8 parallel chunks`"""
    what = {"kernel": "", "copy": "", "blas": "", "callback": " (NumPy, called back from the native program)"}
    kind = what.get(info.kind, f" ({info.kind})")
    parts = [f"{info.name}{kind}: reads {size_text(info.reads)}, writes {size_text(info.writes)}"]
    extent, grain = getattr(info.step, "extent", 0), getattr(info.step, "grain", 0)
    if grain and extent > grain:
        parts.append(f"in {-(-extent // grain)} parallel chunks")
    return ", ".join([*parts, info.note] if info.note else parts)


def _gpu_headline(info) -> str:
    """`kernel_1: reads 4.2 kB, writes 4.1 kB, rows: 33 blocks of 256 threads`; the grid is that of an H200."""
    moves = f"reads {size_text(info.reads)}, writes {size_text(info.writes)}"
    if info.nest is None:
        what = {"copy": "", "blas": " (cuBLASLt)", "callback": " (NumPy, on the host: waits for its operands)"}
        note = f", {info.note}" if info.kind == "blas" and "cuBLASLt" in info.note else ""
        return f"{info.name}{what.get(info.kind, f' ({info.kind})')}: {moves}{note}"
    kernel = cuda_kernel(info.nest)
    return f"{info.name}: {moves}, {kernel.launch.template}: {launch_shape(kernel.launch)}"


def _user_lines(eqns: tuple[Eqn, ...]) -> list[str]:
    """`model.py:12  add, tanh      h = np.tanh(x @ w + b)`, one line per line of the user's code."""
    table: dict[Source | None, list[str]] = {}
    for eqn in eqns:
        table.setdefault(_line(eqn), []).append(eqn.op.name)
    ordered = sorted(table.items(), key=lambda item: (item[0] is None, item[0] and (item[0].file, item[0].line)))
    return columns([(source.place if source else "(no line)", ", ".join(_runs(ops)), source.text if source else "")
                    for source, ops in ordered])


def _line(eqn: Eqn) -> Source | None:
    source = eqn.source
    return None if source is None else Source(source.file, source.line)


def _runs(names: list[str]) -> Iterator[str]:
    """The names, each once, with how often: `add, multiply x2`."""
    for name in dict.fromkeys(names):
        yield name if names.count(name) == 1 else f"{name} x{names.count(name)}"


# What did not fuse

def _unfused(compiled) -> Iterator[tuple[str, str, str]]:
    """(value, its line, why it went through memory) for every value that one step stores and another reads."""
    final: Graph = compiled.stages[-1][1]
    outputs = {a for a in final.outputs if type(a) is Var}
    definition = definitions(final)
    readers: dict[Var, list[Eqn]] = {}
    for eqn in final.eqns:
        for atom in eqn.inputs:
            stored = _stored(atom, definition)
            if stored is not None and eqn.op.kind != "movement":
                readers.setdefault(stored, []).append(eqn)
    before = _before(final, definition)
    for var, eqns in readers.items():
        origin = _origin(definition[var], var)
        where = origin.source.place if origin.source else "(no line)"
        name = origin.op.name.removeprefix("partial_")
        reason = _reason(definition[var], var, eqns) or _between(definition[var], eqns, final, before)
        if reason is None:
            kept = "it is a result of the function"
            reason = kept if var in outputs else "read at other places than it is computed, or its kernel is full"
        yield str(var.type), f"{name} at {where}", reason


def _stored(atom, definition) -> Var | None:
    """The value in memory that an atom is a view of; None for arguments and constants."""
    while type(atom) is Var and atom in definition:
        eqn = definition[atom]
        if eqn.op.kind != "movement" or not is_view(eqn):
            return atom
        atom = eqn.inputs[0]
    return None


def _origin(eqn: Eqn, var: Var) -> Eqn:
    """The equation inside a kernel that computes one of its outputs."""
    body = eqn.params.get("body")
    if eqn.op.kind != "kernel" or body is None:
        return eqn
    inner = body.outputs[eqn.outputs.index(var)]
    return definitions(body).get(inner, eqn)


def _before(graph: Graph, definition) -> dict[Eqn, int]:
    """Equation -> the positions (as bits) of all equations that it depends on."""
    position = {eqn: k for k, eqn in enumerate(graph.eqns)}
    before: dict[Eqn, int] = {}
    for eqn in graph.eqns:
        sources = {definition[a] for a in eqn.inputs if type(a) is Var and a in definition}
        before[eqn] = sum(1 << position[s] for s in sources)
        for source in sources:
            before[eqn] |= before[source]
    return before


def _between(producer: Eqn, readers: list[Eqn], graph: Graph, before: dict[Eqn, int]) -> str | None:
    """The reason that something else has to run between a step and one that reads it."""
    start, wanted = graph.eqns.index(producer), 0
    for reader in readers:
        wanted |= before[reader]
    steps = [eqn for k, eqn in enumerate(graph.eqns) if wanted >> k & 1 and eqn.op.kind != "movement"]
    between = [eqn for eqn in steps if before[eqn] >> start & 1]
    if not between:
        return None
    eqn = next((eqn for eqn in between if eqn.op.kind != "kernel"), between[0])
    what = _origin(eqn, eqn.outputs[0])
    where = f" at {what.source.place}" if what.source else ""
    return f"{what.op.name.removeprefix('partial_')}{where} runs between the step that stores it and one that reads it"


def _reason(producer: Eqn, var: Var, readers: list[Eqn]) -> str | None:
    if _origin(producer, var).op.name.startswith("partial_"):
        if var.type.shape[0] == 1:   # kernels are the same for every size
            return "a reduction of few rows, cut into chunks where it is long (here there is one): the next step combines them"
        return "one long reduction, cut into chunks that run in parallel: the next step combines them"
    if producer.op.kind == "control":
        return f"a result of {producer.op.name}, whose body is a program of its own"
    if producer.op.kind != "kernel":
        return f"{producer.op.name} is a step of its own, its result lies in memory"
    controls = dict.fromkeys(eqn.op.name for eqn in readers if eqn.op.kind == "control")
    if controls:
        return f"read by {', '.join(controls)}, whose body is a program of its own"
    foreign = [eqn.op.name for eqn in readers if eqn.op.kind != "kernel"]
    if foreign:
        return f"{', '.join(dict.fromkeys(foreign))} is a step of its own, its operands lie in memory"
    domains = [eqn for eqn in readers if eqn.params["domain"] != producer.params["domain"]]
    if domains:
        mine, theirs = producer.params["domain"], domains[0].params["domain"]
        return f"computed by loops over {_shape(mine)}, read by loops over {_shape(theirs)}"
    reduces = {eqn.params["reduce"] for eqn in readers}
    if producer.params["reduce"] and any(reduces - {producer.params["reduce"]}):
        return "its readers reduce over other axes"
    return None


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one element"


# Memory

def arena_bytes(compiled) -> int:
    """Bytes of scratch memory of one run."""
    return compiled.program.arena_bytes if compiled.program is not None else 0


def memory(name: str, compiled) -> Text:
    """Bytes of arguments, results, constants and arena, and the life of every buffer in the arena, step by step."""
    graph = compiled.graph
    rows = [("arguments", _bytes(graph.input_types), _types(graph.input_types)),
            ("results", _bytes(graph.output_types), _types(graph.output_types))]
    if compiled.program is not None:
        consts = compiled.program.consts
        rows += [("constants", size_text(sum(c.nbytes for c in consts)), _count("array", consts)),
                 ("arena", size_text(compiled.program.arena_bytes), "scratch memory, kept from call to call")]
    lines = [f"{name}: memory of one run", *(f"  {line}" for line in columns(rows, right=(1,)))]
    lives = _lives(compiled.kernels)
    if lives:
        lines += ["", f"in the arena, over {_count('step', compiled.kernels)}:"]
        table = [(str(at), size_text(size), _bar(first, last, len(compiled.kernels))) for at, size, first, last in lives]
        lines += [f"  {line}" for line in columns([("offset", "size", "from first write to last read"), *table], right=(0, 1))]
    return Text("\n".join(lines))


def _bytes(types) -> str:
    return size_text(sum(t.nbytes for t in types))


def _lives(kernels) -> list[tuple[int, int, int, int]]:
    """(offset, bytes, step of the first write, step of the last read) of every buffer in the arena."""
    lives: list[list[int]] = []
    open_at: dict[int, list[int]] = {}
    for k, info in enumerate(kernels):
        for slot, nbytes, writes in _buffers(info):
            life = open_at.get(slot.offset)
            if life is None or (writes and life[3] < k):
                open_at[slot.offset] = life = [slot.offset, nbytes, k, k]
                lives.append(life)
            life[1], life[3] = max(life[1], nbytes), k
    return sorted((tuple(life) for life in lives), key=lambda life: (life[2], life[0]))


def _buffers(info) -> Iterator[tuple[object, int, bool]]:
    """(slot, bytes, is it written) of a step's buffers in the arena, those it reads first."""
    slots = getattr(info.step, "buffers", ())
    if info.nest is not None:
        found = [(s, b.atom.type.nbytes, b.role == "output") for s, b in zip(slots, info.nest.buffers) if b.role != "status"]
    elif len(info.eqns) == 1 and len(slots) == len(info.eqns[0].inputs) + len(info.eqns[0].outputs):
        eqn = info.eqns[0]
        atoms = (*eqn.inputs, *eqn.outputs)
        found = [(s, a.type.nbytes, k >= len(eqn.inputs)) for k, (s, a) in enumerate(zip(slots, atoms))]
    else:
        found = [(s, info.writes if k else info.reads, k > 0) for k, s in enumerate(slots[:2])]
    return (f for f in sorted(found, key=lambda f: f[2]) if f[0].kind == "arena")


def _bar(first: int, last: int, steps: int) -> str:
    """A life as a bar, one mark per step: `..###.`; numbers when there are too many steps."""
    return "." * first + "#" * (last - first + 1) + "." * (steps - last - 1) if steps <= 60 else f"steps {first} to {last}"


# JITNET_DEBUG

def report(name: str, record, level: int, trace_ms: float, compile_ms: float, compiles: int) -> None:
    """Writes to standard error what JITNET_DEBUG=level asks for."""
    graph: Graph = record.traced.graph
    parts = [f"jitnet: {name}({_types(graph.input_types)}): traced in {trace_ms:.1f} ms, compiled in {compile_ms:.1f} ms: "
             f"{_count('equation', graph.eqns)}, {_count('step', record.compiled.kernels)}, {_count('new kernel', compiles)}"]
    if level >= 2:
        parts.append(explain(name, record.compiled))
    if level >= 3:
        parts.append(source(name, record.compiled))
    if level >= 4:
        parts.append(str(steps(record.compiled)))
    print("\n\n".join(parts), file=sys.stderr, flush=True)
