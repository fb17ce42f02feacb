"""GPU kernels interpreted: every thread takes its turn, and what no thread may do is found.

    launch(source, grid, block, shared_bytes, arguments)    runs a kernel on NumPy arrays
    with interpreted_gpu(): ...                             a GPU of host memory whose kernels run so

Threads run one at a time, each up to the next place where all threads of its block meet. KernelFault is raised where a thread
reads or writes outside of a buffer, at an address that is not aligned for a vector, where two write one element, or one writes
what another has read, with no barrier between them, where a kernel writes what it was given to read alone, and where some
threads of a block wait while others do not. What a thread reads too early is NaN: threads beyond the last row do so, and drop
what they read. Numba's simulator finds none of it.
"""
from __future__ import annotations

import ast
import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .codegen.cuda_names import COMBINATIONS, COORDINATES, INPUTS, VECTOR_BYTES, parameters
from .codegen.intrinsics import COMBINE, NUMPY_NAMES, PYTHON_SCOPE
from .codegen.names import DTYPES as KERNEL_DTYPES
from .runtime.cuda.toolchain import Toolchain
from .testing_gpu import FakeDriver, driven_by
from .types import DTYPES, is_float

WARP = 32
TOO_EARLY = {d: np.array(np.nan if is_float(d) else 99, d)[()] for d in DTYPES.values()}   # what a thread reads then
UNWRITTEN = 0xCB   # every byte of shared memory when a block begins


class KernelFault(AssertionError):
    """A thread did what no thread may do."""


@dataclass
class Turn:
    """Whose turn it is, and how often the threads of its block have met."""

    block: int = 0
    thread: int = 0
    epoch: int = 0

    def after(self, other: tuple[int, int, int]) -> bool:
        """Does this turn come after that of (block, thread, epoch) in every run?"""
        block, thread, epoch = other
        return block == self.block and (thread == self.thread or epoch < self.epoch)


MANY = -1   # the number of several threads


class Memory:
    """The elements of a buffer from an address on; notes who reads and writes what, and `steady`, what inputs were read of."""

    def __init__(self, name: str, array: np.ndarray, address: int, turn: Turn, written: dict, read: dict, steady: set):
        self.name, self.array, self.address, self.turn = name, array, address, turn
        self.written, self.read, self.steady, self.is_input = written, read, steady, name.startswith(INPUTS)
        self.dtype = array.dtype

    def place(self, at) -> int:
        """The address of an element."""
        if not 0 <= at < len(self.array):
            raise KernelFault(f"{self.name}[{at}] is outside of {len(self.array)} elements")
        return self.address + int(at) * self.dtype.itemsize

    def alone(self, known: tuple | None, what: str, at) -> None:
        if known is not None and not self.turn.after(known):
            raise KernelFault(f"{self.name}[{at}]: {what} thread {known[1]} of block {known[0]} and by thread "
                              f"{self.turn.thread} of block {self.turn.block}, with no barrier between")

    def __getitem__(self, at):
        place, turn = self.place(at), self.turn
        known = self.written.get(place)
        if self.is_input:   # read through a cache that does not see what the kernel writes
            self.steady.add(place)
            if known is not None:
                raise KernelFault(f"{self.name}[{at}] is an input, and was written by thread {known[1]} of block {known[0]}")
        if known is not None and not turn.after(known):
            return TOO_EARLY[self.dtype]
        before = self.read.get(place)
        others = before is not None and not turn.after(before)
        self.read[place] = (before[0] if others and before[0] == turn.block else MANY if others else turn.block,
                            MANY if others else turn.thread, turn.epoch)
        return self.array[at]

    def __setitem__(self, at, value) -> None:
        place, turn = self.place(at), self.turn
        if self.name != "status":   # where all that find a bad index write the same
            self.alone(self.written.get(place), "written by", at)
            self.alone(self.read.get(place), "read by, and written,", at)
        if place in self.steady:
            raise KernelFault(f"{self.name}[{at}] is written where an input was read")
        self.written[place] = turn.block, turn.thread, turn.epoch
        self.array[at] = value

    def add(self, at, value) -> None:
        """An addition in one step: others may add too, in the same epoch."""
        self.place(at)
        self.array[at] += value

    def vector(self, at, lanes: int) -> range:
        """The places of a vector, which must be aligned."""
        if self.place(at) % (lanes * self.dtype.itemsize):
            raise KernelFault(f"{self.name}[{at}] is not aligned for a vector of {lanes}")
        return range(at, at + lanes)


