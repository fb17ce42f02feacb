"""The measures that need processes of their own: imports, first calls, new sizes, long programs, a busy core, memory.

Each takes (pythons, log, place, quick) and returns plain data that report.py shows.
"""
import contextlib
import subprocess
import sys
import tempfile
import time

from peers import Peer

COMPILERS = ("jitnet", "jax", "torch.compile")
MLP = "MLP 784-128-64-10, batch 64"
FIRST = {MLP: (64, 784, 128, 64, 10), "softmax along the rows": (256, 256)}
CHAIN_LENGTHS = (252, 500, 1000, 2000)    # multiples of 4
BUSY_CASES = ("tanh chain", "10 operations")
BUSY_DIMS = MEMORY_DIMS = (2048, 2048)     # 4 million floats
MEMORY_CASE = "10 operations"


@contextlib.contextmanager
def worker(name, pythons, log, **environment):
    with Peer(name, pythons[name], log, **environment) as peer:
        yield peer


def empty_caches(place):
    """Environment variables that give a process compiled-code caches of its own, empty at first."""
    return {variable: tempfile.mkdtemp(dir=place) for variable in ("JITNET_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")}


def first_calls(pythons, log, place, quick):
    """{case: {peer: row}}: the first call of a process, with empty caches (cold) and with filled ones (warm).

    A row has, by state, the call, the compiles, the import of the framework, and the import and the call together.
    """
    table = {}
    for case, dims in FIRST.items():
        table[case] = {}
        for name in [name for name in COMPILERS if name in pythons]:
            runs = []
            for _ in range(1 if quick else 3):
                caches = empty_caches(place)
                row = {}
                for state in ("cold", "warm"):
                    with worker(name, pythons, log, **caches) as peer:
                        answer = peer.ask(do="prepare", case=case, size=dims)
                        row[state] = answer.get("first")
                        row[f"{state} import"] = peer.hello["import_seconds"]
                        row[f"{state} together"] = row[state] and row[state] + row[f"{state} import"]
                        row[f"{state} compiles"] = answer.get("compiles")
                        if not answer["ok"]:
                            row["why"] = answer.get("why", f"error {answer.get('error')}")
                runs.append(row)
            good = [row for row in runs if "why" not in row]
            table[case][name] = {key: min(row[key] for row in good) if good[0][key] is not None else None
                                 for key in good[0]} if good else runs[-1]
    return table


def new_batches(pythons, log, place, quick):
    """{peer: {first, best, compiles}}: the training step on batch sizes that it never saw, after it ran on one."""
    batches = [65, 66, 67] if quick else [65, 66, 67, 80, 97, 100, 127]
    table = {}
    for name in [name for name in COMPILERS if name in pythons]:
        with worker(name, pythons, log, **empty_caches(place)) as peer:
            table[name] = peer.ask(do="probe", name="new_batch", case=MLP, dims=(784, 128, 64, 10), batches=batches)
    return table


def chains(pythons, log, place, quick):
    """{peer: {rows: [{length, cold, lower, first}]}}: longer and longer functions, each in a process with empty caches."""
    table = {}
    for name in [name for name in ("jitnet", "jax") if name in pythons]:
        answers = []
        for length in CHAIN_LENGTHS[:2] if quick else CHAIN_LENGTHS:
            with worker(name, pythons, log, **empty_caches(place)) as peer:
                answers.append(peer.ask(do="probe", name="chain", length=length))
        failed = [answer for answer in answers if not answer["ok"]]
        table[name] = failed[0] if failed else {"rows": answers}
    return table


def busy_core(pythons, log, place, quick):
    """{case: {threads, one thread, ...}}: the slowest tenth of calls while another process keeps one core busy."""
    if "jitnet" not in pythons:
        return {}
    turn, rounds = (0.2, 2) if quick else (1.0, 4)
    caches = empty_caches(place)
    table = {}
    with (worker("jitnet", pythons, log, **caches) as threads,
          worker("jitnet", pythons, log, JITNET_NUM_THREADS="1", **caches) as one):
        for case in BUSY_CASES:
            both = {"all threads": threads, "one thread": one}
            answers = [peer.ask(do="prepare", case=case, size=BUSY_DIMS) for peer in both.values()]
            if not all(answer["ok"] for answer in answers):
                table[case] = {"why": str([answer.get("why") for answer in answers])}
                continue
            quiet = {name: peer.ask(do="time", seconds=turn)["slow"] for name, peer in both.items()}
            burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                time.sleep(0.2)
                slow = {name: [] for name in both}
                for _ in range(rounds):
                    for name, peer in both.items():
                        slow[name].append(peer.ask(do="time", seconds=turn)["slow"])
            finally:
                burner.kill()
                burner.wait()
            table[case] = {"quiet": quiet, "busy": {name: min(values) for name, values in slow.items()}}
    return table


def memory(pythons, log, place, quick):
    """{peer: {grown, outputs}}: how far one call of a fused chain raises the peak of resident memory."""
    table = {}
    if sys.platform != "linux":
        return table
    for name in [name for name in ("jitnet", "numpy", "jax", "torch.compile") if name in pythons]:
        with worker(name, pythons, log, **empty_caches(place)) as peer:
            table[name] = peer.ask(do="probe", name="memory", case=MEMORY_CASE, dims=MEMORY_DIMS)
    return table


PROBES = {"first call": first_calls, "new batch size": new_batches, "1,000-equation chain": chains,
          "one core kept busy": busy_core, "peak memory": memory}
