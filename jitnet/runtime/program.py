"""A compiled graph: steps over planned buffers, run by one native call.

    step    ::= KernelStep | LoopStep | SwitchStep
    slot    ::= Slot(kind, index, offset, strides)      where a buffer starts: in an input, an output, a constant or the arena
    program ::= Program(steps, inputs, outputs, arena_bytes, consts, status)

`Program` writes the steps into one table of numbers (layout.py), and native code runs that table: no Python between kernels.
Every buffer of every step has its own word in the frame of a call. Those in constants and in the arena are filled in once
per frame, those in inputs and outputs once per call; a loop moves the words of its buffers by their strides.
"""
from __future__ import annotations

import ctypes
import dataclasses
import math
import sys
import threading
from collections.abc import Callable, Sequence

import numpy as np

from . import layout, native, threads
from .joining import Joined, Span, join

GOOD_FLAGS = layout.C_CONTIGUOUS | layout.ALIGNED
LOOK_AFTER = 1 << 26  # bytes touched by a loop between two looks for signals: about 10 ms of work
RELEASE_FROM = 1 << 20  # bytes touched from which on other Python threads may run meanwhile: about 0.1 ms of work


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where a buffer starts: `offset` bytes into an input, output, constant or the arena, plus its strides.

    strides: ((loop level, bytes per iteration), ...).
    """
    kind: str
    index: int
    offset: int = 0
    strides: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class KernelStep:
    """kernel(buffers, sizes, 0, extent); with a grain > 0 in chunks of that many, on the thread pool.

    spans: a Span per buffer, of `period` points at a time, where the step may be joined with others (joining.py). part: those
    of one number, but for 0, write different parts of one buffer, and read none of it.
    """
    kernel: object
    buffers: tuple[Slot, ...]
    sizes: tuple[int, ...]
    extent: int
    grain: int = 0
    spans: tuple[Span, ...] = ()
    period: int = 1
    part: int = 0


@dataclasses.dataclass(frozen=True)
class LoopStep:
    """`count` rounds of `body` (a number, or an int64 slot read at the start), or rounds while `cond` is true.

    A round of a while loop runs `before`, which computes the bool slot `cond`, then tests it, then runs `body`.
    turns: (place, place, bytes) of what is exchanged in every odd round: there one round reads what the one before wrote.
    Only in a loop of a fixed number of rounds.
    """
    count: int | Slot | None
    cond: Slot | None
    before: tuple[Step, ...]
    body: tuple[Step, ...]
    level: int
    turns: tuple[tuple[Slot, Slot, int], ...] = ()

    def odd(self, slot: Slot) -> Slot:
        """Where a slot lies in odd rounds."""
        for a, b, nbytes in self.turns:
            for here, there in ((a, b), (b, a)):
                within = slot.offset - here.offset
                if (slot.kind, slot.index) == (here.kind, here.index) and 0 <= within < max(nbytes, 1):
                    more = tuple(s for s in slot.strides if s not in here.strides)
                    return Slot(there.kind, there.index, there.offset + within, there.strides + more)
        return slot


@dataclasses.dataclass(frozen=True)
class SwitchStep:
    """The branch that the int64 slot `index` says, clamped to the first and the last."""
    index: Slot
    branches: tuple[tuple[Step, ...], ...]


Step = KernelStep | LoopStep | SwitchStep


class StatusError(IndexError):
    """A kernel found an index out of bounds; `cells` is the status array, `check` what the first one set stands for."""

    def __init__(self, cells: tuple[int, ...], checks: Sequence = ()):
        super().__init__(f"index out of bounds (status {cells})")
        self.cells, self.check = cells, next((check for check, cell in zip(checks, cells) if cell), None)


class CallbackKernel:
    """A Python function as a kernel: runs under the GIL, serially, wherever a compiled kernel could stand.

    function(*arrays) when `arguments` gives (shape, dtype) per buffer: NumPy views, written in place. Without arguments it is
    function(buffers, sizes, start, stop) with ctypes pointers. An exception ends the program and is raised by the call.
    """
    _signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_int64),
                                  ctypes.c_int64, ctypes.c_int64)
    _pending = threading.local()

    def __init__(self, function: Callable, arguments: Sequence[tuple[tuple[int, ...], object]] | None = None):
        self.function = function
        self.arguments = None if arguments is None else tuple((tuple(s), np.dtype(d)) for s, d in arguments)
        self._native = self._signature(self._run)
        self.address = ctypes.cast(self._native, ctypes.c_void_p).value
        self.source = f"# {getattr(function, '__qualname__', function)!s}, called in Python"

    def _run(self, buffers, sizes, start, stop) -> int:
        try:
            if self.arguments is None:
                self.function(buffers, sizes, start, stop)
            else:
                self.function(*[_view(buffers[i], *argument) for i, argument in enumerate(self.arguments)])
        except BaseException as error:  # ctypes would print and drop it; even KeyboardInterrupt has to reach the caller
            self._pending.error = error
            return 1
        return 0

    @classmethod
    def take_error(cls) -> BaseException:
        """The exception that ended a program in this thread."""
        error = cls._pending.error
        cls._pending.error = None
        return error


def _view(address, shape, dtype):
    """A NumPy array over foreign memory."""
    size = dtype.itemsize * math.prod(shape)
    if size == 0:
        return np.empty(shape, dtype)
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8).view(dtype).reshape(shape)


class _Encoder:
    """Steps -> the tables of a block; word numbers are those of a frame."""

    def __init__(self, program: Program, round_bytes: int):
        self.program = program
        # Rounds of a loop between two looks for Ctrl-C, a power of two; round_bytes: what a round touches at most.
        self.patience = 1 << min(16, max(1, LOOK_AFTER // max(round_bytes, 1)).bit_length() - 1)
        self.code: list[list[int]] = []
        self.static: list[tuple[int, int, int]] = []  # (word, 1 if in the arena, address or offset)
        self.io: list[tuple[int, int, int]] = []  # (word, word of the input or output, offset)
        self.keep: list[object] = []
        inputs, outputs = len(program.inputs), len(program.outputs)
        self.output_word = layout.F_IO + inputs
        self.cell_word = self.output_word + outputs
        self.words = self.cell_word + inputs + outputs  # behind the cells, room for a call's output arrays
        self.moves: dict[int, list[tuple[int, int]]] = {}  # loop level -> (word, bytes per turn)
        self.round: list[Callable[[Slot], Slot]] = []  # a loop whose rounds differ: slot of its body -> slot in this round
        self.rounds: dict[int, int] = {}  # loop level -> rounds in a turn

    def array(self, values) -> int:
        """Address of these numbers, kept as long as the program."""
        kept = np.array(values if len(values) else [0], np.int64).ravel()
        self.keep.append(kept)
        return _address(kept)

    def word(self, slot: Slot, at: int | None = None) -> int:
        """The frame word that will hold the slot's address."""
        word = at
        for place in self.round:
            slot = place(slot)
        if word is None:
            word, self.words = self.words, self.words + 1
        consts = self.program.consts
        if slot.kind == "const":
            self.static.append((word, 0, _address(consts[slot.index]) + slot.offset))
        elif slot.kind == "arena":
            self.static.append((word, 1, slot.offset))
        elif slot.kind == "input":
            self.io.append((word, layout.F_IO + slot.index, slot.offset))
        elif slot.kind == "output":
            self.io.append((word, self.output_word + slot.index, slot.offset))
        else:
            raise ValueError(f"a slot is an input, output, const or arena, not {slot.kind!r}")
        for level, stride in slot.strides:
            if level not in self.moves:
                raise ValueError(f"a slot moves with loop level {level}, outside of that loop")
            if stride:
                self.moves[level].append((word, stride * self.rounds[level]))
        return word

    def words_for(self, slots: Sequence[Slot]) -> int:
        """The first of consecutive frame words for these slots: a kernel's `buffers`."""
        first, self.words = self.words, self.words + len(slots)
        for i, slot in enumerate(slots):
            self.word(slot, first + i)
        return first

    def emit(self, *values: int) -> int:
        """Appends an instruction; returns its number."""
        self.code.append([*values, *[0] * (layout.INSTRUCTION_WORDS - len(values))])
        return len(self.code) - 1

    def here(self) -> int:
        """The next instruction, as a jump target."""
        return len(self.code) * 8 * layout.INSTRUCTION_WORDS

    def steps(self, steps: Sequence[Step]) -> None:
        for step in join(steps):
            if isinstance(step, KernelStep):
                self.kernel(step)
            elif isinstance(step, Joined):
                self.joined(step)
            elif isinstance(step, LoopStep):
                self.loop(step)
            elif isinstance(step, SwitchStep):
                self.switch(step)
            else:
                raise TypeError(f"not a step: {step!r}")

    def kernel(self, step: KernelStep) -> None:
        self.keep.append(step.kernel)
        sizes = self.array(step.sizes)
        buffers = self.words_for(step.buffers)
        if isinstance(step.kernel, CallbackKernel):
            self.emit(layout.OP_CALLBACK, step.kernel.address, buffers, sizes, step.extent)
        elif step.grain and step.extent > step.grain:
            threads.ensure_pool()
            self.emit(layout.OP_PARALLEL, step.kernel.address, buffers, sizes, step.extent, step.grain)
        else:
            self.emit(layout.OP_SERIAL, step.kernel.address, buffers, sizes, step.extent)

    def joined(self, step: Joined) -> None:
        self.keep += [link.kernel for link, _ in step.links]
        table, position = [len(step.links)], 0
        for link, points in step.links:
            table += [link.kernel.address, 8 * position, self.array(link.sizes), points, link.extent]
            position += len(link.buffers)
        buffers = self.words_for([slot for link, _ in step.links for slot in link.buffers])
        threads.ensure_pool()
        self.emit(layout.OP_PARALLEL, native.address("jitnet_join"), buffers, self.array(table), step.pieces, 1)

    def loop(self, step: LoopStep) -> None:
        if step.level in self.moves:
            raise ValueError(f"loop level {step.level} is in use by a loop around this one")
        if step.turns and not isinstance(step.count, int):
            raise ValueError("only a loop of a fixed number of rounds has places that take turns")
        rounds = self.rounds[step.level] = 2 if step.turns else 1  # in one turn of the native loop
        state, self.words = self.words, self.words + 2  # turns done, turns wanted
        if isinstance(step.count, Slot):
            count = (layout.COUNT_SLOT, self.word(step.count))
        else:
            count = (layout.COUNT_ENDLESS, 0) if step.count is None else (layout.COUNT_FIXED, step.count // rounds)
        self.emit(layout.OP_LOOP, state, *count)
        self.moves[step.level] = []
        start, exits = self.here(), []
        if step.count is not None:
            exits.append(self.emit(layout.OP_TEST_COUNT, state))
        self.steps(step.before)
        if step.cond is not None:
            exits.append(self.emit(layout.OP_TEST_CONDITION, self.word(step.cond)))
        self.steps(step.body)
        if rounds == 2:
            self.steps_of_round(step, lambda slot: _later(step.odd(slot), step.level, 1))
        moves = self.moves.pop(step.level)
        table = self.array([n for move in moves for n in move])
        self.emit(layout.OP_NEXT, state, table, len(moves), start, self.patience - 1)
        for exit_ in exits:
            self.code[exit_][2] = self.here()
        self.emit(layout.OP_EXIT, state, table, len(moves))
        if rounds == 2 and step.count % 2:
            self.steps_of_round(step, lambda slot: _still(_later(slot, step.level, step.count - 1), step.level))

    def steps_of_round(self, step: LoopStep, place: Callable[[Slot], Slot]) -> None:
        """The body of a loop once more, its slots where they lie in another round."""
        self.round.append(place)
        self.steps(step.body)
        self.round.pop()

    def switch(self, step: SwitchStep) -> None:
        head = self.emit(layout.OP_SWITCH, self.word(step.index), len(step.branches))
        targets, jumps = [], []
        for branch in step.branches:
            targets.append(self.here())
            self.steps(branch)
            jumps.append(self.emit(layout.OP_JUMP))
        self.code[head][3] = self.array(targets)
        for jump in jumps:
            self.code[jump][1] = self.here()


def _later(slot: Slot, level: int, rounds: int) -> Slot:
    """The slot where it lies so many rounds later."""
    return dataclasses.replace(slot, offset=slot.offset + rounds * sum(n for at, n in slot.strides if at == level))


def _still(slot: Slot, level: int) -> Slot:
    """The slot without its strides of a loop level."""
    return dataclasses.replace(slot, strides=tuple(s for s in slot.strides if s[0] != level))


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]  # half the time of array.ctypes.data


