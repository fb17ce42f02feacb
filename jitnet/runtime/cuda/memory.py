"""Memory of a GPU, and page-locked memory of the host that is copied to and from it.

Everything that jitnet does on a device stands on one stream, so a block is free for the next use as soon as Python lets go of
it: what is enqueued later comes later. Blocks come from the driver's stream-ordered pool and wait here, by size, for reuse.
A block of host memory is free again when the copy that used it is done, which an event tells.
"""
from __future__ import annotations

import collections

GRANULE = 512
MOST_PINNED = 256 << 20   # bytes of host memory that may be pinned for copies under way


def rounded(nbytes: int) -> int:
    """The size of the block for that many bytes: at most an eighth is lost, so that blocks of like sizes serve one another."""
    step = GRANULE
    while nbytes > 16 * step:
        step *= 2
    return max(GRANULE, -(-nbytes // step) * step)


class Block:
    """Device memory that goes back to its pool when nobody refers to it. `pointer` is 0 for no bytes."""

    __slots__ = ("__weakref__", "pointer", "pool", "size", "users")

    def __init__(self, pool: Pool | None, pointer: int, size: int):
        self.pool, self.pointer, self.size = pool, pointer, size
        self.users: list[int] = []   # other streams that may be using it: the next use waits for what they do

    def __del__(self):
        if self.pool is not None:
            self.pool.put(self.pointer, self.size, self.users)


class Foreign(Block):
    """Device memory of another library; `owner` keeps it alive until this device is done with it."""

    __slots__ = ("gpu", "owner")

    def __init__(self, gpu, pointer: int, size: int, owner):
        super().__init__(None, pointer, size)
        self.gpu, self.owner = gpu, owner

    def __del__(self):
        self.gpu.keep(self.owner, self.users)


class Pool:
    """The memory of one device, given out in blocks."""

    def __init__(self, gpu):
        self.gpu = gpu
        self.free: dict[int, list[tuple[int, list[int]]]] = collections.defaultdict(list)
        self.allocated = 0   # bytes from the driver

    @property
    def waiting(self) -> int:
        """Bytes that wait for reuse. Counted when asked for: blocks are freed in any thread, at any time."""
        return sum(size * len(blocks) for size, blocks in list(self.free.items()))

    def take(self, nbytes: int) -> Block:
        """A block of at least that many bytes, for use on the device's stream."""
        return self.take_size(rounded(nbytes)) if nbytes else Block(None, 0, 0)

    def take_size(self, size: int) -> Block:
        """A block of a size that `rounded` gave."""
        waiting = self.free[size]
        if waiting:
            pointer, users = waiting.pop()
            if users:
                for stream in users:
                    self.gpu.wait_for_stream(stream)
            return Block(self, pointer, size)
        pointer = self.gpu.with_memory(self.gpu.driver.allocate, size, self.gpu.stream)
        self.allocated += size
        return Block(self, pointer, size)

    def put(self, pointer: int, size: int, users: list[int]) -> None:
        """Makes a block free. Called when objects die, at any time in any thread: it calls nothing."""
        self.free[size].append((pointer, users))

    def give_back(self) -> None:
        """Gives all blocks that wait for reuse to the driver."""
        for size, blocks in list(self.free.items()):
            while blocks:
                pointer, users = blocks.pop()
                for stream in users:
                    self.gpu.wait_for_stream(stream)
                self.gpu.driver.free(pointer, self.gpu.stream)
                self.allocated -= size


class PinnedPool:
    """Page-locked host memory for copies. A block is taken, used by copies on the stream, and put back with an event."""

    def __init__(self, gpu):
        self.gpu = gpu
        self.free: dict[int, list[int]] = collections.defaultdict(list)
        self.busy: collections.deque[tuple[int, int, int]] = collections.deque()   # (event, pointer, size), oldest first
        self.allocated = 0

    def take(self, nbytes: int) -> tuple[int, int]:
        """(address, size) of a free block; waits for the oldest copy under way only when too much memory is pinned."""
        size = rounded(nbytes)
        self.collect()
        while not self.free[size] and self.busy and self.allocated + size > MOST_PINNED:
            self.gpu.driver.wait_for(self.busy[0][0])
            self.collect()
        if self.free[size]:
            return self.free[size].pop(), size
        if self.allocated + size > MOST_PINNED:
            self.give_back()
        self.allocated += size
        return self.gpu.driver.allocate_pinned(size), size

    def put(self, pointer: int, size: int) -> None:
        """Makes a block free once everything that is on the stream now is done."""
        event = self.gpu.take_event()
        self.gpu.driver.record(event, self.gpu.stream)
        self.busy.append((event, pointer, size))

    def put_at_once(self, pointer: int, size: int) -> None:
        """Makes a block free that no copy uses."""
        self.free[size].append(pointer)

    def collect(self) -> None:
        """Frees the blocks whose copies are done."""
        while self.busy and self.gpu.driver.is_done(self.busy[0][0]):
            event, pointer, size = self.busy.popleft()
            self.gpu.events.append(event)
            self.free[size].append(pointer)

    def give_back(self) -> None:
        """Gives free blocks back to the system."""
        self.collect()
        for size, pointers in self.free.items():
            while pointers:
                self.gpu.driver.free_pinned(pointers.pop())
                self.allocated -= size
