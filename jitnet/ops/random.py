"""Random bits from a key and a counter: no state, so a kernel makes them where they are used, in any order."""
from __future__ import annotations

import numpy as np

from ..errors import TraceTypeError
from ..op_kinds import elementwise

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
U64 = np.dtype(np.uint64)


def _dtypes(dtypes):
    if any(d not in (int, U64) for d in dtypes):
        raise TraceTypeError("threefry: key and counter are uint64", "convert them first: `x.astype(np.uint64)`")
    return [U64, U64], U64


@elementwise("threefry_({key}, {counter})", dtypes=_dtypes, cheap=False)
def threefry(key, counter):
    """64 random bits for each key and counter (uint64): the Threefry-2x32 block cipher with 20 rounds.

    The low halves of key, counter and result are the first words of the cipher. Source: Salmon, Moraes, Dror and Shaw,
    "Parallel random numbers: as easy as 1, 2, 3", SC 2011. No derivative: the result is an integer.
    """
    key, counter = np.asarray(key, U64), np.asarray(counter, U64)
    low = lambda x: x.astype(np.uint32)
    k = [low(key), low(key >> np.uint64(32))]
    k.append(k[0] ^ k[1] ^ np.uint32(PARITY))
    with np.errstate(over="ignore"):
        x, y = low(counter) + k[0], low(counter >> np.uint64(32)) + k[1]
        for block in range(5):
            for r in ROTATIONS[block % 2]:
                x = x + y
                y = (y << np.uint32(r) | y >> np.uint32(32 - r)) ^ x
            x, y = x + k[(block + 1) % 3], y + k[(block + 2) % 3] + np.uint32(block + 1)
    return x.astype(U64) | y.astype(U64) << np.uint64(32)
