"""Kernels come from memory, disk or the compiler; the disk may lie, be full of old files, or be read-only."""
import ast
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from jitnet.runtime import cache, frontend, llvm

ROOT = Path(__file__).parents[2]


def source(constant):
    return textwrap.dedent(f"""\
        def kernel(buffers, sizes, start, stop):
            x = buffer_f32(buffers, 0)
            for i in range(start, stop):
                x[i] = x[i] * f32({constant})
        """)


def run(kernel, values):
    import ctypes
    array = np.array(values, np.float32)
    buffers = (ctypes.c_void_p * 1)(array.ctypes.data)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(kernel.address)
    call(ctypes.addressof(buffers), None, 0, len(array))
    return array.tolist()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty cache folder, and nothing in memory."""
    monkeypatch.setenv("JITNET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_memory", {})
    monkeypatch.setattr(cache, "_counts", cache._Counts())
    monkeypatch.setattr(cache, "_writes", 0)
    return tmp_path


def files(folder):
    return sorted(folder.glob("??/*.o"))


def imported(path):
    """The modules of codegen that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(ROOT).parts[:-node.level]) + "." if node.level else ""
            module = (package + (node.module or "")).rstrip(".")
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
            yield from (name.removeprefix("jitnet.codegen.") for name in names if name.startswith("jitnet.codegen."))


def test_the_key_of_an_object_holds_every_module_that_decides_what_comes_of_a_source_and_no_other():
    codegen = ROOT / "jitnet/codegen"
    modules = {path.stem for path in codegen.glob("*.py")} - {"__init__"}
    found, todo = set(), {"numba_scope"}
    for name in cache.COMPILERS:
        todo.update(imported(ROOT / "jitnet/runtime" / name))
    while todo:
        name = todo.pop()
        if name in modules - found:
            found.add(name)
            todo.update(imported(codegen / f"{name}.py"))
    assert {"builtin", "scalar", "math_exp", "rare", "cuda_scope", "cuda_names"} <= found
    assert modules - found == cache.WRITERS


def test_kernel_is_compiled_once_then_found_in_memory_then_on_disk(fresh):
    kernel = cache.get_kernel(source(2))
    assert run(kernel, [1, 2]) == [2, 4]
    assert cache.get_kernel(source(2)) is kernel
    info = cache.info()
    assert (info.compiles, info.hits, info.misses, info.disk_hits) == (1, 1, 1, 0)
    assert info["dir"] == str(fresh) and dict(info)["bytes"] == sum(f.stat().st_size for f in files(fresh)) > 500
    cache._memory.clear()
    assert run(cache.get_kernel(source(2)), [3]) == [6]
    assert cache.info().compiles == 1 and cache.info().disk_hits == 1


def test_several_kernels_come_in_order(fresh):
    kernels = cache.get_kernels([source(c) for c in (2, 3, 2)])
    assert [run(k, [1]) for k in kernels] == [[2], [3], [2]]
    assert cache.info().compiles == 2


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-5], lambda data: data[:200] + b"\0" + data[201:],
                                    lambda data: b"not a cache file at all", lambda data: data + b"x"])
def test_damaged_file_is_rebuilt_silently(fresh, damage):
    cache.get_kernel(source(2))
    [path] = files(fresh)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    cache._memory.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(cache.get_kernel(source(2)), [1]) == [2]
    assert cache.info().compiles == 2
    assert path.read_bytes() == good


def test_sound_file_that_does_not_link_is_rebuilt(fresh):
    kernel = cache.get_kernel(source(2))
    cache._write(kernel.key, b"no object file")
    cache._memory.clear()
    assert run(cache.get_kernel(source(2)), [1]) == [2]
    assert cache.info().compiles == 2


def test_key_depends_on_source_and_on_what_compiles_it(monkeypatch):
    key = cache.object_key("a")
    assert cache.object_key("b") != key
    monkeypatch.setattr(cache, "_surroundings", lambda: "another CPU")
    assert cache.object_key("a") != key


def test_surroundings_name_versions_and_cpu():
    import llvmlite
    text = cache._surroundings()
    for part in (np.__version__, llvmlite.__version__, *llvm.host()):
        assert part in text


def test_folder_stays_within_its_bound_and_drops_the_oldest(fresh, monkeypatch):
    monkeypatch.setattr(cache, "SWEEP_EVERY", 1)
    for age, constant in enumerate((2, 3, 4)):
        cache.get_kernel(source(constant))
        used = time.time() - 1000 * (3 - age)
        os.utime(cache._path(cache.object_key(source(constant))), (used, used))
    size = cache.info().bytes
    monkeypatch.setenv("JITNET_CACHE_SIZE", str(size + 100))
    cache.get_kernel(source(5))
    assert cache.info().bytes <= size
    kept = [c for c in (2, 3, 4, 5) if cache._path(cache.object_key(source(c))).exists()]
    assert kept in ([3, 4, 5], [4, 5])


