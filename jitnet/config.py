"""The environment variables that jitnet reads, in one table, and the settings they give.

A variable is read when its setting is first used, those of debugging at every compilation.

>>> from jitnet import config
>>> config.debug_level()
0
"""
from __future__ import annotations

import os
from collections.abc import Sequence

from .errors import TraceValueError

# name -> (value when it is not set, what it does); docs/environment.md is this table
VARIABLES: dict[str, tuple[str, str]] = {
    "JITNET_DEBUG": ("0", "what is written to standard error when a function is compiled: 1 a line with its time, "
                          "2 also `f.explain`, 3 also the kernels' source, 4 also the Graph after every pass"),
    "JITNET_CHECK": ("0", "1: the Graph is checked after tracing and after every pass; "
                           "a template that fails to compile is an error"),
    "JITNET_FULL_TRACEBACK": ("0", "1: tracebacks keep jitnet's own frames"),
    "JITNET_CACHE": ("1", "0: compiled kernels are not kept on disk, every process loads the compiler as it imports jitnet"),
    "JITNET_CACHE_DIR": ("", "folder of the compiled kernels; empty: `jitnet` in the user's cache folder"),
    "JITNET_CACHE_SIZE": ("536870912", "bytes of kernels kept on disk; the ones used longest ago go first"),
    "JITNET_COMPILE_PROCESSES": ("2", "1: kernels are compiled in this process alone, without a forked one beside it"),
    "JITNET_KEEP": ("0", "1: `jitnet.testing_nightly.check_kernels` keeps the kernels and results that it finds, "
                         "in place of others"),
    "JITNET_GPU_ATOMICS": ("0", "1: sums scattered over a GPU array are taken in any order, faster; their last bits vary"),
    "JITNET_NUM_THREADS": ("", "threads that kernels run on; empty: as many as this process may use"),
    "JITNET_THREADING": ("", "the thread pool: own, tbb, omp, workqueue or serial; empty: the first of these that is there"),
    "JITNET_POOL_BYTES": ("", "bytes of freed large results kept for the next ones; empty: 512 MB, or a sixteenth of a smaller "
                              "machine's memory"),
}


def value(name: str) -> str:
    """The variable's text, or its default."""
    return os.environ.get(name) or VARIABLES[name][0]


def number(name: str, default: int, least: int = 0) -> int:
    """The variable as a whole number from `least` up, the default when it is not set; TraceValueError for anything else."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise TraceValueError(f"{name} is {text!r}, which is no whole number" + (f" from {least} up" if least else ""),
                              f"leave it out, or set it to one: {name}={default}")
    return int(text)


def choice(name: str, options: Sequence[str]) -> str:
    """The variable, one of the options or "" when it is not set; TraceValueError for anything else."""
    text = os.environ.get(name, "")
    if text and text not in options:
        raise TraceValueError(f"{name} is {text!r}, which is none of {', '.join(options)}",
                              f"leave it out, or set it to one of them: {name}={options[0]}")
    return text


def switched_on(name: str) -> bool:
    """Whether a variable that is a switch is on."""
    return value(name).lower() not in ("0", "", "off", "false", "no")


def debug_level() -> int:
    """JITNET_DEBUG as a number; anything that is no number counts as 1."""
    text = value("JITNET_DEBUG")
    return int(text) if text.isdigit() else 1


def describe() -> str:
    """The table of variables with their values now, for people."""
    width = max(map(len, VARIABLES))
    rows = [(name, value(name) or "(not set)", text) for name, (_, text) in VARIABLES.items()]
    return "\n".join(f"{name:<{width}}  {now}\n{'':<{width}}  {text}" for name, now, text in rows)
