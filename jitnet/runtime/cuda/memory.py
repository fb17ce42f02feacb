"""Memory of a GPU, and page-locked memory of the host that is copied to and from it.

Everything that jitnet does on a device stands on one stream, so a block is free for the next use as soon as Python lets go of
it: what is enqueued later comes later. Blocks come from the driver's stream-ordered pool and wait here, by size, for reuse.
A block of host memory is free again when the copy that used it is done, which an event tells.
"""
from __future__ import annotations

import collections
import itertools
import weakref

GRANULE = 512
MOST_PLACES = 4           # blocks that are one seat's own
MOST_LOOKED_AT = 32       # free blocks, when one for a seat is sought
SMALL = 64 << 10          # bytes of blocks of which every seat may have two
MOST_PINNED = 256 << 20   # bytes of host memory that may be pinned for copies under way


def rounded(nbytes: int) -> int:
    """The size of the block for that many bytes: at most an eighth is lost, so that blocks of like sizes serve one another."""
    step = GRANULE
    while nbytes > 16 * step:
        step *= 2
    return max(GRANULE, -(-nbytes // step) * step)


class Block:
    """Device memory that goes back to its pool when nobody refers to it. `pointer` is 0 for no bytes.

    home: the free blocks of its size, pointer -> users. users: other streams that may be using it, for which the next use
    waits; None as long as there are none.
    """

    __slots__ = ("__weakref__", "home", "pointer", "users")
    read_only = False

    def __init__(self, home: dict[int, list[int] | None], pointer: int):
        self.home, self.pointer, self.users = home, pointer, None

    def __del__(self):   # at any time, in any thread: it calls nothing
        self.home[self.pointer] = self.users

    def lend(self, stream: int) -> None:
        """Remembers that a stream may be using it: it is used again only after what is on that stream then."""
        if self.users is None:
            self.users = [stream]
        elif stream not in self.users:
            self.users.append(stream)


class Foreign(Block):
    """Device memory of another library; `owner` keeps it alive until this device is done with it. It may be read-only."""

    __slots__ = ("gpu", "owner", "read_only")

    def __init__(self, gpu, pointer: int, owner, read_only: bool):
        super().__init__({}, pointer)
        self.gpu, self.owner, self.read_only = gpu, owner, read_only

    def __del__(self):
        self.gpu.keep(self.owner, self.users or ())


class Seat:
    """Something that needs a block of one size again and again, such as an output of a program, and blocks that are its own.

    It gets the first of these that is free. So the addresses of a steady loop recur after two rounds, in whatever order
    blocks come back, and the graphs that hold them are launched again. A block is one seat's at most; others use it meanwhile.
    """

    __slots__ = ("__weakref__", "places", "size")

    def __init__(self, size: int):
        self.size = size
        self.places: list[int] = []


class Pool:
    """The memory of one device, given out in blocks."""

    def __init__(self, gpu):
        self.gpu = gpu
        self.free: dict[int, dict[int, list[int] | None]] = collections.defaultdict(dict)   # size -> pointer -> users
        self.seats: dict[int, Seat] = {}   # size -> that of what comes from the host
        self.owners: weakref.WeakValueDictionary[int, Seat] = weakref.WeakValueDictionary()   # pointer -> whose own it is
        self.allocated = 0   # bytes from the driver

    @property
    def waiting(self) -> int:
        """Bytes that wait for reuse. Counted when asked for: blocks are freed in any thread, at any time."""
        return sum(size * len(blocks) for size, blocks in list(self.free.items()))

    def take(self, nbytes: int) -> Block:
        """A block of at least that many bytes, for use on the device's stream."""
        return self.take_size(rounded(nbytes)) if nbytes else Block({}, 0)

    def take_size(self, size: int) -> Block:
        """A block of a size that `rounded` gave."""
        free = self.free[size]
        if free:
            return self.taken(free, *free.popitem())
        return self.new_block(size)

    def new_block(self, size: int) -> Block:
        """A block from the driver."""
        pointer = self.gpu.with_memory(self.gpu.driver.allocate, size, self.gpu.stream)
        self.allocated += size
        return Block(self.free[size], pointer)

    def taken(self, free: dict, pointer: int, users: list[int] | None) -> Block:
        """A block that was free, for which the stream waits as long as others use it."""
        block = Block(free, pointer)
        if users is not None:
            block.users = users   # should the waiting fail, it goes back as it was
            for stream in users:
                self.gpu.wait_for_stream(stream)
            block.users = None
        return block

    def take_at(self, seat: Seat) -> Block:
        """A block for a seat."""
        free = self.free[seat.size]
        for pointer in seat.places:
            if pointer in free:
                users = free.pop(pointer)
                return Block(free, pointer) if users is None else self.taken(free, pointer, users)
        pointer = self.pointer_for(seat, free)
        block = self.new_block(seat.size) if pointer is None else self.taken(free, pointer, free.pop(pointer))
        self.give(seat, block.pointer)
        return block

    def pointer_for(self, seat: Seat, free: dict) -> int | None:
        """A free block for a seat of which no own one is free: nobody's, or of the seat that has the most. None: a new one
        is better. Two blocks that are small stay with their seat, or results that are kept would take them away one by one.
        """
        best, most = None, 2 if seat.size <= SMALL else 0
        for pointer in list(itertools.islice(reversed(free), MOST_LOOKED_AT)):   # blocks may die meanwhile
            owner = self.owners.get(pointer)
            if owner is None:
                return pointer
            if len(owner.places) > most:
                best, most = pointer, len(owner.places)
        return best

    def give(self, seat: Seat, pointer: int) -> None:
        """Makes a block a seat's own."""
        owner = self.owners.get(pointer)
        if owner is not None:
            owner.places.remove(pointer)
        if len(seat.places) == MOST_PLACES:
            self.owners.pop(seat.places.pop(0), None)
        seat.places.append(pointer)
        self.owners[pointer] = seat

    def take_for_host(self, nbytes: int) -> Block:
        """A block of at least that many bytes for what comes from the host."""
        if not nbytes:
            return Block({}, 0)
        size = rounded(nbytes)
        return self.take_at(self.seats.get(size) or self.seats.setdefault(size, Seat(size)))

    def give_back(self) -> None:
        """Gives all blocks that wait for reuse to the driver."""
        for size, blocks in list(self.free.items()):
            while blocks:
                pointer, users = blocks.popitem()
                for stream in users or ():
                    self.gpu.wait_for_stream(stream)
                self.gpu.driver.free(pointer, self.gpu.stream)
                self.allocated -= size
                owner = self.owners.pop(pointer, None)
                if owner is not None:
                    owner.places.remove(pointer)


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
