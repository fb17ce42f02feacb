"""Kernels, each compiled once: in memory, else from disk, else by Numba and LLVM.

On disk an entry is one object file behind a checksum, named by the hash of everything that could change it: source,
compiler sources, library versions, CPU. A damaged or truncated file is a miss. Files are written under another name and
moved into place, so any number of processes may share a folder. `JITNET_CACHE_DIR` names the folder, `JITNET_CACHE=0`
switches it off, `JITNET_CACHE_SIZE` bounds it in bytes (512 MB): the files used longest ago go first.
"""
from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from .. import config
from ..collector import count_as_old
from ..errors import user_source
from . import forks, llvm, parallel_compile

MAGIC = b"jitnet object 1\n"
DEFAULT_BOUND = 512 << 20
TOUCH_AFTER = 3600.0  # seconds: a file read again is marked as used at most this often
# Modules of codegen that write source text, build steps or say what a source means in Python: none of them decides what comes
# of a given source (tests/runtime/test_cache.py looks at what imports what).
WRITERS = {"affine", "loops", "nest", "writer", "cpu", "cpu_map", "cpu_reduce", "cpu_tiles", "streaming", "spans", "in_place",
           "epilogues", "intrinsics", "steps", "control_steps", "matmul_steps", "running_steps", "gpu_steps",
           "cuda", "cuda_keep", "cuda_launch", "cuda_map", "cuda_planes", "cuda_reduce", "cuda_rows", "cuda_scatter",
           "cuda_simulator", "cuda_together", "cuda_writer", "signs"}
