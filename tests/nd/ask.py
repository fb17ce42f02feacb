"""Runs expressions in one library and writes what came of each: `python ask.py mxnet|jitnet GROUP OUTPUT.npz`."""
import importlib
import sys

import calls
import numpy as np


def results(library, group):
    """Number of the call, then of the part of its result -> array, or the text "error"."""
    if library == "mxnet":
        np.bool = bool  # MXNet 1.9.1 still asks for it
    mx = importlib.import_module(library)
    found = {}
    for number, call in enumerate(calls.GROUPS[group]):
        try:
            value = eval(call, calls.scope(mx, np))
            parts = value if isinstance(value, (list, tuple)) and value and hasattr(value[0], "asnumpy") else [value]
            found.update({f"{number}.{k}": plain(part) for k, part in enumerate(parts)})
        except Exception as error:
            found[f"{number}.0"] = np.array("error " + ("IndexError" if isinstance(error, IndexError) else ""))
    return found


def plain(value):
    """The value as a NumPy array: of numbers, or of its text."""
    if hasattr(value, "asnumpy"):
        return value.asnumpy()
    return np.array(value if isinstance(value, (int, float, list)) else str(value))


if __name__ == "__main__":
    np.savez(sys.argv[3], **results(sys.argv[1], sys.argv[2]))
