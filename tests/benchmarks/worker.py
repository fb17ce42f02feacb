"""One framework in one process: answers requests, a line of JSON each, until its input ends.

Run by run.py as `python worker.py FRAMEWORK`.
"""
import importlib
import json
import os
import sys
import time
import traceback


class Worker:
    """Keeps one prepared call at a time."""

    def __init__(self, name):
        start = time.perf_counter()
        from frameworks import FRAMEWORKS
        self.framework = FRAMEWORKS[name]()
        self.import_seconds = time.perf_counter() - start
        import cases
        self.cases = cases.all_cases()
        self.call = self.check = None

    def hello(self):
        return {"version": self.framework.version, "python": sys.version.split()[0], "import_seconds": self.import_seconds}

    def prepare(self, case, size):
        """Makes the inputs (`size` names one of the case's, or is the dims), runs once, compares with NumPy, keeps the call."""
        import numpy as np

        from frameworks import leaves, map_tree
        case = self.cases[case]
        inputs = case.inputs(np.random.default_rng(7), *(case.sizes[size] if isinstance(size, str) else size))
        expected = [np.asarray(x) for x in leaves(self.reference(case, inputs))]
        arrays = map_tree(self.framework.array, inputs)
        function, before = self.framework.function(case), self.framework.compiles()
        start = time.perf_counter()
        result = function(*arrays)
        if self.framework.wait:
            self.framework.wait(result)
        first = time.perf_counter() - start
        error = self.error(result, expected)
        moved = sum(x.nbytes for x in leaves(inputs)) + sum(x.nbytes for x in expected)
        self.keep(function, arrays)
        self.check = None if self.framework.name in case.in_place else lambda: self.error(function(*arrays), expected)
        after = self.framework.compiles()
        return {"first": first, "error": error, "bytes": moved, "ok": error <= case.tolerance,
                "compiles": None if after is None else after - before}

    def error(self, result, expected):
        import numpy as np

        from frameworks import leaves
        results = [self.framework.to_numpy(x) for x in leaves(result)]
        return max(relative_error(np, got, want) for got, want in zip(results, expected, strict=True))

    @staticmethod
    def reference(case, inputs):
        import numpy as np
        return case.own["numpy"](np)(*inputs) if "numpy" in case.own else case.run(np, *inputs)

    def keep(self, function, arrays):
        import functools
        wait = self.framework.wait
        self.call = (lambda: wait(function(*arrays))) if wait else functools.partial(function, *arrays)

    def time(self, seconds):
        from measure import time_call
        return time_call(self.call, seconds)

    def copy(self, size, seconds):
        from measure import copy_bandwidth
        return {"bandwidth": copy_bandwidth(size, seconds)}

    def drop(self):
        """Forgets the call; {error} of one more result, where the timed calls left the inputs as they were."""
        error = self.check() if self.check else 0.0
        self.call = self.check = None
        return {"error": error}

    def probe(self, name, **options):
        return getattr(importlib.import_module("probes"), name)(self, **options)


def relative_error(np, got, want):
    """Largest difference over the largest result; infinite where shapes or non-finite entries differ."""
    if got.shape != want.shape:
        return float("inf")
    got, want = got.astype("float64"), want.astype("float64")
    if not np.array_equal(np.isfinite(got), np.isfinite(want)):
        return float("inf")
    scale = np.max(np.abs(want), initial=0.0)
    return float(np.max(np.abs(got - want), initial=0.0) / (scale or 1.0))


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)                            # whatever a framework prints goes to the error stream
    sys.stdout = sys.stderr
    try:
        worker = Worker(sys.argv[1])
        answer = {"ok": True, **worker.hello()}
    except Exception:
        worker, answer = None, {"ok": False, "why": traceback.format_exc()}
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin if worker else ():
        request = json.loads(line)
        try:
            answer = {"ok": True, **getattr(worker, request.pop("do"))(**request)}
        except Exception as error:  # reported to the controller, which shows it in the table
            traceback.print_exc()
            answer = {"ok": False, "why": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