class Turns(ast.NodeTransformer):
    """A kernel as a generator: it yields what its block is to do together; coordinates are arguments."""

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.args.args = [ast.arg(a.arg) for a in node.args.args] + [ast.arg(f"{name}_") for name in COORDINATES]
        node.body.append(ast.parse("if 0: yield").body[0])
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "id", "")
        if name in COORDINATES:
            return ast.copy_location(ast.Name(f"{name}_", ast.Load()), node)
        if name == "sync" or name.removesuffix("_") in TOGETHER:
            request = ast.Tuple([ast.Constant(name.removesuffix("_")), ast.Constant(node.lineno),
                                 *(node.args or [ast.Constant(None)])], ast.Load())
            return ast.copy_location(ast.Yield(request), node)
        return node


TOGETHER = {f"{kind}_{name}": (kind, COMBINE[name]) for kind in ("row", "column") for name in COMBINATIONS}


@functools.lru_cache(maxsize=256)
def generator(source: str):
    """The code of a kernel as a generator."""
    return compile(ast.fix_missing_locations(Turns().visit(ast.parse(source))), "<kernel>", "exec")


@dataclass
class Run:
    """One launch: the memory that its threads see."""

    turn: Turn = field(default_factory=Turn)
    written: dict = field(default_factory=dict)
    read: dict = field(default_factory=dict)
    steady: set = field(default_factory=set)
    shared: dict[str, Memory] = field(default_factory=dict)   # of the block whose turn it is
    shared_bytes: int = 0

    def buffer(self, name: str, array: np.ndarray) -> Memory:
        return Memory(name, array, array.ctypes.data, self.turn, self.written, self.read, self.steady)

    def shared_memory(self, name: str, nbytes: int) -> Memory:
        """An array of the block whose turn it is, as bytes."""
        if name not in self.shared:
            memory = np.full(nbytes + VECTOR_BYTES, UNWRITTEN, np.uint8)
            start = -memory.ctypes.data % VECTOR_BYTES
            self.shared[name] = Memory(name, memory[start:start + nbytes], 0, self.turn, {}, {}, set())
        return self.shared[name]

    def part(self, name: str, nbytes: int, offset: int, dtype: np.dtype) -> Memory:
        """Elements of shared memory from a byte on."""
        whole = self.shared_memory(name, nbytes)
        if offset % dtype.itemsize or not 0 <= offset <= nbytes:
            raise KernelFault(f"byte {offset} of {name}, which has {nbytes}, as {dtype}")
        elements = whole.array[offset:offset + (nbytes - offset) // dtype.itemsize * dtype.itemsize].view(dtype)
        return Memory(name, elements, offset, self.turn, whole.written, whole.read, whole.steady)

    def scope(self) -> dict[str, object]:
        """Every name that the source of a kernel may use, besides those that `Turns` writes."""
        scope: dict[str, object] = dict(PYTHON_SCOPE)
        for short in KERNEL_DTYPES:
            kind = np.dtype(NUMPY_NAMES[short])
            scope[f"shared_{short}"] = lambda n, k, kind=kind: self.part(f"shared array {k}", n * kind.itemsize, 0, kind)
            scope[f"kept_{short}"] = lambda at, kind=kind: self.part("kept memory", self.shared_bytes, int(at), kind)
        return scope | OWN


def load_vector(memory: Memory, at, lanes: int) -> tuple:
    return tuple(memory[k] for k in memory.vector(at, lanes))


def store_vector(memory: Memory, at, values) -> None:
    for place, value in zip(memory.vector(at, len(values)), values):
        memory[place] = value


OWN = {
    "div_": lambda a, b: a // b if b else 0,   # where nothing is divided up, nothing reads the result
    "aligned_": lambda memory, at: (memory.address + at * memory.dtype.itemsize) % VECTOR_BYTES == 0,
    "load_vector_": load_vector, "store_vector_": store_vector,
    "either_": lambda condition, yes, no: yes if condition else no,
    "inverse_": lambda d: d, "quotients_": lambda values, d, inverse: tuple(value / inverse for value in values),
    **{f"inverse_{half}_": lambda d: d for half in ("f16", "bf16")},
    **{f"quotients_{half}_": lambda values, d, inverse: tuple(value / inverse for value in values) for half in ("f16", "bf16")},
    "atomic_add_": lambda memory, at, value: memory.add(at, value),
}


def launch(source: str, grid: Sequence[int], block: Sequence[int], shared_bytes: int, arguments: Sequence) -> None:
    """Runs a kernel on NumPy arrays, which it writes into, and numbers. KernelFault as the module says."""
    run, made = Run(shared_bytes=shared_bytes), {}
    given = [run.buffer(name, a) if kind.endswith("*") else a
             for (name, kind), a in zip(parameters(source), arguments, strict=True)]
    scope = run.scope()
    exec(generator(source), scope, made)
    kernel = made["kernel"]
    with np.errstate(all="ignore"):
        for number in range(grid[0] * grid[1]):
            run.turn.block, run.turn.epoch = number, 0
            run.shared.clear()
            fixed = {"block_x": number % grid[0], "block_y": number // grid[0], "threads_x": block[0], "threads_y": block[1],
                     "blocks_x": grid[0], "blocks_y": grid[1]}
            threads = [kernel(*given, *({**fixed, "thread_x": x, "thread_y": y}[name] for name in COORDINATES))
                       for y in range(block[1]) for x in range(block[0])]
            run_block(threads, block[0], run.turn)


def run_block(threads: list, width: int, turn: Turn) -> None:
    """Runs the threads of a block to their ends."""
    answers = [None] * len(threads)
    while True:
        requests = []
        for turn.thread, (thread, answer) in enumerate(zip(threads, answers)):
            try:
                requests.append(thread.send(answer))
            except StopIteration:
                requests.append(None)
        first = requests[0]
        for k, request in enumerate(requests):
            if (request or (None, 0))[:2] != (first or (None, 0))[:2]:
                raise KernelFault(f"thread {k} is at {request and request[:2]}, thread 0 at {first and first[:2]}")
        if first is None:
            return
        name, _, _ = first
        answers = [None] * len(threads)
        if name != "sync":
            kind, combine = TOGETHER[name]
            answers = (combine_rows if kind == "row" else combine_columns)([value for _, _, value in requests], width, combine)
        if name == "sync" or TOGETHER[name][0] == "column" or width > WARP:
            turn.epoch += 1


def halved(values: list, combine: Callable):
    """The values of a power of two of threads, combined: the upper half joins the lower one until one is left."""
    while len(values) > 1:
        half = len(values) // 2
        values = [combine(a, b) for a, b in zip(values[:half], values[half:])]
    return values[0]


def combine_rows(values: list, width: int, combine: Callable) -> list:
    """For every thread the values of its row combined: within warps, then the warps."""
    answers = []
    for start in range(0, len(values), width):
        row = values[start:start + width]
        warps = [halved(row[k:k + WARP], combine) for k in range(0, width, WARP)]
        answers += [halved(warps, combine)] * width
    return answers


def combine_columns(values: list, width: int, combine: Callable) -> list:
    """For every thread the values of its column combined."""
    columns = [halved(values[k::width], combine) for k in range(width)]
    return columns * (len(values) // width)


# A GPU whose kernels are interpreted

class Sources(Toolchain):
    """The CUDA toolchain without its assembler."""

    def image(self, source, name, capability):
        return source.encode()


class KernelDriver(FakeDriver):
    """A GPU of host memory that runs the kernels of GPUs, one thread at a time."""

    def __init__(self):
        super().__init__()
        self.toolchain = Sources()

    def load_module(self, image: bytes) -> int:
        if b".entry" in image:   # PTX of the runtime's own
            return super().load_module(image)
        self._count("load_module")
        return self._new((image.decode(),))

    def function(self, module: int, name: str) -> int:
        if isinstance(self.things[module], str):
            return super().function(module, name)
        (source,) = self.things[module]
        run, kinds = self.kernel(source, name), [kind for _, kind in parameters(source)]

        def call(shape, words):
            run(*shape, [self.argument(word, kind) for word, kind in zip(words, kinds, strict=True)])

        return self._new((sum(kind.endswith("*") for kind in kinds), len(kinds), call))

    def kernel(self, source: str, name: str) -> Callable:
        """What runs a kernel, given grid, block, bytes of shared memory and arguments."""
        return functools.partial(launch, source)

    def argument(self, word: int, kind: str):
        """What a parameter is: an array from its address to the end of the block of memory, or a number."""
        if not kind.endswith("*"):
            dtype = DTYPES[kind]
            return np.array([word]).view(np.uint8)[:dtype.itemsize].view(dtype)[0]
        dtype = DTYPES[kind[:-1]]
        if not word:   # an array without elements lies nowhere
            return np.empty(0, dtype)
        start = next(a for a in self.devices[0].blocks if a <= word < a + self.things[a])
        memory, offset = self.devices[0].blocks[start], word - self.devices[0].blocks[start].ctypes.data
        nbytes = (start + self.things[start] - word) // dtype.itemsize * dtype.itemsize
        return memory[offset:offset + nbytes].view(dtype)


@contextlib.contextmanager
def interpreted_gpu() -> Iterator[KernelDriver]:
    """The driver of a machine with one GPU, whose kernels are interpreted, while the context lasts."""
    with driven_by(KernelDriver()) as made:
        yield made
