"""Large blocks: aligned, reused, bounded, given back; as outputs they are ordinary arrays."""
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

from jitnet.runtime import layout, native
from jitnet.runtime.entry import Entry

ROOT = Path(__file__).parents[2]


def fallback(*args):
    return None


def test_large_outputs_are_aligned_reused_and_ordinary(add_program):
    n = 1 << 20
    e = Entry(fallback)
    e.add(add_program((n,)), single_output=True)
    x = np.ones(n, np.float32)
    out = e.call(x, x)
    assert out.ctypes.data % 64 == 0 and out.flags.owndata and out.base is None
    address = out.ctypes.data
    view = out[5:]
    del out
    assert e.call(x, x).ctypes.data != address  # a view still uses the memory
    del view
    again = e.call(x, x)
    assert again.tolist()[:2] == [2, 2]
    again.resize(n + 10, refcheck=False)
    assert again[:n].min() == 2 and again[n:].tolist() == [0] * 10
    again.resize(5, refcheck=False)
    assert again.tolist() == [2] * 5
    assert pickle.loads(pickle.dumps(e.call(x, x)))[-1] == 2
    assert np.concatenate([e.call(x, x), x]).sum() == 3 * n
    native.release_memory()
    assert native.held_bytes() == 0


def test_pool_is_bounded():
    api = native.api()
    allocate, free = native.function("jitnet_allocate"), native.function("jitnet_free")
    native.release_memory()
    bound = int(api.words[layout.HELD_BOUND])
    api.words[layout.HELD_BOUND] = 10 << 20
    try:
        blocks = [allocate(api.address, 3 << 20) for _ in range(5)]
        assert len(set(blocks)) == 5 and all(b % 64 == 0 for b in blocks)
        for block in blocks:
            free(api.address, block)
        assert native.held_bytes() == 9 << 20  # the oldest two went
        assert allocate(api.address, 3 << 20) == blocks[2]
        free(api.address, blocks[2])
        large = allocate(api.address, 20 << 20)  # never held: larger than the bound
        free(api.address, large)
        assert native.held_bytes() == 9 << 20
    finally:
        api.words[layout.HELD_BOUND] = bound
        native.release_memory()
    assert native.held_bytes() == 0


def test_pool_holds_a_limited_number_of_blocks():
    api = native.api()
    allocate, free = native.function("jitnet_allocate"), native.function("jitnet_free")
    native.release_memory()
    blocks = [allocate(api.address, layout.POOLED_FROM) for _ in range(layout.HELD_MAX + 3)]
    for block in blocks:
        free(api.address, block)
    assert native.held_bytes() == layout.HELD_MAX * layout.POOLED_FROM
    native.release_memory()
    assert native.held_bytes() == 0


def test_outputs_that_outlive_the_interpreter():
    code = """
import builtins, types
import numpy as np
from jitnet.runtime import cache
from jitnet.runtime.entry import Entry
from jitnet.runtime.program import KernelStep, Program, Slot
source = "def kernel(buffers, sizes, start, stop):\\n    p = buffer_f32(buffers, 0)\\n    for i in range(start, stop):\\n"
source += "        p[i] = f32(i)\\n"
kept = []
for n in (5, 5000, 2_000_000):
    t = types.SimpleNamespace(shape=(n,), dtype=np.dtype("f4"))
    e = Entry(None)
    e.add(Program([KernelStep(cache.get_kernel(source), (Slot("output", 0),), (), n)], [], [t]), single_output=True)
    kept += [e.call(), e.call, e]
builtins.kept = kept
kept.append(kept)
print(int(kept[6][-1]))
"""
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
                             env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (process.returncode, process.stdout, process.stderr) == (0, "1999999\n", "")
