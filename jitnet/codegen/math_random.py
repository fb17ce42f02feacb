"""Random bits: the Threefry cipher as straight-line integer code, which vectorizes (see `ops.random.threefry`)."""
from jitnet.codegen.scalar import I32, I64, define
from jitnet.ops.random import PARITY, ROTATIONS


@define("threefry", "u64")
def threefry(key, counter):
    """64 bits of Threefry-2x32, 20 rounds; the low halves are the first words."""
    k = [key.to(I32), (key >> 32).to(I32)]
    k.append(k[0] ^ k[1] ^ PARITY)
    x, y = counter.to(I32) + k[0], (counter >> 32).to(I32) + k[1]
    for block in range(5):
        for r in ROTATIONS[block % 2]:
            x = x + y
            y = ((y << r) | (y >> (32 - r))) ^ x
        x, y = x + k[(block + 1) % 3], y + k[(block + 2) % 3] + (block + 1)
    return x.zext(I64) | (y.zext(I64) << 32)
