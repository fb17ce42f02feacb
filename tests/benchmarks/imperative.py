"""`nd` against MXNet 1.9.1, call by call and in turns: `python tests/benchmarks/imperative.py [--peer mxnet=/path/to/python]`.

Times are microseconds of the best of many calls; what is asynchronous is waited for after every batch of calls. The targets are
a ratio of at least 2 for small calls and for what is computed on a million floats.
"""
import argparse
import importlib
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

ROUNDS = 4  # each library has so many turns at every case
SMALL = {  # on 16 floats: what a call costs
    "x + y": lambda nd, s: s.x + s.y, "x * 2": lambda nd, s: s.x * 2, "tanh(x)": lambda nd, s: nd.tanh(s.x),
    "x.sum()": lambda nd, s: s.x.sum(), "x[1:3]": lambda nd, s: s.x[1:3], "x.reshape": lambda nd, s: s.x.reshape((4, 4)),
    "dot": lambda nd, s: nd.dot(s.m, s.m), "softmax": lambda nd, s: nd.softmax(s.m), "clip": lambda nd, s: nd.clip(s.x, 0, 1),
    "concat": lambda nd, s: nd.concat(s.x, s.y, dim=0), "zeros": lambda nd, s: nd.zeros((16,)),
    "x += y": lambda nd, s: s.x.__iadd__(s.y), "asnumpy": lambda nd, s: s.x.asnumpy(),
}
LARGE = {  # on a million floats
    "tanh((a + col) * row - a) * 0.5 + 1": lambda nd, s: nd.tanh((s.a + s.col) * s.row - s.a) * 0.5 + 1,
    "a + a": lambda nd, s: s.a + s.a, "exp(a)": lambda nd, s: nd.exp(s.a), "a > col": lambda nd, s: s.a > s.col,
    "sum": lambda nd, s: s.a.sum(), "sum(axis=0)": lambda nd, s: s.a.sum(axis=0),
    "mean(axis=1)": lambda nd, s: s.a.mean(axis=1),
    "max(axis=1)": lambda nd, s: s.a.max(axis=1), "argmax(axis=1)": lambda nd, s: s.a.argmax(axis=1),
    "norm": lambda nd, s: s.a.norm(), "softmax ": lambda nd, s: nd.softmax(s.a), "a.T": lambda nd, s: s.a.T,
    "concat ": lambda nd, s: nd.concat(s.a, s.a), "take": lambda nd, s: nd.take(s.a, s.index),
    "topk(k=5)": lambda nd, s: nd.topk(s.a, k=5), "one_hot": lambda nd, s: nd.one_hot(s.index, 1000),
    "dot ": lambda nd, s: nd.dot(s.a, s.a), "a += col": lambda nd, s: s.a.__iadd__(s.col),
    "a[:] = row": lambda nd, s: s.a.__setitem__(slice(None), s.row),
}
CASES = {**SMALL, **LARGE}


class Arrays:
    """The arrays of the cases, made anew for each."""

    def __init__(self, nd):
        r = np.random.RandomState(0)
        self.x, self.y, self.m = nd.ones((16,)), nd.zeros((16,)), nd.ones((4, 4))
        self.a, self.col, self.row = (nd.array(r.uniform(-1, 1, shape)) for shape in ((1000, 1000), (1000, 1), (1, 1000)))
        self.index = nd.array(np.arange(1000)[::-1])


def worker(library):
    """Answers names of cases, line by line, with microseconds."""
    if library == "mxnet":
        np.bool = bool  # it still asks for it
    nd = importlib.import_module(library).nd
    for line in sys.stdin:
        name = line.rstrip("\n")
        call, arrays, count = CASES[name], Arrays(nd), 500 if name in SMALL else 10
        best = float("inf")
        for turn in range(7):
            nd.waitall()
            start = time.perf_counter()
            for _ in range(count):
                call(nd, arrays)
            nd.waitall()
            if turn:
                best = min(best, (time.perf_counter() - start) / count)
        print(json.dumps(best * 1e6), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], metavar="mxnet=PYTHON")
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker)
    from peers import environment, find_pythons

    pythons = find_pythons(options.peer)
    libraries = [name for name in ("jitnet", "mxnet") if name in pythons]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    running = {name: subprocess.Popen([pythons[name], str(pathlib.Path(__file__).resolve()), "--worker", name], text=True,
                                      env=environment(), **pipes) for name in libraries}
    print(f"{'':40}{''.join(f'{name:>12}' for name in libraries)}{'ratio':>8}")
    for case in CASES:
        best = dict.fromkeys(libraries, float("inf"))
        for _ in range(ROUNDS):
            for name, process in running.items():
                process.stdin.write(case + "\n")
                process.stdin.flush()
                best[name] = min(best[name], json.loads(process.stdout.readline()))
        times = list(best.values())
        ratio = f"{times[-1] / times[0]:8.1f}" if len(times) > 1 else ""
        print(f"{case:40}{''.join(f'{t:12.2f}' for t in times)}{ratio}", flush=True)
    for process in running.values():
        process.stdin.close()
        process.wait()
    return None


if __name__ == "__main__":
    main()
