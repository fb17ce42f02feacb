"""`python tests/benchmarks/gpu.py` tests and measures jitnet on the first GPU, and writes docs/gpu.md.

First tests/gpu runs, in a process of its own: what it finds is in the page, and whatever that is, measuring goes on. Then every
framework that is installed runs the cases of gpu_cases.py in this process, jitnet first, one after the other. A time is that of
many calls started one after the other and one wait at the end, per call: the best of several such runs.

The page is written anew after the tests and after every measurement, and each part has its share of --minutes: whatever ends
the run, what was found until then is there.
"""
import argparse
import contextlib
import datetime
import importlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import numpy

import jitnet
from jitnet.runtime.cuda.driver import driver

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from gpu_cases import CAPTURED, MAKE, NAMES, STEP, cases

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "gpu.md"
LEAST = 0.05        # seconds of one run
RUNS = 7
TESTS = 0.3         # share of the time that the tests may take
SHARES = {"jitnet": 2, "torch": 1, "torch.compile": 3, "jax": 1, "cupy": 1}   # of the rest
LONGEST = 60        # seconds of one measurement, with compiling


# ---- Tests

def tested(seconds):
    """What `pytest tests/gpu` found within that many seconds: a line for the page, and one for each failure."""
    command = [sys.executable, "-m", "pytest", "-v", "--tb=no", "-p", "no:cacheprovider", "tests/gpu"]
    start, found, cut = time.monotonic(), {}, threading.Event()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # What failures look like comes by the standard error output, as it happens; a line here is one test.
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})

    def end():
        cut.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
        outcome = re.match(r"tests/gpu/\S*::(.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", line)
        if outcome:
            found[outcome.group(1)] = outcome.group(2).lower()
    code = process.wait()
    timer.cancel()
    return tests_text(found, time.monotonic() - start, cut.is_set(), code, last)


def tests_text(found, seconds, cut, code, last):
    """The lines of the page: found is {test: outcome}, code pytest's exit status, last what it printed at the end."""
    kinds = [kind for kind in ("passed", "failed", "error", "skipped", "xfail", "xpass") if kind in found.values()]
    counts = ", ".join(f"{sum(f == kind for f in found.values())} {kind}" for kind in kinds) or "none ran"
    text = f"- Tests on the card (`python -m pytest tests/gpu`): {counts}, in {seconds:.0f} s"
    if cut:
        text += "; cut off then, for the time that they may take was over"
    elif code not in (0, 1):
        text += f"; ended with status {code}: {last}"
    return [f"{text}.", *[f"  - {kind}: `{name}`" for name, kind in found.items() if kind in ("failed", "error")]]


# ---- Time

class OutOfTime(Exception):
    """A measurement took longer than it may."""


@contextlib.contextmanager
def at_most(seconds):
    """Ends what runs inside after that many seconds by OutOfTime, where the system has alarms."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_):
        raise OutOfTime(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def mapped(function, tree):
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, t) for t in tree)
    return function(tree)


def seconds(framework, call, least=LEAST, runs=RUNS):
    """Seconds of one call."""
    framework.wait(call())
    count, best = 1, float("inf")
    while True:
        start = time.perf_counter()
        for _ in range(count):
            out = call()
        framework.wait(out)
        took = time.perf_counter() - start
        if took >= least or count >= 1 << 16:
            break
        count = max(2 * count, int(count * least / max(took, 1e-6)))
    for _ in range(runs):
        start = time.perf_counter()
        for _ in range(count):
            out = call()
        framework.wait(out)
        best = min(best, (time.perf_counter() - start) / count)
    return best


def measured(framework, case, least, runs, until):
    """Seconds of one call of a case, or why there are none."""
    _, function, arrays, _, unit = case
    left = until - time.monotonic()
    if left <= 0:
        return "no time left"
    try:
        with at_most(min(LONGEST, left)):
            given = mapped(framework.put, list(arrays))
            if unit == "step":
                compiled = framework.step(function)
            else:
                compiled = framework.compile(lambda *xs, f=function, np=framework.np: f(np, *xs))
            return seconds(framework, lambda: compiled(*given), least, runs)
    except Exception as error:  # what cannot do a case does not end the run
        return reason(error)


def reason(error):
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def copy_bandwidth(framework, n, least, runs):
    """Bytes read and written per second by a framework's copy of n floats; 0 where it cannot."""
    try:
        with at_most(LONGEST):
            x = framework.put(numpy.ones(n, "float32"))
            return 2 * 4 * n / seconds(framework, lambda: framework.copy(x), least, runs)
    except Exception as error:
        print("copy:", reason(error), flush=True)
        return 0.0


# ---- The page

def driver_text():
    """`driver 580.65.06 for CUDA 13.0`; without its release where the system does not tell."""
    path = pathlib.Path("/proc/driver/nvidia/version")
    release = re.search(r" \d{3}\.[\d.]+", path.read_text()) if path.exists() else None
    return f"driver{release.group() if release else ''} for CUDA {'.'.join(map(str, driver().version()))}"


def product_rate(rows, results):
    """The most operations per second of any product."""
    return max((work / t for name, _, _, work, unit in rows if unit == "flops" for t in results[name].values()
                if isinstance(t, float)), default=0.0)


def shares_of_ceilings(rows, results, bandwidth):
    """{case: jitnet's share of what the card's memory or its product units give at most}."""
    ceilings = {"bytes": bandwidth, "flops": product_rate(rows, results)}
    return {name: work / results[name]["jitnet"] / ceilings[unit] for name, _, _, work, unit in rows
            if isinstance(results[name].get("jitnet"), float) and ceilings.get(unit)}


