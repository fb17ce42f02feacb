"""The figures of a run on a GPU -> docs/gpu.md: what was measured, as shares of the card's ceilings, and what was promised.

    figures = {command, date, minutes, rehearsed, driver, card: what the worker says of it, versions: {framework: version},
               cases: [Case], results: {case: {framework: {seconds, first, host} or {why}}}, bytes: of a large array,
               clocks: [(MHz, MHz of the memory)], tests: [line], absent: {framework: why}}
"""
from gpu_cases import CAPTURED, CHAIN, NAMES, NORM, ROWS, SOFTMAX, STEP

BANDWIDTH, OVERHEAD = 0.85, 10e-6   # to be reached: a share of copy bandwidth, seconds of a call
UNITS = {"bytes": ("memory", 1e12, "TB/s"), "float32": ("float32 products", 1e12, "TFLOP/s"),
         "float16": ("float16 products", 1e12, "TFLOP/s")}


def seconds(figures, case, who, kind="seconds"):
    """Of one call; None where there is no figure."""
    return figures["results"].get(case, {}).get(who, {}).get(kind)


def ceilings(figures):
    """{unit: (most of it in a second, whose)}: of memory by copying, of products by any product of anybody."""
    found = {}
    for case in figures["cases"]:
        if case.unit in UNITS and (case.unit != "bytes" or case.function is None):
            for who in figures["results"].get(case.name, {}):
                if t := seconds(figures, case.name, who):
                    found[case.unit] = max(found.get(case.unit, (0, "")), (case.work / t, who))
    return found


def shares(figures):
    """{case: jitnet's share of the ceiling}"""
    most, found = ceilings(figures), {}
    for case in figures["cases"]:
        t = seconds(figures, case.name, "jitnet")
        if t and case.unit in most:
            found[case.name] = case.work / t / most[case.unit][0]
    return found


# ---- What is promised

def verdicts(figures):
    """(what, {case: (reached, figure)}) of everything that is to be reached."""
    share = shares(figures)
    ratio = {case.name: seconds(figures, case.name, "torch.compile") / seconds(figures, case.name, "jitnet")
             for case in figures["cases"] if case.function is not None or case.unit == "step"
             if seconds(figures, case.name, "torch.compile") and seconds(figures, case.name, "jitnet")}
    faster = {name: (round(r, 2) >= 1, f"{r:.2f}") for name, r in ratio.items()}
    steps = {name: f for name, f in faster.items() if name.startswith(STEP)}
    call = seconds(figures, CAPTURED, "jitnet", "host")
    yield (f"at least {BANDWIDTH:.0%} of copy bandwidth, elementwise work and reductions of rows of {gigabytes(figures)}",
           {name: (share[name] >= BANDWIDTH, f"{share[name]:.0%}") for name in (CHAIN, ROWS, SOFTMAX, NORM) if name in share})
    yield ("no slower than torch.compile (its time over jitnet's), kernels and products",
           {name: f for name, f in faster.items() if name not in steps})
    yield "no slower than torch.compile with CUDA graphs, training steps", steps
    yield (f"a call of a captured program in under {1e6 * OVERHEAD:.0f} us",
           {CAPTURED: (call < OVERHEAD, f"{1e6 * call:.1f} us")} if call else {})


def verdict_text(found):
    """`reached: chain 91%`, `missed by chain (80%); reached: softmax 93%`, or `not measured`."""
    parts = [f"**missed** by {name} ({figure})" for name, (reached, figure) in found.items() if not reached]
    reached = [f"{name} {figure}" for name, (is_reached, figure) in found.items() if is_reached]
    return "; ".join([*parts, *([f"reached: {', '.join(reached)}"] if reached else [])]) or "not measured"


# ---- The page

def gigabytes(figures):
    return f"{figures['bytes'] / 1e9:.2g} GB" if figures["bytes"] >= 1e8 else f"{figures['bytes']:,} bytes"


