"""`python tests/benchmarks/gpu.py` tests and measures jitnet on the first GPU, and writes docs/gpu.md.

    python tests/benchmarks/gpu.py                            all of it, in 9 minutes at most
    python tests/benchmarks/gpu.py --minutes 30               the same, with time for whatever was cut off
    python tests/benchmarks/gpu.py --peer jax=/path/to/python
    python tests/benchmarks/gpu.py --rehearse                 all of it where there is no GPU; the page, without worth, is shown

First tests/gpu runs: what it finds is in the page, and whatever that is, measuring goes on. Then jitnet and those of torch, JAX
and CuPy that are installed, each in a process of its own (gpu_worker.py), run the cases of gpu_cases.py: in each, results are
compared with NumPy's, then the frameworks take turns. A time is that of many calls started one after the other and one wait at
the end, per call: the best of several turns. The page is written anew after every case: whatever ends the run, what was found
is there.
"""
import argparse
import contextlib
import datetime
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from gpu_cases import NAMES, cases
from gpu_page import page
from gpu_worker import reason
from peers import HERE, ROOT, Peer, find_pythons

PAGE = ROOT / "docs" / "gpu.md"
LEAST = 0.05        # seconds of one turn
TURNS = 7
PROCESSES = 4       # that run tests
TESTS = 0.3         # share of the time that the tests may take
LONGEST = 90        # seconds until a framework has compiled a case, or has started
ARRAYS = 24         # of n floats that the workers may hold together, beside what is the card's largest use
N, EDGE, BATCHES = 1 << 28, 4096, (64, 1024)


# ---- Tests