COMPILERS = ("frontend.py", "lower.py", "llvm.py", "cuda_compile.py")   # modules of runtime that decide what comes of a source
SWEEP_EVERY = 64  # writes of one process between two looks at the size of the folder


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A native function `void kernel(void** buffers, int64_t* sizes, int64_t start, int64_t stop)`."""
    source: str
    key: str
    address: int
    keep: object = dataclasses.field(repr=False, default=None)


@dataclasses.dataclass(frozen=True)
class Info:
    """Counts since the start or the last `clear()`; `bytes` is what the folder holds now."""
    hits: int
    misses: int
    compiles: int
    disk_hits: int
    bytes: int
    dir: str | None

    def __getitem__(self, name: str):
        return getattr(self, name)

    def keys(self):
        return [field.name for field in dataclasses.fields(self)]


class _Counts:
    def __init__(self):
        self.hits = self.misses = self.compiles = self.disk_hits = 0


_memory: dict[str, Kernel] = {}
# Objects by key that will be asked for: how to build them, who builds them, what was built.
_pending: dict[str, Callable[[], bytes]] = {}
_ahead: dict[str, parallel_compile.Child] = {}
_built: dict[str, bytes] = {}
_compiling = forks.waited_for(threading.RLock())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: globals().update(_ahead={}))   # they are the parent's children
_counts = _Counts()
_writes = 0
_warned: set[str] = set()


class LazyKernel:
    """A kernel by its source, compiled or loaded by `find` when its address is first asked for."""

    __slots__ = ("_find", "_kernel", "key", "source")

    def __init__(self, source: str, key: str = "", find: Callable[[], Kernel] | None = None):
        self.source, self.key, self._kernel = source, key, None
        self._find = find or functools.partial(get_kernel, source)

    @property
    def address(self) -> int:
        if self._kernel is None:
            self._kernel = self._find()
        return self._kernel.address


def get_kernel(source: str) -> Kernel:
    """The native kernel of a generated source; compiles it when neither memory nor disk holds it."""
    kernel = _memory.get(source)
    if kernel is not None:
        _counts.hits += 1
        return kernel
    with _compiling:
        kernel = _memory.get(source)
        if kernel is None:
            _counts.misses += 1
            kernel = _memory[source] = _load_or_compile(source)
        else:
            _counts.hits += 1
    return kernel


def get_kernels(sources: Iterable[str]) -> list[Kernel]:
    """The native kernels of several sources, in order; those that must be compiled are compiled on two cores."""
    sources = list(sources)
    with _compiling:
        build_ahead()   # Numba's import takes about as long as what is built meanwhile
        missing = [s for s in dict.fromkeys(sources) if s not in _memory and not is_kept(object_key(s))]
        missing.sort(key=lambda source: source.count("\n"), reverse=True)
        if sum(s.count("\n") for s in missing[1:]) >= parallel_compile.LEAST and parallel_compile.can_fork():
            from . import frontend
            frontend.prepare()
            jobs = [(object_key(s), functools.partial(_compile, s)) for s in missing]
            _built.update(parallel_compile.build_together(jobs))
        kernels = [get_kernel(source) for source in sources]
        if missing:
            count_as_old()   # what Numba and LLVM's bindings made
        return kernels


def _compile(source: str) -> bytes:
    """The object of a kernel."""
    from ..codegen.numba_scope import NUMBA_SCOPE
    from . import frontend
    return llvm.emit_object(frontend.lower_kernel(source, "jitnet_" + object_key(source)[:32], NUMBA_SCOPE))


def _load_or_compile(source: str) -> Kernel:
    key = object_key(source)
    symbol = "jitnet_" + key[:32]
    loaded = get_object(key, (symbol,), functools.partial(_compile, source))
    return Kernel(source, key, loaded.address[symbol], loaded)


def get_object(key: str, symbols: tuple[str, ...], build) -> llvm.LoadedObject:
    """The loaded object of this key: from disk, or what `build()` returns, which then goes to disk."""
    image = _read(key)
    if image is not None:
        try:
            loaded = llvm.LoadedObject(image, symbols)
        except RuntimeError:  # a sound file that does not link: made by something else than this code
            image = None
        else:
            _counts.disk_hits += 1
            return loaded
    image = _take(key) or build()
    _counts.compiles += 1
    loaded = llvm.LoadedObject(image, symbols)
    _write(key, image)
    return loaded


def announce(key: str, build: Callable[[], bytes]) -> None:
    """Says that `get_object` will be asked for this object soon: `build_ahead` will build it."""
    if key not in _ahead and key not in _built and not is_kept(key):
        _pending[key] = build


def build_ahead() -> None:
    """Has a child build, beside this process, all objects that were announced."""
    with _compiling:
        if _pending and parallel_compile.can_fork():
            child = parallel_compile.start(list(_pending.items()))
            if child is not None:
                _ahead.update(dict.fromkeys(_pending, child))
                _pending.clear()


def _take(key: str) -> bytes | None:
    """The object of this key if it was built ahead."""
    with _compiling:
        _pending.pop(key, None)
        child = _ahead.pop(key, None)
        if child is not None and key not in _built:
            _built.update(child.collect(key))
        if child is not None and child not in _ahead.values():
            child.give_up()   # nothing more is asked of it
        return _built.pop(key, None)


def give_up() -> None:
    """Ends the children that build ahead; what they would have built is built when it is asked for."""
    for child in set(_ahead.values()):
        child.give_up()
    _ahead.clear()


def get_image(key: str, build) -> bytes:
    """The bytes kept under this key: from disk, or what `build()` returns, which then goes to disk."""
    image = _read(key)
    if image is None:
        image = build()
        _counts.compiles += 1
        _write(key, image)
    else:
        _counts.disk_hits += 1
    return image


def forget(key: str) -> None:
    """Removes what is kept on disk under a key."""
    path = _path(key)
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()


def object_key(source: str) -> str:
    """The name under which the object of this source is kept."""
    return hashlib.sha256(f"{_surroundings()}\n{source}".encode()).hexdigest()


@functools.cache
def _surroundings() -> str:
    """What decides the object besides the source: compiler sources and flags, library versions, CPU."""
    import llvmlite
    digest = hashlib.sha256()
    package = os.path.dirname(os.path.dirname(__file__))
    codegen = os.path.join(package, "codegen")
    meaning = [os.path.join(codegen, name) for name in os.listdir(codegen)
               if name.endswith(".py") and name.removesuffix(".py") not in WRITERS]
    for path in [*sorted(meaning), *(os.path.join(package, "runtime", name) for name in COMPILERS)]:
        with open(path, "rb") as f:
            digest.update(f.read())
    # Numba's version without importing it, which would cost more than loading a hundred kernels.
    numba = importlib.util.find_spec("numba")
    version_file = Path(numba.origin).parent / "_version.py"
    digest.update(version_file.read_bytes())
    version = getattr(sys.modules["jitnet"], "__version__", "")
    return "|".join([version, digest.hexdigest(), llvmlite.__version__, np.__version__, sys.version.split()[0],
                     str(sys.maxsize), *llvm.host()])


# Disk


@functools.cache
def _folder(setting: str | None, enabled: str) -> Path | None:
    if enabled in ("0", "off", "false", "no"):
        return None
    if setting:
        return Path(setting)
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return Path(base) / "jitnet"


def folder() -> Path | None:
    """The folder in use, or None when the disk cache is switched off. Read from the environment at each use."""
    return _folder(os.environ.get("JITNET_CACHE_DIR"), os.environ.get("JITNET_CACHE", "1").lower())


def _path(key: str) -> Path | None:
    base = folder()
    return base and base / key[:2] / f"{key}.o"


def is_kept(key: str) -> bool:
    """Whether there is a file under this key on disk."""
    path = _path(key)
    return path is not None and path.exists()


def _read(key: str) -> bytes | None:
    path = _path(key)
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + 32
    image = data[start:]
    if data[:len(MAGIC)] != MAGIC or hashlib.sha256(image).digest() != data[len(MAGIC):start]:
        return None
    with contextlib.suppress(OSError):  # a folder that is read-only still serves
        if time.time() - path.stat().st_mtime > TOUCH_AFTER:
            os.utime(path)
    return image


def _write(key: str, image: bytes) -> None:
    global _writes
    path = _path(key)
    if path is None:
        return
    temporary = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(MAGIC + hashlib.sha256(image).digest() + image)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if str(folder()) not in _warned:
            _warned.add(str(folder()))
            line = user_source()
            warnings.warn_explicit(f"jitnet keeps compiled kernels in memory only: {folder()} cannot be written "
                                   f"({error.strerror}); set JITNET_CACHE_DIR to a folder that can", RuntimeWarning,
                                   line.file if line else __file__, line.line if line else 1)
        return
    if _writes % SWEEP_EVERY == 0:
        _sweep(path.parent.parent)
    _writes += 1


def _files(base: Path) -> list[tuple[float, int, Path]]:
    """(time of last use, bytes, path) of every file of the cache that is still there."""
    found = []
    for path in [*base.glob("??/*.o"), *base.glob("??/*.tmp")]:
        with contextlib.suppress(OSError):  # another process may have removed it
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found


def _sweep(base: Path) -> None:
    """Keeps the folder within its bound: what was used longest ago goes, and what a killed process left behind."""
    bound = config.number("JITNET_CACHE_SIZE", DEFAULT_BOUND)
    files = sorted(_files(base))
    total = sum(size for _, size, _ in files)
    target = total if total <= bound else 0.9 * bound  # some room, so that not every write sweeps
    abandoned = time.time() - 3600
    for used, size, path in files:
        if total > target or (path.suffix == ".tmp" and used < abandoned):
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size


def info() -> Info:
    """Hits, misses, compiles, disk hits, bytes on disk and the folder."""
    base = folder()
    size = sum(size for _, size, _ in _files(base)) if base else 0
    return Info(_counts.hits, _counts.misses, _counts.compiles, _counts.disk_hits, size, str(base) if base else None)


def clear() -> None:
    """Forgets all kernels in memory and on disk, and gives pooled memory back. What runs keeps its kernels."""
    global _counts
    with _compiling:
        _memory.clear()
        _counts = _Counts()
        base = folder()
        if base is not None:
            for _, _, path in _files(base):
                with contextlib.suppress(OSError):
                    path.unlink()
    from . import native
    native.release_memory()