def verdicts(rows, results, bandwidth):
    """A line for each thing that is to be reached: (what, {case: reached?})."""
    share = shares_of_ceilings(rows, results, bandwidth)
    ours = {name: row["jitnet"] for name, row in results.items() if isinstance(row.get("jitnet"), float)}
    faster = {name: t <= results[name]["torch.compile"] for name, t in ours.items()
              if isinstance(results[name].get("torch.compile"), float)}
    steps = {name: met for name, met in faster.items() if name.startswith(STEP)}
    yield ("at least 85% of copy bandwidth, elementwise and sums of rows",
           {name: share[name] >= 0.85 for name in ("elementwise chain", "sum of rows") if name in share})
    yield "no slower than torch.compile, kernels and products", {name: met for name, met in faster.items() if name not in steps}
    yield "no slower than torch.compile with CUDA graphs, training steps", steps
    yield "a call of a captured program under 10 us", {CAPTURED: ours[CAPTURED] < 10e-6} if CAPTURED in ours else {}


def verdict_text(met):
    missed = [name for name, is_met in met.items() if not is_met]
    return "not measured" if not met else f"missed by {', '.join(missed)}" if missed else f"reached ({len(met)} of {len(met)})"


def page(command, tests, rows, results, bandwidth, absent):
    """docs/gpu.md: tests are lines, rows are cases, results are {case: {framework: seconds, or why not}}."""
    card, found = jitnet.gpu(0).properties, [who for who in NAMES if any(who in row for row in results.values())]
    versions = {name: importlib.import_module(name).__version__ for name in ("jitnet", "torch", "jax", "cupy")
                if name == "jitnet" or any(who.startswith(name) for who in found)}
    share = shares_of_ceilings(rows, results, bandwidth)
    lines = ["# GPU", "",
             f"Written by `{command}` on {datetime.date.today()}; do not edit.", "",
             f"- Card: {card.name}, compute capability {'.'.join(map(str, card.compute_capability))}, "
             f"{card.multiprocessors} multiprocessors; {driver_text()}.",
             f"- {', '.join(f'{k} {v}' for k, v in versions.items())}.", *tests,
             f"- Ceilings, measured in the same run: copy {bandwidth / 1e12:.2f} TB/s; float32 product "
             f"{product_rate(rows, results) / 1e12:.1f} TFLOP/s.",
             "- Times in microseconds per call. *Of ceiling*: jitnet's share of the ceiling. *Ratio*: the best peer's time "
             "over jitnet's.", "",
             f"| case | {' | '.join(found)} | of ceiling | ratio |", f"|---|{'---|' * (len(found) + 2)}"]
    for name, *_ in rows:
        row = results[name]
        cells = [f"{1e6 * row[who]:.1f}" if isinstance(row.get(who), float) else "-" for who in found]
        ours, peers = row.get("jitnet"), [t for who, t in row.items() if who != "jitnet" and isinstance(t, float)]
        ratio = f"{min(peers) / ours:.2f}" if peers and isinstance(ours, float) else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {f'{share[name]:.0%}' if name in share else ''} | {ratio} |")
    lines += ["", "To be reached:", "", *[f"- {what}: {verdict_text(met)}" for what, met in verdicts(rows, results, bandwidth)]]
    failures = [f"- {name}, {who}: {why}" for name, row in results.items() for who, why in row.items() if isinstance(why, str)]
    failures += [f"- {who}: {why}" for who, why in absent.items()]
    return "\n".join([*lines, *(["", "Not measured:", "", *failures] if failures else [])]) + "\n"


def framework_of(name, absent):
    """A framework on the card; None when it is not installed, sees no card or does not start."""
    try:
        with at_most(LONGEST):
            return MAKE[name]()
    except ImportError:
        return None
    except Exception as error:
        absent[name] = reason(error)
        return None


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small arrays and short runs: to see that everything runs")
    parser.add_argument("--minutes", type=float, default=9, help="what all of it may take; one measurement may end later")
    parser.add_argument("--output", type=pathlib.Path, default=PAGE)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parsed(arguments)
    end = time.monotonic() + 60 * options.minutes
    jitnet.gpu(0)
    least, runs = (1e-4, 1) if options.quick else (LEAST, RUNS)
    sizes = (1 << 14, 64, (8,)) if options.quick else (1 << 28, 8192, (64, 1024))
    command = "python tests/benchmarks/gpu.py" + (" --quick" if options.quick else "")
    tests = tested(60 * options.minutes * TESTS)
    rows, bandwidth, absent, shares = list(cases(*sizes)), 0.0, {}, dict(SHARES)
    results = {name: {} for name, *_ in rows}

    def write():
        options.output.write_text(page(command, tests, rows, results, bandwidth, absent))

    write()
    for who in NAMES:
        framework = framework_of(who, absent)
        left, share = max(0.0, end - time.monotonic()), shares.pop(who)
        until = time.monotonic() + left * share / (share + sum(shares.values()))
        if framework is None:
            continue
        bandwidth = max(bandwidth, copy_bandwidth(framework, sizes[0], least, runs))
        for case in rows:
            found = results[case[0]][who] = measured(framework, case, least, runs, until)
            print(f"{case[0]}, {who}: {f'{1e6 * found:.1f} us' if isinstance(found, float) else found}", flush=True)
            write()
    write()


if __name__ == "__main__":
    main()