def _slots(steps):
    """All slots of the steps, at any depth."""
    for step in steps:
        if isinstance(step, KernelStep):
            yield from step.buffers
        elif isinstance(step, LoopStep):
            yield from [s for s in (step.count, step.cond) if isinstance(s, Slot)]
            yield from _slots(step.before + step.body)
        else:
            yield step.index
            for branch in step.branches:
                yield from _slots(branch)


class Program:
    """Steps, planned: `run(arrays)` gives the outputs. Any number of threads may run it at once.

    inputs, outputs: types with .shape and .dtype. status: an int64 slot in the arena with `status_size` cells, zeroed at the
    start; any cell that is not zero at the end makes the call raise StatusError. checks: what the cells stand for. work: bytes
    touched by one run, to decide whether other Python threads may run meanwhile; by default the sum of all arrays, times the
    rounds of loops.
    """

    def __init__(self, steps: Sequence[Step], inputs: Sequence, outputs: Sequence, arena_bytes: int = 0,
                 consts: Sequence[np.ndarray] = (), status: Slot | None = None, *, status_size: int = 1,
                 checks: Sequence = (), work: int | None = None):
        self.steps = tuple(steps)
        self.inputs = tuple((tuple(t.shape), np.dtype(t.dtype)) for t in inputs)
        self.outputs = tuple((tuple(t.shape), np.dtype(t.dtype)) for t in outputs)
        self.arena_bytes, self.status, self.status_size = arena_bytes, status, status_size if status else 0
        self.checks = tuple(checks)
        self.consts = tuple(np.require(c, requirements="CA") for c in consts)
        self._check_slots()
        api = native.api()
        bytes_once = arena_bytes + sum(d.itemsize * math.prod(s) for s, d in self.inputs + self.outputs)
        encoder = _Encoder(self, bytes_once)
        encoder.steps(self.steps)
        encoder.emit(layout.OP_END)
        self._keep = (encoder.keep, api)
        self.cell_word = encoder.cell_word
        self.work = work if work is not None else bytes_once * _rounds(self.steps)
        block = np.zeros(layout.BLOCK_WORDS, np.int64)
        block[layout.B_API] = api.address
        block[layout.B_CODE] = encoder.array([n for instruction in encoder.code for n in instruction])
        block[layout.B_STATIC] = encoder.array([n for row in encoder.static for n in row])
        block[layout.B_STATIC_COUNT] = len(encoder.static)
        block[layout.B_IO] = encoder.array([n for row in encoder.io for n in row])
        block[layout.B_IO_COUNT] = len(encoder.io)
        block[layout.B_STATUS], block[layout.B_STATUS_COUNT] = status.offset if status else 0, self.status_size
        block[layout.B_ARENA_BYTES] = arena_bytes
        block[layout.B_FRAME_WORDS] = encoder.words
        block[layout.B_INPUTS], block[layout.B_OUTPUTS] = len(self.inputs), len(self.outputs)
        self._block = block
        self.address = _address(block)
        self._run, self._free = native.function("jitnet_run_arrays"), native.function("jitnet_free_frames")
        self._lock = threading.Lock() if not getattr(sys, "_is_gil_enabled", lambda: True)() else None

    def _check_slots(self) -> None:
        limits = {"input": len(self.inputs), "output": len(self.outputs), "const": len(self.consts), "arena": 1 << 62}
        for slot in _slots(self.steps):
            if slot.kind not in limits or not 0 <= slot.index < limits[slot.kind]:
                raise ValueError(f"no such buffer: {slot}")
            if slot.kind == "arena" and not 0 <= slot.offset < max(self.arena_bytes, 1):
                raise ValueError(f"outside of the arena of {self.arena_bytes} bytes: {slot}")
        end = self.arena_bytes - 8 * self.status_size
        if self.status is not None and (self.status.kind != "arena" or self.status.offset > end):
            raise ValueError(f"the status cells lie in the arena of {self.arena_bytes} bytes, not at {self.status}")

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for these inputs: C-contiguous aligned arrays of the program's types, else ValueError."""
        if len(arrays) != len(self.inputs):
            raise ValueError(f"the program takes {len(self.inputs)} arrays, not {len(arrays)}")
        for i, (array, (shape, dtype)) in enumerate(zip(arrays, self.inputs, strict=True)):
            if array.shape != shape or array.dtype != dtype or array.flags.num & GOOD_FLAGS != GOOD_FLAGS:
                raise ValueError(f"argument {i} of the program is a contiguous {dtype}{list(shape)}, "
                                 f"not {array.dtype}{list(array.shape)} with strides {array.strides}")
        outputs = [np.empty(shape, dtype) for shape, dtype in self.outputs]
        self.run_into([_address(a) for a in arrays], [_address(a) for a in outputs])
        return outputs

    def run_into(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Runs on addresses; raises StatusError when a status cell is set, and what a callback raised."""
        addresses = (ctypes.c_int64 * (len(inputs) + len(outputs) + 1))(*inputs, *outputs)
        cells = (ctypes.c_int64 * (self.status_size + 1))()
        arguments = self.address, ctypes.addressof(addresses), ctypes.addressof(cells), int(self.work >= RELEASE_FROM)
        if self._lock is None:
            code = self._run(*arguments)
        else:
            with self._lock:
                code = self._run(*arguments)
        self.raise_for(code, cells)

    def raise_for(self, code: int, cells: Sequence[int]) -> None:
        """Raises what the result of a native run stands for."""
        if code == layout.STATUS_SET:
            raise StatusError(tuple(cells[:self.status_size]), self.checks)
        if code == layout.CALLBACK_FAILED:
            raise CallbackKernel.take_error()
        if code == layout.NO_MEMORY:
            raise MemoryError(f"no memory for an arena of {self.arena_bytes} bytes")

    def __copy__(self) -> Program:
        return self   # its native memory is freed once

    def __deepcopy__(self, memo) -> Program:
        return self

    def __del__(self):
        if getattr(self, "_free", None) is not None:
            self._free(self.address)


def _rounds(steps: Sequence[Step]) -> int:
    """How often the innermost step runs, as far as that is known."""
    loops = [step for step in steps if isinstance(step, LoopStep)]
    return max([1, *((step.count if isinstance(step.count, int) else 16) * _rounds(step.body) for step in loops)])
