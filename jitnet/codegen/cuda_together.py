"""Several uses of one GPU kernel in one launch: the updates of an optimizer, the parts of a stack.

    def kernel(x0_0: "f32*", out0_0: "f32*", x0_1: "f32*", out0_1: "f32*", n0_0: "i64", n0_1: "i64", until_0: "i64", ...):
        block = block_x()
        x0 = either_(block < until_0, x0_0, x0_1)
        ...

The blocks before `until_0` do the first use, those before `until_1` the second. Each does what it would do in a launch of its
own, so the bits are the same.
"""
from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from .cuda_names import parameters

MOST_USES = 16         # in one launch: every thread picks its parameters among those of all
MOST_PARAMETERS = 240  # of one launch; a driver takes 4 kB


@functools.lru_cache(maxsize=256)
def together(source: str, count: int) -> str:
    """The source of that many uses of a kernel: the buffers of one use after the other, the numbers of one use after the
    other, then for each use the number of the block that begins the next one."""
    given = parameters(source)
    buffers, numbers = ([p for p in given if p[1].endswith("*") is wanted] for wanted in (True, False))
    header = [f'{name}_{k}: "{kind}"' for some in (buffers, numbers) for k in range(count) for name, kind in some]
    header += [f'until_{k}: "i64"' for k in range(count)]
    lines = [f"def kernel({', '.join(header)}):", "    block = block_x()"]
    lines += [f"    {name} = {chosen([f'{name}_{k}' for k in range(count)])}" for name, _ in given]
    lines.append(f"    since = {chosen(['0', *(f'until_{k}' for k in range(count - 1))])}")
    lines.append(f"    blocks = {chosen([f'until_{k}' for k in range(count)])} - since")
    lines.append("    block -= since")
    return "\n".join(lines) + "\n" + re.sub(r"\bblock(s?)_x\(\)", r"block\1", source.split("\n", 1)[1])


def chosen(values: Sequence[str]) -> str:
    """The expression for what a block has of these, one of each use."""
    text = values[-1]
    for k, value in reversed(list(enumerate(values[:-1]))):
        text = f"either_(block < until_{k}, {value}, {text})"
    return text