def head(figures):
    card, most = figures["card"], ceilings(figures)
    driver = f"driver {figures['driver']} for CUDA" if figures["driver"] else "driver for CUDA"
    yield (f"- Card: {card['name']}, compute capability {'.'.join(map(str, card['capability']))}, {card['multiprocessors']} "
           f"multiprocessors, {card['l2'] >> 20} MB of L2; {driver} {'.'.join(map(str, card['cuda']))}.")
    if figures["clocks"]:
        processor, memory = ([c[k] for c in figures["clocks"]] for k in (0, 1))
        yield (f"- Clocks, read after each case: multiprocessors {min(processor)} to {max(processor)} MHz, memory "
               f"{min(memory)} to {max(memory)} MHz.")
    yield f"- {', '.join(f'{name} {version}' for name, version in figures['versions'].items())}."
    yield from figures["tests"]
    yield from (f"- Ceiling of {what}, measured in the same run: {most[unit][0] / scale:.3g} {name} (by {most[unit][1]})."
                for unit, (what, scale, name) in UNITS.items() if unit in most)
    yield ("- float32 products take their operands as they are (no TF32) everywhere; float16 ones are summed in float32. torch "
           "compiles with max-autotune-no-cudagraphs, training steps with reduce-overhead, which uses CUDA graphs.")
    yield ("- Every result was compared with NumPy's before it was timed. Times in microseconds per call, of many calls and "
           "one wait: the best of the turns that the frameworks took. *Of ceiling*: jitnet's share of the ceiling. *Ratio*: "
           f"the best peer's time over jitnet's. Arrays of cases about memory have {gigabytes(figures)}, more than any cache.")


def table(figures):
    who = [name for name in NAMES if any(name in row for row in figures["results"].values())]
    share = shares(figures)
    yield f"| case | {' | '.join(who)} | of ceiling | ratio |"
    yield f"|---|{'---|' * (len(who) + 2)}"
    for name in figures["results"]:
        times = {w: t for w in who if (t := seconds(figures, name, w))}
        peers = [t for w, t in times.items() if w != "jitnet"]
        cells = [f"{1e6 * times[w]:,.1f}" if w in times else "-" for w in who]
        ratio = f"{min(peers) / times['jitnet']:.2f}" if peers and "jitnet" in times else ""
        yield f"| {name} | {' | '.join(cells)} | {f'{share[name]:.0%}' if name in share else ''} | {ratio} |"


def other_times(figures):
    """What a call costs Python when nobody waits for it, and what first calls take."""
    for case in figures["cases"]:
        times = {w: t for w in NAMES if (t := seconds(figures, case.name, w, "host"))}
        if times:
            yield f"- {case.name}, until Python goes on: {', '.join(f'{w} {1e6 * t:.1f} us' for w, t in times.items())}"
    first = {w: sum(row.get(w, {}).get("first", 0) for row in figures["results"].values()) for w in NAMES}
    yield f"- All first calls, with compiling: {', '.join(f'{w} {t:.1f} s' for w, t in first.items() if t)}"


def page(figures):
    """The Markdown of docs/gpu.md."""
    failures = [f"- {name}, {who}: {found['why']}" for name, row in figures["results"].items() for who, found in row.items()
                if "why" in found]
    failures += [f"- {case.name}: the run ended before" for case in figures["cases"] if case.name not in figures["results"]]
    failures += [f"- {who}: {why}" for who, why in figures["absent"].items()]
    others = list(other_times(figures)) if figures["results"] else []
    rehearsed = ["**A rehearsal without a GPU: no figure here means anything.**", ""] if figures["rehearsed"] else []
    lines = ["# GPU", "", f"Written by `{figures['command']}` on {figures['date']}, after {figures['minutes']:.1f} minutes; do "
             "not edit.", "", *rehearsed, *head(figures), "", "To be reached:", "",
             *[f"- {what}: {verdict_text(found)}" for what, found in verdicts(figures)], "", *table(figures), "", *others,
             *(["", "Not measured:", "", *failures] if failures else [])]
    return "\n".join(lines).rstrip() + "\n"
