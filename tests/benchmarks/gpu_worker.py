"""One framework on the card, in one process: answers requests, a line of JSON each, until its input ends.

Run by gpu.py as `python gpu_worker.py FRAMEWORK [rehearsed]`. A process of its own, for a framework that ruins its
CUDA context must not take the others along, and the libraries that come with one do not go with those of another.
"""
import json
import os
import sys
import time
import traceback

MOST = 1 << 16   # calls between two waits


def reason(error):
    """An error in one line."""
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:3] if line.strip())
    return f"{type(error).__name__}: {text}"[:300]


class Worker:
    """Keeps one prepared call at a time."""

    def __init__(self, name, rehearsed):
        if rehearsed and name == "jitnet":
            import gpu_fake  # noqa: F401
        from gpu_cases import MAKE

        self.framework = MAKE[name](rehearsed)
        self.call, self.count, self.unit = None, 0, ""

    def hello(self):
        return {"version": self.framework.version, **(self.framework.card() if hasattr(self.framework, "card") else {})}

    def function(self, case, given):
        """The case's function of its arrays, in this framework, compiled."""
        framework, own = self.framework, case.own.get(self.framework.module.__name__)
        if case.unit == "step":
            return framework.step(given)
        if case.function is None:
            return framework.copy
        return framework.compile(own(framework.module) if own else lambda *xs, f=case.function, np=framework.np: f(np, *xs))

    def prepare(self, case, sizes):
        """Makes the arrays, compiles, runs once, compares with NumPy and keeps the call."""
        from frameworks import leaves, map_tree
        from gpu_cases import cases

        case, framework = next(c for c in cases(*sizes) if c.name == case), self.framework
        arrays, check = case.make()
        given = map_tree(framework.put, arrays)
        del arrays
        function = self.function(case, given)
        start = time.perf_counter()
        out = function(*given)
        framework.wait(out)
        first = time.perf_counter() - start
        error = check([framework.get(x) for x in leaves(out)])
        if not error <= case.tolerance:
            raise ArithmeticError(f"wrong by {error:.1e} of the largest value")
        self.call, self.count, self.unit = lambda: function(*given), 0, case.unit
        return {"first": first}

    def run(self, count):
        """Seconds of that many calls and one wait."""
        call, start = self.call, time.perf_counter()
        for _ in range(count):
            out = call()
        self.framework.wait(out)
        return time.perf_counter() - start

    def time(self, least):
        """{seconds: of one call of so many that they take `least` seconds; host: until one call gives Python back}."""
        if not self.count:   # and this warms up
            self.count, took = 2, self.run(2)
            while took < least and self.count < MOST:
                self.count = min(MOST, max(2 * self.count, int(self.count * least / max(took, 1e-6))))
                took = self.run(self.count)
        answer = {"seconds": self.run(self.count) / self.count}
        return answer | {"host": min(self.issued(32) for _ in range(20))} if self.unit == "call" else answer

    def issued(self, count):
        """Seconds of one call that is not waited for: so few that the device's queue does not fill."""
        call, kept, start = self.call, [None] * count, time.perf_counter()
        for k in range(count):
            kept[k] = call()
        took = time.perf_counter() - start
        self.framework.wait(kept)
        return took / count

    def drop(self):
        self.call = None
        self.framework.free()
        return {}


def main(name, *rehearsed):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)                            # whatever a framework prints goes to the error stream
    sys.stdout, worker = sys.stderr, None

    def answer(function):
        try:
            found = {"ok": True, **function()}
        except Exception as error:           # reported to the controller, which shows it in the page
            traceback.print_exc()
            found = {"ok": False, "why": reason(error)}
        print(json.dumps(found), file=answers, flush=True)

    def begin():
        nonlocal worker
        made = Worker(name, bool(rehearsed))
        found, worker = made.hello(), made
        return found

    answer(begin)
    for line in sys.stdin if worker else ():
        request = json.loads(line)
        answer(lambda request=request: getattr(worker, request.pop("do"))(**request))


if __name__ == "__main__":
    main(*sys.argv[1:])