def test_use_marks_a_file_as_used(fresh):
    path = cache._path(cache.get_kernel(source(2)).key)
    os.utime(path, (1, 1))
    cache._memory.clear()
    cache.get_kernel(source(2))
    assert path.stat().st_mtime > time.time() - 100


def test_leftovers_of_killed_processes_go(fresh, monkeypatch):
    cache.get_kernel(source(2))
    leftover = files(fresh)[0].with_suffix(".123.4.tmp")
    leftover.write_bytes(b"x")
    os.utime(leftover, (1, 1))
    monkeypatch.setattr(cache, "SWEEP_EVERY", 1)
    cache.get_kernel(source(3))
    assert not leftover.exists() and len(files(fresh)) == 2


def test_folder_that_cannot_be_written_warns_once_and_goes_on(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("JITNET_CACHE_DIR", str(blocked))
    monkeypatch.setattr(cache, "_memory", {})
    with pytest.warns(RuntimeWarning, match="in memory only") as caught:
        assert run(cache.get_kernel(source(2)), [1]) == [2]
        assert run(cache.get_kernel(source(3)), [1]) == [3]
    assert len(caught) == 1 and str(blocked) in str(caught[0].message) and caught[0].filename == __file__


def test_switched_off(fresh, monkeypatch):
    monkeypatch.setenv("JITNET_CACHE", "0")
    assert run(cache.get_kernel(source(2)), [1]) == [2]
    assert files(fresh) == [] and cache.info().dir is None and cache.info().bytes == 0


def test_clear_empties_memory_and_disk_but_kernels_in_use_live(fresh):
    kernel = cache.get_kernel(source(2))
    cache.clear()
    assert files(fresh) == [] and cache.info().misses == 0
    assert run(kernel, [4]) == [8]
    assert cache.get_kernel(source(2)) is not kernel


def test_threads_that_want_one_kernel_compile_it_once(fresh):
    kernels, barrier = [], threading.Barrier(4)

    def work():
        barrier.wait()
        kernels.append(cache.get_kernel(source(7)))
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kernels) == 4 and len(set(map(id, kernels))) == 1 and cache.info().compiles == 1


WORKER = """
import sys
from jitnet.runtime import cache, native
native.address("jitnet_run")
sources = {sources!r}
for text in sources:
    cache.get_kernel(text)
print(cache.info().compiles, "numba" in sys.modules)
"""


def start(folder, sources):
    code = WORKER.format(sources=sources)
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "JITNET_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)})


def test_processes_share_a_folder_and_a_warm_one_never_imports_numba(tmp_path):
    sources = [source(c) for c in (2, 3)]
    both = [start(tmp_path, sources), start(tmp_path, list(reversed(sources)))]
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and int(out.split()[0]) in (0, 1, 2, 3)
    assert len(files(tmp_path)) == 3 and not list(tmp_path.glob("??/*.tmp"))
    warm = start(tmp_path, sources)
    assert warm.communicate(timeout=60)[0].split() == ["0", "False"]


def test_source_that_does_not_compile_raises_and_leaves_nothing(fresh):
    from numba.core.errors import TypingError
    with pytest.raises(TypingError):
        cache.get_kernel(source("no_such_name"))
    assert files(fresh) == [] and source("no_such_name") not in cache._memory


def test_kernels_vectorize_without_unsafe_flags(fresh):
    from jitnet.codegen.numba_scope import NUMBA_SCOPE
    [text] = frontend.lower_kernel(source(2), "probe", NUMBA_SCOPE)
    assert "fmul contract" in text
    assert not any(flag in text for flag in ("fast ", "nnan", "ninf", "afn"))
    assert "define void @\"probe\"" in text


def test_numba_logs_nothing_under_a_root_logger_at_debug(caplog):
    """Programs set it for lines of their own; Numba's are hundreds for each kernel."""
    import logging
    with caplog.at_level(logging.DEBUG):
        assert frontend.lower_kernel(source(3), "quiet", cache_scope())
        assert not caplog.records
    with caplog.at_level(logging.DEBUG, logger="numba"):
        frontend.lower_kernel(source(3), "loud", cache_scope())
        assert caplog.records
    assert logging.getLogger("numba").level == logging.NOTSET


def cache_scope():
    from jitnet.codegen.numba_scope import NUMBA_SCOPE
    return NUMBA_SCOPE
