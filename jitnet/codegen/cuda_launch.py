"""How many threads run a GPU kernel: plain data, computed without a GPU.

A block's shape follows from the sizes of the work alone, never from the device: it decides in which order a sum is taken, so a
kernel gives the same bits on every GPU. The grid follows from the device too: blocks walk over the work in strides of the grid,
and which block does what changes no result.
"""
from __future__ import annotations

from dataclasses import dataclass

from .cuda_names import LONG_ROW

BLOCK = 256          # threads of a block of elementwise work
SQUARE = 1024        # elements that such a block turns at a time
LEAST_EDGE = SQUARE // BLOCK   # so that threads side by side have elements side by side
ROWS_BLOCK = 128     # threads of a block that reduces several rows: few meet at its barriers
LEAST_SERIAL = 4     # elements that a thread of a row or a column reduces by itself, if there are that many
WARP, SERIAL = 32, 16   # more threads than a warp share a row only if each has as many elements: they meet at barriers
MANY_ROWS = 2048     # fill a GPU with half of the threads each; what a thread does once per row costs as much as 20 elements
WAVES = 4            # blocks per multiprocessor, times those that run at once: late blocks fill the gaps of early ones
MOST_BLOCKS_Y = 65535


@dataclass(frozen=True)
class DeviceProperties:
    """What of a GPU decides the size of a grid; the defaults are those of an H200."""

    multiprocessors: int = 132
    threads_per_multiprocessor: int = 2048


@dataclass(frozen=True)
class LaunchShape:
    """What a launch depends on: the template of the kernel and the extents that its threads share out.

    point     one thread
    flat      `inner` elements in one row, `lanes` at a time by each thread
    grid      `outer` rows of `inner` elements, `lanes` at a time
    squares   `outer` squares, or longer pieces, of SQUARE elements: `inner` along the axis that is read (`square_edge`)
    rows      `outer` rows, each reduced over `inner` elements by the threads of one thread_y
    columns   `outer` times strips over `columns`, each column reduced over `inner` elements by the threads of one thread_x
    ordered   `outer` sequences, each in order; threads of one thread_x share the targets of a sequence
    """

    template: str
    outer: int = 1
    inner: int = 1
    lanes: int = 1
    columns: int = 1
    kept_bytes: int = 0   # of dynamic shared memory for each row that is worth keeping there
    together: int = 1     # rows that a block has at least, for what one of them loads the others find in the cache; of "grid":
    #                       vectors that a thread takes at a time


@dataclass(frozen=True)
class Launch:
    """The arguments of a launch."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int = 0

    def __str__(self) -> str:
        def text(sizes):
            while len(sizes) > 1 and sizes[-1] == 1:
                sizes = sizes[:-1]
            return "x".join(map(str, sizes))
        kept = f" with {self.shared_bytes} B of shared memory" if self.shared_bytes else ""
        return f"{text(self.grid)} blocks of {text(self.block)} threads{kept}"


def launch_shape(shape: LaunchShape, device: DeviceProperties = DeviceProperties()) -> Launch:
    """The grid, block and dynamic shared memory of a launch.

    >>> from jitnet.codegen.cuda_launch import LaunchShape, launch_shape
    >>> print(launch_shape(LaunchShape("rows", outer=4096, inner=1000)))
    1024 blocks of 32x4 threads
    """
    return TEMPLATES[shape.template](shape, device)


def power_of_two(n: int, low: int, high: int) -> int:
    """The smallest power of two that is at least n, within limits."""
    return min(max(1 << max(0, n - 1).bit_length(), low), high)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def resident(device: DeviceProperties, threads: int) -> int:
    """Blocks of that many threads that are worth starting: more would only queue."""
    return max(1, device.multiprocessors * (device.threads_per_multiprocessor // threads) * WAVES)


def bounded(blocks: int, device: DeviceProperties, threads: int) -> int:
    return max(1, min(blocks, resident(device, threads)))


def point(shape: LaunchShape, device: DeviceProperties) -> Launch:
    return Launch((1, 1, 1), (1, 1, 1))


def flat(shape: LaunchShape, device: DeviceProperties) -> Launch:
    blocks = ceil_div(shape.inner, BLOCK * shape.lanes)
    return Launch((bounded(blocks, device, BLOCK), 1, 1), (BLOCK, 1, 1))


def grid(shape: LaunchShape, device: DeviceProperties) -> Launch:
    """Threads along a row as far as it goes, a warp of them before each takes several vectors, the rest on other rows."""
    lanes = shape.lanes * shape.together
    x = max(power_of_two(ceil_div(shape.inner, shape.lanes), 1, WARP), power_of_two(ceil_div(shape.inner, lanes), 1, BLOCK))
    y = BLOCK // x
    blocks_x, blocks_y = max(1, ceil_div(shape.inner, x * lanes)), max(1, ceil_div(shape.outer, y))
    most = resident(device, BLOCK)
    blocks_x = min(blocks_x, most)
    return Launch((blocks_x, min(blocks_y, max(1, most // blocks_x), MOST_BLOCKS_Y), 1), (x, y, 1))


def square_edge(read: int, written: int) -> int:
    """Elements along the axis that is read of what a block turns at a time: 32 of 1024, fewer where that axis is shorter, more
    where the one that is written along is."""
    return power_of_two(read, LEAST_EDGE, WARP) if read < WARP else SQUARE // power_of_two(written, LEAST_EDGE, WARP)


def squares(shape: LaunchShape, device: DeviceProperties) -> Launch:
    x = power_of_two(shape.inner, LEAST_EDGE, BLOCK)
    return Launch((bounded(shape.outer, device, BLOCK), 1, 1), (x, BLOCK // x, 1))


def row_block(outer: int, inner: int, together: int = 1) -> tuple[int, int]:
    """Threads along a row, rows in a block: few threads for a short row, a warp for a longer one, a block for a long one."""
    most, serial = LONG_ROW // together, SERIAL if outer < MANY_ROWS else 2 * SERIAL
    x = max(power_of_two(ceil_div(inner, LEAST_SERIAL), 1, WARP), power_of_two(ceil_div(inner, serial), 1, most))
    return x, max(together, ROWS_BLOCK // x)


def rows(shape: LaunchShape, device: DeviceProperties) -> Launch:
    x, y = row_block(shape.outer, shape.inner, shape.together)
    kept = shape.kept_bytes * y
    return Launch((bounded(ceil_div(shape.outer, y), device, x * y), 1, 1), (x, y, 1), kept)


def columns(shape: LaunchShape, device: DeviceProperties) -> Launch:
    """A thread per column, and as many on each as its length and a block allow."""
    x = power_of_two(shape.columns, 1, 32)
    y = power_of_two(ceil_div(shape.inner, LEAST_SERIAL), 1, BLOCK // x)
    strips = ceil_div(shape.columns, x)
    return Launch((bounded(shape.outer * strips, device, x * y), 1, 1), (x, y, 1))


OWNERS = 16384   # threads that a scatter in order is worth: each walks over all of its sequence


def ordered(shape: LaunchShape, device: DeviceProperties) -> Launch:
    """Threads for all sequences, and for parts of the targets while they are few."""
    x = power_of_two(shape.outer, 1, 32)
    blocks_x = ceil_div(shape.outer, x)
    owners = power_of_two(min(ceil_div(OWNERS, blocks_x * x), shape.inner), 1, OWNERS)
    y = min(owners, BLOCK // x)
    return Launch((bounded(blocks_x, device, BLOCK), owners // y, 1), (x, y, 1))


TEMPLATES = {f.__name__: f for f in (point, flat, grid, squares, rows, columns, ordered)}