def tested(seconds, rehearsed=False):
    """What `pytest tests/gpu` found within that many seconds: a line for the page, and one for each failure."""
    if importlib.util.find_spec("pytest") is None:
        return ["- Tests on the card: not run, for pytest is not installed."]
    command = [sys.executable, "-m", "pytest", "-v", "--tb=no", "-p", "no:cacheprovider", "tests/gpu"]
    if PROCESSES and importlib.util.find_spec("xdist") is not None:   # what takes its time is compiling
        command += ["-n", f"{min(PROCESSES, os.cpu_count() or 1)}"]
    path = os.pathsep.join([str(ROOT), *([str(HERE)] if rehearsed else []), *filter(None, [os.environ.get("PYTHONPATH")])])
    start, found, cut = time.monotonic(), {}, threading.Event()
    # What failures look like comes by the standard error output, as it happens; a line here is one test.
    process = subprocess.Popen(command + ["-p", "gpu_fake"] * rehearsed, cwd=ROOT, stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": path})

    def end():
        cut.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
        kinds = "(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)"
        if outcome := re.match(rf"tests/gpu/\S*::(.+?) {kinds}\b", line):
            found[outcome.group(1)] = outcome.group(2).lower()
        elif outcome := re.match(rf"\[gw\d+\] \[ *\d+%\] {kinds} tests/gpu/\S*::(.+?) *$", line):   # of several processes
            found[outcome.group(2)] = outcome.group(1).lower()
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


# ---- Frameworks

class GpuPeer(Peer):
    """One framework's worker on the card. Whatever takes longer than it may ends with its process; the next question finds a
    new one."""

    def __init__(self, name, python, log, rehearsed=False, limit=LONGEST):
        self.rehearsed, self.limit = rehearsed, limit
        super().__init__(name, python, log)

    def program(self):
        return str(HERE / "gpu_worker.py"), self.name, *["rehearsed"] * self.rehearsed

    def start(self):
        with self.ended_after(self.limit) as late:
            super().start()
        self.hello = self.explained(self.hello, late, self.limit)

    def ask(self, limit, **request):
        """The worker's answer, or why there is none after so many seconds."""
        if self.process.poll() is not None:
            self.start()
        if not self.hello["ok"]:
            return self.hello
        with self.ended_after(limit) as late:
            answer = super().ask(**request)
        return self.explained(answer, late, limit)

    @contextlib.contextmanager
    def ended_after(self, seconds):
        """Kills the process when what is done inside is not done by then; the event given says so."""
        late = threading.Event()

        def end():
            late.set()
            self.process.kill()

        timer = threading.Timer(max(seconds, 1e-3), end)
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            if late.is_set():
                self.process.wait()

    def explained(self, answer, late, seconds):
        if late.is_set():
            return {"ok": False, "why": f"not done after {seconds:.0f} s"}
        if answer["ok"] or answer["why"] != "the worker process died":
            return answer
        return {"ok": False, "why": f"its process ended with status {self.process.wait()}"}

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def fitting(n, free):
    """n, or the half, quarter, ... of it of which the workers' arrays fit into that many bytes."""
    while 4 * n * ARRAYS > free and n > 1 << 14:
        n //= 2
    return n


# ---- Measuring

def measured(case, sizes, peers, until, least, turns):
    """{framework: {seconds, first, host} or {why}} of one case; the frameworks take turns."""
    found = {}
    for name, peer in peers.items():
        left = until - time.monotonic()
        found[name] = peer.ask(min(LONGEST, left), do="prepare", case=case.name, sizes=sizes) if left > 0 else {
            "ok": False, "why": "no time left"}
    for _ in range(turns):
        for name, kept in found.items():
            if kept["ok"]:
                turn = peers[name].ask(LONGEST, do="time", least=least)
                found[name] = {**kept, **{key: min(kept.get(key, turn[key]), turn[key]) for key in ("seconds", "host")
                                          if key in turn}} if turn["ok"] else turn
    for name, peer in peers.items():
        if found[name].get("why") != "no time left":
            peer.ask(LONGEST, do="drop")
    return {name: {key: value for key, value in kept.items() if key != "ok"} for name, kept in found.items()}


def clocks(card):
    """MHz of the multiprocessors and of the memory of the card of that name, as nvidia-smi reads them now; None without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        told = subprocess.run([program, "--query-gpu=name,clocks.sm,clocks.mem", "--format=csv,noheader,nounits"],
                              capture_output=True, text=True, timeout=10).stdout
        _, processor, memory = next(line.split(", ") for line in told.splitlines() if line.startswith(card))
        return int(processor), int(memory)
    except (OSError, subprocess.TimeoutExpired, StopIteration, ValueError) as error:
        print("nvidia-smi:", reason(error), file=sys.stderr)
        return None


def line(case, found):
    """What is printed of one case."""
    parts = [f"{name} {1e6 * f['seconds']:.1f} us" if "seconds" in f else f"{name}: {f['why']}" for name, f in found.items()]
    return f"{case.name}: {', '.join(parts)}"


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small arrays and short turns: to see that everything runs")
    parser.add_argument("--rehearse", action="store_true", help="quick, and without a GPU: on memory, peers on the CPU")
    parser.add_argument("--minutes", type=float, default=9, help="what all of it may take; one measurement may end later")
    parser.add_argument("--peer", metavar="NAME=PYTHON", action="append", default=[],
                        help="the interpreter that has this framework")
    parser.add_argument("--without", metavar="NAME", action="append", default=[], help="a framework, or tests, to leave out")
    parser.add_argument("--log", metavar="FILE", help="where all goes that the frameworks print")
    parser.add_argument("--output", type=pathlib.Path, help="where the page goes (default: docs/gpu.md)")
    options = parser.parse_args(arguments)
    options.quick |= options.rehearse
    return options


def command(options):
    """The command of this run, without the paths of this machine."""
    words = [f"--{name}" for name in ("quick", "rehearse") if getattr(options, name)]
    words += ["--minutes", f"{options.minutes:g}"] if options.minutes != 9 else []
    return " ".join(["python tests/benchmarks/gpu.py", *words, *[f"--without {name}" for name in options.without]])


def driver_release():
    """`580.65.06`; None where the system does not tell."""
    path = pathlib.Path("/proc/driver/nvidia/version")
    release = re.search(r" (\d{3}\.[\d.]+)", path.read_text()) if path.exists() else None
    return release and release.group(1)


def run(options, peers, log, write):
    """Measures everything, with workers that are put into `peers`; write(figures) is called whenever there is more."""
    begin, pythons = time.monotonic(), find_pythons(options.peer, NAMES)
    end = begin + 60 * options.minutes
    ours = peers["jitnet"] = GpuPeer("jitnet", pythons["jitnet"], log, options.rehearse)
    if not ours.hello["ok"]:
        raise SystemExit(f"jitnet cannot be measured: {ours.hello['why']}")
    print(f"jitnet {ours.hello['version']} on {ours.hello['name']}", flush=True)
    n, *rest = (1 << 14, 64, (8,)) if options.quick else (N, EDGE, BATCHES)
    sizes = fitting(n, ours.hello["free"]), *rest
    figures = {"command": command(options), "date": f"{datetime.date.today()}", "card": ours.hello, "driver": driver_release(),
               "rehearsed": options.rehearse, "versions": {"jitnet": ours.hello["version"]}, "bytes": 4 * sizes[0],
               "cases": cases(*sizes), "results": {}, "absent": {}, "clocks": [], "tests": [], "minutes": 0.0}
    if "tests" not in options.without:
        figures["tests"] = tested(60 * options.minutes * TESTS, options.rehearse)
        write(figures)
    for name in NAMES[1:]:
        if name in options.without or name not in pythons:
            figures["absent"][name] = "left out" if name in options.without else "not installed"
            continue
        peer = peers[name] = GpuPeer(name, pythons[name], log, options.rehearse)
        print(f"{name}: {peer.hello.get('version') or peer.hello['why']}", flush=True)
        if peer.hello["ok"]:
            figures["versions"][name] = peer.hello["version"]
        else:
            figures["absent"][name] = peer.hello["why"]
            peers.pop(name).stop()
    for case in figures["cases"]:
        found = measured(case, sizes, peers, end, *((1e-4, 1) if options.quick else (LEAST, TURNS)))
        figures["results"][case.name], figures["minutes"] = found, (time.monotonic() - begin) / 60
        figures["clocks"] += filter(None, [clocks(figures["card"]["name"])])
        print(line(case, found), flush=True)
        write(figures)


def main(arguments=None):
    options, peers = parsed(arguments), {}
    output = options.output or (None if options.rehearse else PAGE)
    with open(options.log, "w") if options.log else tempfile.TemporaryFile("w+") as log:
        written = []

        def write(figures):
            written[:] = [page(figures)]
            if output:
                output.write_text(written[0])

        try:
            run(options, peers, log, write)
        finally:
            for peer in peers.values():
                peer.stop()
    print(f"wrote {output}" if output else written[0])


if __name__ == "__main__":
    main()
