"""Figures of a run -> the Markdown text of docs/performance.md, its picture, and the line that a case prints."""
import math

import targets
from cases import IN_CACHE, OUT_OF_CACHE
from cases_fused import FUSED
from peers import NAMES

HEAD = """# Speed

Written by `{command}` on {date}; do not edit. Anyone can run it: it times whatever is installed.

- Machine: {cpu}, {cores} cores, {system}; average load before the run {load}. Python {python}. {versions}.
- Every framework works in its own process, one at a time, taking turns; a figure is the best of all turns after a warm-up,
  in microseconds per call unless it says otherwise. All get the same numbers in float32 (MXNet, torch and JAX in arrays of
  their own kind, jitnet and NumPy in NumPy arrays) and run with the threads they choose; every result is checked against
  NumPy's.
- A result is dropped before the next call: who keeps freed memory uses it again, who does not has it fresh from the system.
- *Ratio* is the best peer's time over jitnet's: above 1, jitnet is faster than every one of them.
- *Of copy* is what a plain copy would need to read the inputs and write the outputs once, over jitnet's time: C's `memmove`
  on as many cores as it likes, into memory that is there already, measured in turn with the rest. It can pass 100% where a
  case writes little.

![ratio of the best peer's time to jitnet's, case by case](performance.png)
"""


