"""A small GPU that runs the PTX of whole kernels: blocks, warps, barriers, shuffles, shared memory.

    launch(source, grid, block, shared_bytes, arrays)    compiles a kernel as for a card and runs its PTX on NumPy arrays
    with ptx_gpu(): ...                                  a GPU of host memory whose kernels run so
    launch(..., counts=counts)                           counts["add.s64"]: how often threads ran it

What it runs is what the card's assembler gets: after Numba's typing and lowering, LLVM's passes and its back end. Threads run
in turn, each up to the next place where threads meet, in an order that `seed` shuffles, some warps ahead of others. KernelFault
is raised, with the line of the PTX, where a thread reads or writes outside of a buffer, in the wrong address space or not
aligned, where two write there in no order (testing_ptx_memory.py), and where threads wait for some that never come. What a
thread reads that another may not have written yet is garbage, in some orders at least: wrong values are what shows it.
"""
from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from .codegen.cuda_names import VECTOR_BYTES, parameters
from .runtime import cuda_compile
from .runtime.cuda.toolchain import Toolchain
from .testing_gpu import driven_by
from .testing_kernels import UNWRITTEN, WARP, KernelDriver, KernelFault
from .testing_ptx_kernel import BARRIER, DONE, FAULT, RUNNING, SHUFFLE, NativeKernel, head_of, native_kernel
from .testing_ptx_memory import ANYONES, CONSTANT, ORDINARY, RANGE, SPACES, WORLD, describe

MOST_THREADS, MOST_SHARED = cuda_compile.MOST_THREADS, 227 << 10
WARPS_OF_GARBAGE = np.full(16, -1, np.int64)   # what a thread reads too early


def aligned(nbytes: int, fill: int = UNWRITTEN) -> np.ndarray:
    """New bytes, the first at a multiple of 64."""
    memory = np.full(nbytes + 64, fill, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start:start + nbytes]


