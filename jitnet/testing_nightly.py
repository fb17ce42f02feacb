"""Kernels of your own functions, kept from night to night: their text, their results and their times.

    check_kernels(f, x, y, file="kept/f.py")         AssertionError with the difference, where kernels or results have changed
    check_time(f, x, y, file="kept/times.jsonl")     AssertionError where f is slower than in earlier nights on such a machine
    times("kept/times.jsonl")                        the table of these nights

docs/nightly.md has a test file to start from.
"""
from __future__ import annotations

import datetime
import difflib
import json
import os
import pathlib
import re
import timeit
from collections.abc import Callable

import numpy as np

from . import config, tree
from .errors import TraceTypeError
from .runtime.array import block_until_ready
from .runtime.llvm import host
from .runtime.threads import get_num_threads
from .testing_compiled import TOLERANCE, assert_agree
from .text import Text, columns
from .types import BF16, F32

NIGHTS = 30   # as many earlier nights are compared with
ROUNDS = 3    # times that a slow function is measured before it is called slow


def _compiled(function: Callable, caller: str) -> str:
    """The name of a compiled function; TraceTypeError for any other."""
    name = getattr(function, "__name__", type(function).__name__)
    if not hasattr(function, "source"):
        raise TraceTypeError(f"{caller}: `{name}` is not a compiled function", f"pass `jitnet.jit({name})`")
    return name


def _copied(container):
    """The container with arrays of its own."""
    return tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, container)


# Text and results

def check_kernels(function: Callable, /, *args, file: str | os.PathLike, device: str | None = None,
                  tolerance: dict | None = None, **kwargs) -> None:
    """None when the kernels that a compiled function has for these arguments, and its results, are those that are kept.

    file: where its `source` is kept, beside the results (`.npz`). Its comments, which quote your lines, are not compared.
    device="cuda": the text of the GPU's kernels, on any machine. tolerance: dtype -> the largest difference, relative to the
    largest element of an array; by default 2e-4 for float32 and 1e-9 for float64, as another processor may add in another
    order, and none for integers.
    AssertionError with what differs, or where nothing was kept yet; JITNET_KEEP=1 keeps what is found and raises nothing.

    >>> import tempfile, numpy as np, jitnet
    >>> from jitnet.testing_nightly import check_kernels
    >>> double, file = jitnet.jit(lambda x: 2 * x), tempfile.mkdtemp() + "/double.py"
    >>> check_kernels(double, np.ones(3), file=file)
    Traceback (most recent call last):
    AssertionError: <lambda>: nothing was kept in ...double.py. It is now: look at it, and commit it with its .npz
    >>> check_kernels(double, np.ones(3), file=file)
    """
    name, path = _compiled(function, "check_kernels"), pathlib.Path(file)
    text = _without_line_numbers(function.source(*args, device=device, **kwargs))
    results = _results(function, args, kwargs)
    if config.switched_on("JITNET_KEEP") or not path.exists():
        missing = not path.exists()
        _keep(path, text, results)
        if missing and not config.switched_on("JITNET_KEEP"):
            raise AssertionError(f"{name}: nothing was kept in {path}. It is now: look at it, and commit it with its .npz")
        return
    kept_by, kept = path.read_text().split("\n", 1)
    changes = _difference(kept, text, path)
    found = _compared(results, path.with_suffix(".npz"), {**TOLERANCE, **(tolerance or {})})
    if changes or found:
        parts = [f"{name}: " + "; ".join(("its kernels have changed" if changes else "its kernels are those that are kept",
                                          found or "its results are those that are kept"))]
        raise AssertionError("\n".join([*parts, f"{kept_by.removeprefix('# ')}; this is {_versions()}", *changes,
                                        "if the change is meant, keep it: run with JITNET_KEEP=1"]))


def _versions() -> str:
    from . import __version__

    return f"jitnet {__version__}, NumPy {np.__version__}"


def _without_line_numbers(text: str) -> str:
    """A `source` whose comments name the user's files without the numbers of lines."""
    return re.sub(r"^(# \S+?):\d+(?=$|: )", r"\1", text, flags=re.MULTILINE)


def _results(function: Callable, args: tuple, kwargs: dict) -> dict[str, np.ndarray]:
    """The function's outputs, and of its arguments those that it wrote into, by names."""
    before = tree.leaves((args, kwargs))
    given_args, given_kwargs = _copied((args, kwargs))
    found = {f"output_{k}": np.asarray(leaf) for k, leaf in enumerate(tree.leaves(function(*given_args, **given_kwargs)))}
    for k, (old, new) in enumerate(zip(before, tree.leaves((given_args, given_kwargs)), strict=True)):
        if isinstance(old, np.ndarray) and old.tobytes() != new.tobytes():
            found[f"argument_{k}"] = new
    return found


