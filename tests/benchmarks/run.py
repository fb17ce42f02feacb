"""Times jitnet, NumPy and whichever of JAX, torch and MXNet are installed; writes docs/performance.md, its picture, and its
excerpt in README.

    python tests/benchmarks/run.py                    everything, about half an hour on two cores
    python tests/benchmarks/run.py --only softmax     some cases, printed and not written
    python tests/benchmarks/run.py --peer jax=/path/to/python --peer mxnet=/path/to/python

Every framework runs in a process, and where needed an environment, of its own (with NumPy and SciPy in it, for the results to
compare with). They take turns: one works, the others wait.
"""
import argparse
import datetime
import fnmatch
import json
import os
import pathlib
import platform
import shlex
import shutil
import sys
import tempfile
import time

import fresh_runs
import report
from cases import OUT_OF_CACHE, TEST, all_cases
from excerpt import renewed
from peers import NAMES, ROOT, Peer, find_pythons

PAUSE = 0.02  # between turns: the last one's threads stop spinning


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="PATTERN", action="append", default=[],
                        help="cases whose group or name holds this text (or matches it, with *); may be given several times")
    parser.add_argument("--quick", action="store_true", help="short turns: seconds per case fewer, figures rougher")
    parser.add_argument("--peer", metavar="NAME=PYTHON", action="append", help="the interpreter that has this framework")
    parser.add_argument("--without", metavar="NAME", action="append", default=[], help="a framework to leave out")
    parser.add_argument("--rounds", type=int, help="turns that each framework gets per case")
    parser.add_argument("--turn", type=float, metavar="SECONDS", help="length of a turn")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too; --report-from reads them back")
    parser.add_argument("--report-from", metavar="FILE", help="measure nothing, write the report of these figures")
    parser.add_argument("--out", metavar="FOLDER", help="where the report goes (default: docs/ when everything was run)")
    return parser.parse_args()


def chosen(text, patterns):
    return not patterns or any(fnmatch.fnmatch(text, p if "*" in p else f"*{p}*") for p in patterns)


def jobs(patterns):
    """(case, size) of every timing asked for."""
    return [(case, size) for case in all_cases().values() for size in case.sizes
            if size != TEST and chosen(f"{case.group}: {case.name}, {size}", patterns)]


def time_job(case, size, peers, rounds, turn):
    """{peer: figures or {"why": ...}} of one case, the peers taking turns; also the copy bandwidth, out of cache."""
    results, ready = {}, []
    for name, peer in peers.items():
        if name in case.skip:
            continue
        answer = peer.ask(do="prepare", case=case.name, size=size)
        if answer["ok"]:
            results[name] = answer
            ready.append(peer)
        else:
            results[name] = {"why": answer.get("why", f"error {answer.get('error', 0):.1e}")}
            peer.ask(do="drop")
    bandwidth = 0.0
    for _ in range(rounds):
        for peer in ready:
            time.sleep(PAUSE)
            keep_best(results[peer.name], peer.ask(do="time", seconds=turn))
        if size == OUT_OF_CACHE and "numpy" in peers:
            time.sleep(PAUSE)
            bandwidth = max(bandwidth, peers["numpy"].ask(do="copy", size=1 << 26, seconds=turn)["bandwidth"])
    for peer in ready:
        after = peer.ask(do="drop")             # the result after all those calls is compared with NumPy's as well
        if not after["ok"] or after["error"] > case.tolerance:
            results[peer.name] = {"why": after.get("why", f"error {after.get('error', 0):.1e} after the timed calls")}
    return {"case": case.name, "group": case.group, "size": size, "memory_bound": case.memory_bound,
            "copy_bandwidth": bandwidth, "results": results}


def keep_best(kept, turn):
    """The best of all turns, and the lowest of their medians."""
    if not turn["ok"]:
        kept["why"] = turn["why"]
        return
    for key in ("best", "median", "slow"):
        kept[key] = min(kept.get(key, float("inf")), turn[key])


def machine():
    """What the figures depend on, in words."""
    model = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    flags = info.read_text() if info.exists() else ""
    vectors = next((name for flag, name in ((" avx512f", "AVX-512"), (" avx2", "AVX2")) if flag in flags), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = " ".join(filter(None, [model, vectors]))
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
    return {"cpu": cpu, "cores": cores, "system": f"{platform.system()} {platform.machine()}", "load": load}


def measure(options, log, place):
    pythons = {name: python for name, python in
               find_pythons(options.peer or os.environ.get("JITNET_BENCH_PYTHONS", "").replace(",", " ").split()).items()
               if name not in options.without}
    if "jitnet" not in pythons:
        print("jitnet itself cannot be imported: its peers alone are timed", file=sys.stderr)
    rounds = options.rounds or (2 if options.quick else 5)
    turn = options.turn or (0.03 if options.quick else 0.12)
    started, where = datetime.datetime.now(datetime.UTC), machine()
    peers = {name: Peer(name, pythons[name], log) for name in NAMES if name in pythons}
    for name in [name for name, peer in peers.items() if not peer.hello["ok"]]:
        print(f"{name} does not start, left out:\n{peers.pop(name).hello['why']}", file=sys.stderr)
        del pythons[name]
    figures = {"machine": where, "date": f"{started:%Y-%m-%d %H:%M} UTC", "command": command(),
               "versions": {name: peer.hello["version"] for name, peer in peers.items()},
               "python": peers["numpy"].hello["python"], "jobs": []}
    todo = jobs(options.only)
    for k, (case, size) in enumerate(todo):
        job = time_job(case, size, peers, rounds, turn)
        figures["jobs"].append(job)
        print(f"[{k + 1}/{len(todo)}] {report.line(job)}", flush=True)
    for peer in peers.values():
        peer.stop()
    figures["probes"] = {}
    for name, probe in fresh_runs.PROBES.items():
        if chosen(name, options.only):
            print(f"{name} ...", flush=True)
            figures["probes"][name] = probe(pythons, log, place, options.quick)
    figures["minutes"] = (datetime.datetime.now(datetime.UTC) - started).total_seconds() / 60
    return figures


def command():
    """The command of this run, without the paths of this machine."""
    places, kept, words = ("--peer", "--json", "--out"), [], iter(sys.argv[1:])
    for word in words:
        if word in places:
            next(words)
        elif not word.startswith(tuple(f"{option}=" for option in places)):
            kept.append(word)
    return shlex.join(["python", "tests/benchmarks/run.py", *kept])


def main():
    options = parse_arguments()
    if options.report_from:
        figures = json.loads(pathlib.Path(options.report_from).read_text())
    else:
        place = tempfile.mkdtemp(prefix="jitnet-bench-")
        try:
            with open(pathlib.Path(place) / "log", "w+") as log:
                figures = measure(options, log, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1))
    whole = not (options.only or options.quick or options.without)
    folder = options.out or (ROOT / "docs" if whole else None)
    text = report.markdown(figures)
    if folder is None:
        print(text)
        return
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "performance.md").write_text(text)
    report.picture(figures, folder / "performance.png")
    if folder == ROOT / "docs":
        readme = ROOT / "README.md"
        readme.write_text(renewed(readme.read_text(), text))
    print(f"wrote {folder / 'performance.md'} and {folder / 'performance.png'}")


if __name__ == "__main__":
    main()
