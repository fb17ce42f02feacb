"""What is timed: one small record per case, read by every worker. Needs nothing but NumPy, and runs on Python 3.10.

A case is written once, as a function of a NumPy-like namespace and arrays; a framework that says it differently, or has
one operation for the whole of it, gets its own version in `own`, made from that framework's module.
"""
from collections.abc import Callable
from dataclasses import dataclass, field

IN_CACHE, OUT_OF_CACHE, TEST = "in cache", "out of cache", "test"
SQUARE = {TEST: (6, 10), IN_CACHE: (256, 256), OUT_OF_CACHE: (4096, 4096)}
CUBE = {TEST: (4, 5, 6), IN_CACHE: (32, 32, 64), OUT_OF_CACHE: (256, 256, 256)}


@dataclass(frozen=True)
class Case:
    """One thing that is timed: `run(np, *inputs)` on inputs made by `inputs(rng, *sizes[size])`."""
    name: str
    group: str                                  # the row of the targets that it belongs to
    run: Callable | None                        # run(np, *inputs), np a framework's NumPy-like namespace
    inputs: Callable                            # inputs(rng, *dims) -> tuple of arrays, nested containers allowed
    sizes: dict[str, tuple] = field(default_factory=lambda: SQUARE)
    own: dict[str, Callable] = field(default_factory=dict)  # framework -> maker(module) -> function of the inputs
    skip: tuple[str, ...] = ()                  # frameworks that cannot do it, or would take minutes to compile it
    in_place: tuple[str, ...] = ()              # frameworks whose version changes its inputs: one result is compared
    as_it_stands: bool = False                  # its own versions are whole programs: not compiled, arrays of their own
    memory_bound: bool = False                  # a few operations per byte: out of cache, copy bandwidth is the ceiling
    tolerance: float = 2e-5                     # largest error against NumPy, relative to the largest result


def normal(*counts):
    """A maker of float32 inputs: for each entry a standard normal array of the dims that it picks out of all dims."""
    picks = counts or (lambda *dims: dims,)
    return lambda rng, *dims: tuple(rng.standard_normal(pick(*dims), dtype="float32") for pick in picks)


def all_cases():
    """Every case, by name, in the order of the report."""
    import cases_fused
    import cases_mxnet
    import cases_network
    cases = cases_fused.CASES + cases_network.CASES + cases_mxnet.CASES
    table = {case.name: case for case in cases}
    assert len(table) == len(cases), "two cases share a name"
    return table