def markdown(figures):
    """The whole report."""
    machine = figures["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items() if name != "torch.compile")
    text = [HEAD.format(**machine, **{key: figures[key] for key in ("python", "command", "date")}, versions=versions)]
    text += [*rough(figures), "## Targets\n", target_table(figures)]
    fused = [job for job in figures["jobs"] if job["group"] == FUSED]
    for size, note in ((IN_CACHE, "65,536 elements"), (OUT_OF_CACHE, "16.8 million elements")):
        rows = [job for job in fused if job["size"] == size]
        if rows:
            text += [f"## Fused kernels, {size}: {note}\n", job_table(rows, figures, of_copy=size == OUT_OF_CACHE)]
    rest = [job for job in figures["jobs"] if job["group"] != FUSED]
    if rest:
        text += ["## Calls, training steps, loops\n", job_table(rest, figures, of_copy=False)]
    text += probe_sections(figures["probes"])
    failures = [f"- {job['case']}, {job['size']}: {name}: {first_line(result)}" for job in figures["jobs"]
                for name, result in job["results"].items() if "why" in result]
    failures += [f"- {probe}: {first_line(row)}" for probe, rows in figures["probes"].items() for row in failed_rows(rows)]
    if failures:
        text += ["## Not measured\n", "\n".join(failures) + "\n"]
    return "\n".join(text)


def rough(figures):
    """A warning where the run was short, or other work kept the machine from it: comparisons then tell little."""
    load = figures["machine"]["load"]
    reasons = ["the turns were short (`--quick`)"] if "--quick" in figures["command"] else []
    if load > 0.5:
        reasons.append(f"other work ran on the machine (average load {load} before the run)")
    note = f"**These figures are rough: {' and '.join(reasons)}. A run on a quiet machine replaces them.**\n"
    return [note] if reasons else []


def table(head, rows):
    """A Markdown table; columns after the first stand to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def microseconds(seconds):
    return "–" if seconds is None else f"{1e6 * seconds:,.2f}" if seconds < 1e-5 else f"{1e6 * seconds:,.0f}"


def milliseconds(seconds):
    return "–" if seconds is None else f"{1e3 * seconds:,.1f}" if seconds < 0.1 else f"{1e3 * seconds:,.0f}"


def count(number):
    return "–" if number is None else str(number)


def failed_rows(table):
    """The rows, at any depth, that say why they have no figures."""
    if "why" in table:
        return [table]
    return [row for value in table.values() if isinstance(value, dict) for row in failed_rows(value)]


def first_line(result):
    """What went wrong, in a line."""
    return result["why"].strip().splitlines()[0]


def best_of(job, name):
    return job["results"].get(name, {}).get("best")


def fastest_peer(job):
    """(seconds, name) of the best peer, or None."""
    return min(((best_of(job, name), name) for name in NAMES if name != "jitnet" and best_of(job, name)), default=None)


def ratio(job):
    """The best peer's time over jitnet's, or None."""
    ours, peer = best_of(job, "jitnet"), fastest_peer(job)
    return peer[0] / ours if ours and peer else None


def of_copy(job):
    """The share of copy bandwidth that jitnet reaches, or None."""
    ours = job["results"].get("jitnet", {})
    return ours["bytes"] / ours["best"] / job["copy_bandwidth"] if ours.get("best") and job["copy_bandwidth"] else None


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def job_table(jobs, figures, of_copy):
    names = [name for name in NAMES if name in figures["versions"]]
    rows = []
    for job in jobs:
        peer, share = fastest_peer(job), globals()["of_copy"](job)
        cells = [f"**{microseconds(best_of(job, name))}**" if peer and name == peer[1] else microseconds(best_of(job, name))
                 for name in names]
        extra = ([f"{share:.0%}{'' if job['memory_bound'] else ' (computes)'}" if share else "–"] if of_copy else [])
        rows.append([job["case"], *cells, f"{ratio(job):.2f}" if ratio(job) else "–", *extra])
    ratios = [r for r in map(ratio, jobs) if r]
    if ratios:
        rows.append(["*geometric mean*", *[""] * len(names), f"**{geometric_mean(ratios):.2f}**", *([""] if of_copy else [])])
    return table(["case", *names, "ratio", *(["of copy"] if of_copy else [])], rows)


def line(job):
    """One case as a line for the terminal."""
    cells = []
    for name in NAMES:
        result = job["results"].get(name, {})
        if "why" in result:
            cells.append(f"{name} failed: {first_line(result)[:70]}")
        elif "best" in result:
            cells.append(f"{name} {microseconds(result['best'])}")
    share = of_copy(job)
    tail = (f" | ratio {ratio(job):.2f}" if ratio(job) else "") + (f" | {share:.0%} of copy" if share else "")
    return f"{job['case']}, {job['size']}: " + ", ".join(cells) + " us" + tail


def target_table(figures):
    rows = [[work, target, measured, "met" if met else "missed" if met is not None else "–"]
            for work, target, measured, met in targets.verdicts(figures)]
    return table(["work", "target", "measured", ""], rows)


def probe_sections(probes):
    text = []
    if probes.get("first call"):
        columns = [f"{state}{part}" for state in ("cold", "warm") for part in (" import", "", " together")]
        rows = [[case, name, *(milliseconds(row.get(key)) for key in columns), count(row.get("cold compiles"))]
                for case, peers in probes["first call"].items() for name, row in peers.items()]
        text += ["## First call of a process, ms\n",
                 "With empty caches on disk (cold): the import of the framework, the first call after it, both together. The\n"
                 "same in another process, which finds what that one kept (warm). Where its cache is empty, jitnet loads\n"
                 "its compiler as it is imported, and another process builds functions that most programs need.\n",
                 table(["case", "framework", "cold: import", "first call", "together", "warm: import", "first call", "together",
                        "kernels"], rows)]
    if probes.get("new batch size"):
        rows = [[name, *(milliseconds(row.get(key)) for key in ("first", "best", "worst")), count(row.get("compiles"))]
                for name, row in probes["new batch size"].items()]
        text += ["## A batch size never seen, ms\n", "First call of the training step on new batch sizes, after others ran.\n",
                 table(["framework", "median", "best", "worst", "kernels compiled"], rows)]
    if probes.get("1,000-equation chain"):
        rows = [[name, f"{row['length']:,}", *(milliseconds(row[key]) for key in ("cold", "lower", "first"))]
                for name, answer in probes["1,000-equation chain"].items() for row in answer.get("rows", [])]
        text += ["## Long functions, ms\n",
                 "A chain of array operations in a fresh process with empty caches, from its trace to the program, kernels\n"
                 "compiled in between; the same once more, with the kernels at hand; and from the program to the first\n"
                 "result, which is where JAX compiles.\n",
                 table(["framework", "operations", "with compiling", "trace to program", "first result"], rows)]
    if probes.get("one core kept busy"):
        columns = [(state, name) for state in ("quiet", "busy") for name in ("one thread", "all threads")]
        rows = [[case, *(microseconds(row.get(state, {}).get(name)) for state, name in columns)]
                for case, row in probes["one core kept busy"].items()]
        text += ["## One core kept busy by another process\n",
                 "4 million floats; the slowest tenth of jitnet's calls, alone on the machine and beside a busy loop.\n",
                 table(["case", "alone, one thread", "alone, all", "beside it, one thread", "beside it, all"], rows)]
    if probes.get("peak memory"):
        rows = [[name, *(f"{row[key] / 2**20:,.1f}" if key in row else "–" for key in ("grown", "outputs"))]
                for name, row in probes["peak memory"].items()]
        text += ["## Peak memory of a fused chain, MB\n",
                 "What one call on 4 million floats adds to the resident memory at its peak.\n",
                 table(["framework", "added", "of it the output"], rows)]
    return text


def picture(figures, path):
    """One bar per case: the best peer's time over jitnet's, on a logarithmic axis."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    jobs = [job for job in figures["jobs"] if ratio(job)]
    if not jobs:
        return
    colours = {IN_CACHE: "tab:blue", OUT_OF_CACHE: "tab:orange"}
    jobs = sorted(jobs, key=lambda job: (job["group"] != FUSED, job["size"] != IN_CACHE))
    figure, axes = plt.subplots(figsize=(8, 1 + 0.19 * len(jobs)), layout="constrained")
    axes.barh(range(len(jobs)), [ratio(job) - 1 for job in jobs], left=1,
              color=[colours.get(job["size"], "tab:green") for job in jobs])
    axes.set_yticks(range(len(jobs)), [job["case"] for job in jobs], fontsize=7)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_ylim(len(jobs) - 0.4, -0.6)
    axes.set_xlabel("best peer's time / jitnet's")
    axes.set_title(f"{figures['machine']['cpu']}, {figures['machine']['cores']} cores", fontsize=9)
    for label, colour in (*colours.items(), ("other", "tab:green")):
        axes.bar(0, 0, color=colour, label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.03), ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