def _keep(path: pathlib.Path, text: str, results: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# kept by {_versions()}\n{text}")
    known = {name: a.astype(F32) if a.dtype == BF16 else a for name, a in results.items()}   # NumPy's files know no bfloat16
    np.savez_compressed(path.with_suffix(".npz"), **known)


def _difference(kept: str, text: str, path: pathlib.Path) -> list[str]:
    """A unified diff, without the lines' ends; empty when the texts are equal but for the comments, which quote the user."""
    old, new = ([line for line in t.splitlines() if not line.startswith("#")] for t in (kept, text))
    if old == new:
        return []
    return list(difflib.unified_diff(kept.splitlines(), text.splitlines(), str(path), "now", lineterm="", n=2))


def _compared(results: dict[str, np.ndarray], path: pathlib.Path, tolerance: dict) -> str:
    """What differs between results and those that are kept; empty when nothing does."""
    with np.load(path) as kept:
        if set(kept.files) != set(results):
            return f"its results are {', '.join(sorted(results))}; kept are {', '.join(sorted(kept.files))}"
        for name, found in results.items():
            wanted = kept[name].astype(BF16) if found.dtype == BF16 else kept[name]
            try:
                assert_agree([found], [wanted], tolerance)
            except AssertionError as error:
                return f"{name}: " + str(error).removeprefix("output 0 ").replace("should be", "kept is")
    return ""


# Times

def check_time(function: Callable, /, *args, file: str | os.PathLike, name: str | None = None, slower: float = 1.5,
               seconds: float = 0.2, **kwargs) -> float:
    """The best of many calls of a compiled function, in seconds; a line of it is added to a file.

    AssertionError when it is `slower` times the best that the last 30 lines of that name on a machine like this one say: the
    same processor, the same number of threads. A call that seems slow is measured twice more before that, `seconds` each.

    >>> import tempfile, numpy as np, jitnet
    >>> from jitnet.testing_nightly import check_time
    >>> best = check_time(jitnet.jit(lambda x: x * 2), np.ones(3), file=tempfile.mkdtemp() + "/times.jsonl", name="double")
    """
    name = name or _compiled(function, "check_time")
    path, machine = pathlib.Path(file), f"{host()[1]}, {get_num_threads()} threads"
    earlier = [night for night in _nights(path) if (night["name"], night["machine"]) == (name, machine)][-NIGHTS:]
    fastest = min(earlier, key=lambda night: night["us"], default=None)
    bound = slower * fastest["us"] if fastest else np.inf
    best = np.inf
    for _ in range(ROUNDS):
        best = min(best, _best_seconds(function, args, kwargs, seconds) * 1e6)
        if best <= bound:
            break
    night = {"date": datetime.datetime.now().isoformat(timespec="minutes"), "name": name, "us": round(best, 3),
             "with": _versions(), "machine": machine}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lines:
        lines.write(json.dumps(night) + "\n")
    if best > bound:
        raise AssertionError(f"{name}: {best:.4g} us, {best / fastest['us']:.2g} times what it took on {fastest['date']} "
                             f"({fastest['us']:.4g} us with {fastest['with']}); this is {night['with']}, on {machine}")
    return best / 1e6


def _nights(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def _best_seconds(function: Callable, args: tuple, kwargs: dict, seconds: float) -> float:
    """The shortest of many calls with copies of the arguments, after one that compiles; of a GPU with the wait for it."""
    args, kwargs = _copied((args, kwargs))
    out = function(*args, **kwargs)
    on_gpu = any(getattr(getattr(leaf, "device", None), "kind", "cpu") == "gpu" for leaf in tree.leaves(out))
    call = (lambda: block_until_ready(function(*args, **kwargs))) if on_gpu else (lambda: function(*args, **kwargs))
    timer = timeit.Timer(call)
    once = min(timer.repeat(3, 1))
    number = max(1, int(100e-6 / max(once, 1e-7)))
    return min(timer.repeat(max(3, int(seconds / (once * number))), number)) / number


def times(file: str | os.PathLike) -> Text:
    """The nights of a file as a table: per function and machine how many, the best, the last one and their ratio."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for night in _nights(pathlib.Path(file)):
        groups.setdefault((night["name"], night["machine"]), []).append(night)
    rows = [("function", "nights", "best us", "last us", "ratio", "last with", "machine")]
    for (name, machine), nights in sorted(groups.items()):
        best, last = min(night["us"] for night in nights), nights[-1]
        rows.append((name, str(len(nights)), f"{best:.4g}", f"{last['us']:.4g}", f"{last['us'] / best:.2f}", last["with"],
                     machine))
    return Text("\n".join(columns(rows, right=(1, 2, 3, 4))))