class Block:
    """The memory of a launch, one of its blocks after the other."""

    def __init__(self, kernel: NativeKernel, block: Sequence[int], shared: int, words: Sequence[int], ranges: list, seed: int):
        self.kernel, self.shape, self.random = kernel, block, np.random.default_rng(seed)
        self.threads = block[0] * block[1] * block[2]
        self.states = aligned(self.threads * kernel.state_bytes).reshape(self.threads, -1)
        self.reasons, self.counts = np.zeros(self.threads, np.int32), np.zeros(len(kernel.blocks), np.int64)
        self.world = np.zeros(len(WORLD), np.int64)
        self.shared, self.local = aligned(kernel.shared_bytes(shared)), aligned(self.threads * kernel.local_bytes)
        self.words = np.array([*words, 0], np.int64)
        self.tables = aligned(max([s.start + s.nbytes for s in kernel.symbols.values() if s.space == "global"], default=0))
        ranges = list(ranges)
        bases = {"shared": self.shared, "global": self.tables}
        for symbol in kernel.symbols.values():
            if symbol.space in bases:
                start = bases[symbol.space].ctypes.data + symbol.start
                ranges.append((start, start + (symbol.nbytes or shared), symbol.space, CONSTANT if symbol.values else ORDINARY))
                self.tables[symbol.start:symbol.start + len(symbol.values)] = np.frombuffer(symbol.values, np.uint8)
        if kernel.local_bytes:
            start = self.local.ctypes.data
            ranges.append((start, start + len(self.local), "local", ORDINARY))
        self.put_ranges(ranges)
        self.set(parameters=self.words.ctypes.data, counts=self.counts.ctypes.data, shared=self.shared.ctypes.data,
                 tables=self.tables.ctypes.data, local=self.local.ctypes.data, garbage=WARPS_OF_GARBAGE.ctypes.data,
                 n_ranges=len(ranges))

    def put_ranges(self, ranges: list) -> None:
        """The pieces of memory, and who has been there, by byte."""
        self.ranges, noted, self.own = np.zeros((len(ranges), len(RANGE)), np.int64), 0, []
        for k, (start, end, space, kind) in enumerate(ranges):
            self.ranges[k] = start, end, SPACES.index(space), noted, kind
            if space != "global":
                self.own.append(slice(noted, noted + end - start))
            noted += end - start
        self.written = np.zeros(noted + 1, np.int64)

    def set(self, **values: int) -> None:
        for name, value in values.items():
            self.world[WORLD.index(name.replace("_", ".") if "id" in name else name)] = value

    def run(self, number: int, place: Sequence[int], grid: Sequence[int]) -> None:
        """Runs the threads of a block to their ends."""
        width, height, _ = self.shape
        self.states.fill(UNWRITTEN)
        self.shared.fill(UNWRITTEN)
        self.local.fill(UNWRITTEN)
        for own in self.own:
            self.written[own] = 0
        threads = np.arange(self.threads)
        for field, value in {"place": 0, "thread": threads, "tid.x": threads % width, "tid.y": threads // width % height,
                             "tid.z": threads // (width * height), "laneid": threads % WARP}.items():
            head_of(self.states, field)[:] = value
        self.set(block=number, epoch=1)
        for axis, name in enumerate("xyz"):
            self.set(**{f"ntid_{name}": self.shape[axis], f"nctaid_{name}": grid[axis], f"ctaid_{name}": place[axis]})
        memory = [a.ctypes.data for a in (self.world, self.ranges, self.written)]
        ready = threads
        while len(ready):
            going = self.random.random(-(-self.threads // WARP)) < 0.5   # warps that run now; others wait
            chosen = ready[going[ready // WARP]]
            order, later = (chosen, ready[~going[ready // WARP]]) if len(chosen) else (ready, chosen)
            order = self.random.permutation(order)
            self.set(steps=0)
            self.kernel.run(self.states.ctypes.data, self.kernel.state_bytes, order.ctypes.data, len(order),
                            self.reasons.ctypes.data, *memory)
            if (self.reasons == FAULT).any():
                raise self.fault(describe(self.world), int(self.world[WORLD.index("line")]))
            ready = np.concatenate([later, self.meet(later)])

    def fault(self, text: str, line: int) -> KernelFault:
        return KernelFault(f"{text}\n  line {line} of the PTX: {self.kernel.lines[line - 1].strip()}")

    def meet(self, later: np.ndarray) -> np.ndarray:
        """The threads that can go on besides those that could already: a block at one barrier, those of a warp that shuffle."""
        lines, here = head_of(self.states, "line"), self.reasons
        here[later] = RUNNING
        if (here == BARRIER).all():
            if (lines != lines[0]).any():
                raise self.fault(f"threads of block {self.world[WORLD.index('block')]} wait at several barriers", lines[0])
            self.world[WORLD.index("epoch")] += 1
            return np.arange(self.threads)
        ready, rest = self.shuffle_whole_warps()
        ready = np.concatenate([ready, *[self.shuffle(start) for start in rest if (here[start:start + WARP] == SHUFFLE).any()]])
        if not len(ready) and not len(later) and (here != DONE).any():
            k = int(np.argmax(here != DONE))
            others = collections.Counter("ended" if r == DONE else f"at line {n}" for r, n in zip(here, lines))
            raise self.fault(f"thread {k} of block {self.world[WORLD.index('block')]} waits for threads that never come: "
                             + ", ".join(f"{count} {what}" for what, count in others.items()), int(lines[k]))
        return ready

    def shuffle_whole_warps(self) -> tuple[np.ndarray, np.ndarray]:
        """(the threads of warps all of which have met to shuffle, and got their values; where the other warps start)"""
        starts = np.arange(0, self.threads, WARP)
        if self.threads % WARP:
            return starts[:0], starts
        here, (lines, values, lanes, clamps, masks) = self.reasons.reshape(-1, WARP), (
            head_of(self.states, f).reshape(-1, WARP) for f in ("line", "value", "lane", "clamp", "mask"))
        met = ((here == SHUFFLE) & (lines == lines[:, :1]) & (masks == -1)).all(axis=1)
        lane, segments, limits = np.arange(WARP), clamps[met] >> 8 & 31, clamps[met] & 31
        other = lane ^ lanes[met] & 31
        other = np.where(other > (lane & segments | limits & ~segments), lane, other)
        values = np.take_along_axis(values[met], other, axis=1)
        threads = (starts[met, None] + lane).ravel()
        head_of(self.states, "value")[threads] = values.ravel()
        return threads, starts[~met]

    def shuffle(self, start: int) -> np.ndarray:
        """The threads of a warp whose partners are there: they get their values."""
        warp = slice(start, start + WARP)
        here, lines = self.reasons[warp], head_of(self.states, "line")[warp]
        values, lanes, clamps, masks = (head_of(self.states, f)[warp] for f in ("value", "lane", "clamp", "mask"))
        ready, given = [], values.copy()
        for lane in np.flatnonzero(here == SHUFFLE):
            mask = int(masks[lane]) & 0xFFFFFFFF
            if not mask >> lane & 1:
                raise self.fault(f"thread {start + lane} is not in its own mask {mask:#x}", int(lines[lane]))
            named = [k for k in range(len(here)) if mask >> k & 1 and here[k] != DONE]
            if any(here[k] != SHUFFLE or lines[k] != lines[lane] or masks[k] != masks[lane] for k in named):
                continue
            other, segment = int(lane) ^ int(lanes[lane]), int(clamps[lane]) >> 8 & 31
            if other > (int(lane) & segment | int(clamps[lane]) & 31 & ~segment):
                other = int(lane)
            values[lane] = given[other] if other < len(here) and here[other] == SHUFFLE and mask >> other & 1 else -1
            ready.append(start + int(lane))
        return np.array(ready, int)


def launch_ptx(ptx: str, grid: Sequence[int], block: Sequence[int], shared: int, words: Sequence[int], ranges: list,
               seed: int = 0, counts: collections.Counter | None = None) -> None:
    """Runs the kernel of a PTX text on parameters of 8 bytes each; ranges: (start, end, "global", kind) of its buffers."""
    kernel = native_kernel(ptx)
    block, grid = ([*shape, 1, 1][:3] for shape in (block, grid))
    if len(words) != kernel.parameters:
        raise KernelFault(f"{kernel.name} has {kernel.parameters} parameters, not {len(words)}")
    fixed = sum(s.nbytes for s in kernel.symbols.values() if s.space == "shared")
    if np.prod(block) > MOST_THREADS or shared + fixed > MOST_SHARED:
        raise KernelFault(f"blocks of {block} threads with {shared} bytes of shared memory besides {fixed} are too large")
    state = Block(kernel, block, shared, words, ranges, seed)
    for number in state.random.permutation(grid[0] * grid[1] * grid[2]):
        state.run(int(number), (number % grid[0], number // grid[0] % grid[1], number // (grid[0] * grid[1])), grid)
    if counts is not None:
        for opcodes, times in zip(kernel.blocks, state.counts):
            for opcode in opcodes:
                counts[opcode] += int(times)


def launch(source: str, grid: Sequence[int], block: Sequence[int], shared: int, arguments: Sequence, *,
           capability: tuple[int, int] = (9, 0), seed: int = 0, counts: collections.Counter | None = None) -> None:
    """Runs a kernel on NumPy arrays, which it writes into, and numbers, as its PTX says. KernelFault as the module says."""
    words, ranges = [], []
    for (name, kind), given in zip(parameters(source), arguments, strict=True):
        if kind.endswith("*"):
            words.append(given.ctypes.data if given.size else 0)
            ranges.append((given.ctypes.data, given.ctypes.data + given.nbytes, "global", kind_of(name)))
        else:
            words.append(word(given))
    launch_ptx(cuda_compile.compile_ptx(source, capability), grid, block, shared, words, ranges, seed, counts)


def kind_of(name: str) -> int:
    """What may happen in the memory of a parameter."""
    return ANYONES if name == "status" else ORDINARY


def word(number) -> int:
    """A number as a parameter: its bytes in a word."""
    memory = np.zeros(1, np.int64)
    memory.view(np.uint8)[:number.nbytes] = np.frombuffer(number.tobytes(), np.uint8)
    return int(memory[0])


# A GPU that runs PTX

class PtxToolchain(Toolchain):
    """The CUDA toolchain without its assembler."""

    version = "PTX"

    def image(self, source, name, capability):
        return f"# {source.partition(chr(10))[0]}\n{cuda_compile.compile_ptx(source, capability, name)}".encode()


class PtxDriver(KernelDriver):
    """A GPU of host memory that runs PTX. `counts`: opcode -> how often threads ran it."""

    def __init__(self, capability: tuple[int, int], seed: int):
        super().__init__()
        self.capability, self.seed, self.counts = capability, seed, collections.Counter()
        self.toolchain = PtxToolchain()

    def load_module(self, image: bytes) -> int:
        if not image.startswith(b"# "):   # PTX of the runtime's own
            return super().load_module(image)
        self._count("load_module")
        return self._new(tuple(image.decode().split("\n", 1)))

    def function(self, module: int, name: str) -> int:
        if isinstance(self.things[module], str):
            return super().function(module, name)
        header, ptx = self.things[module]
        kinds = parameters(header)

        def call(shape, words):
            self.seed += 1
            launch_ptx(ptx, *shape, words, self.memory(kinds, words), self.seed, self.counts)

        return self._new((sum(kind.endswith("*") for _, kind in kinds), len(kinds), call))

    def memory(self, kinds: list[tuple[str, str]], words: Sequence[int]) -> list:
        """The blocks of memory that a launch is given places in."""
        blocks, found, special = self.devices[0].blocks, set(), []
        for (name, kind), address in zip(kinds, words):
            if kind.endswith("*") and address:
                start = next(a for a in blocks if a <= address < a + self.things[a])
                found.add((start, start + self.things[start], "global", ORDINARY))
                if kind_of(name) != ORDINARY:
                    special.append((address, address + VECTOR_BYTES // 2, "global", kind_of(name)))
        return special + sorted(found)


@contextlib.contextmanager
def ptx_gpu(capability: tuple[int, int] = (9, 0), seed: int = 0) -> Iterator[PtxDriver]:
    """The driver of a machine with one GPU of that capability, which runs the PTX of its kernels, while the context lasts."""
    with driven_by(PtxDriver(capability, seed)) as made:
        yield made
