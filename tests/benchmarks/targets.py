"""What jitnet sets out to reach on the CPU, and whether a run's figures reach it."""
from cases import OUT_OF_CACHE
from cases_fused import FUSED
from cases_mxnet import PROGRAM, SAME
from cases_network import CALL, SCAN, STEP
from fresh_runs import MLP


def verdicts(figures):
    """Rows (work, target, measured, met): met is None where this run did not measure it."""
    rules = (call_overhead, fused_each, fused_mean, bandwidth, training_step, scan, programs, executor, new_batch, cold_kernel,
             cold_step, cold_start, warm_call, import_time, chain_time, chain_growth, busy, memory)
    return [rule(figures) for rule in rules]


def jobs_of(figures, group):
    return [job for job in figures["jobs"] if job["group"] == group and "best" in job["results"].get("jitnet", {})]


def row(work, target, values, show, met):
    """The row, with an empty verdict where there are no values."""
    values = [value for value in values if value is not None]
    return (work, target, show(values), bool(met(values))) if values else (work, target, "–", None)


def call_overhead(figures):
    values = [job["results"]["jitnet"]["best"] for job in jobs_of(figures, CALL)]
    return row("call overhead", "≤ 2 µs", values, lambda v: f"{1e6 * max(v):.2f} µs", lambda v: max(v) <= 2e-6)


def fused_each(figures):
    from report import ratio
    ratios = {f"{job['case']}, {job['size']}": ratio(job) for job in jobs_of(figures, FUSED)}
    ratios = {name: value for name, value in ratios.items() if value}

    def show(values):
        lowest = min(ratios, key=ratios.get)
        return f"{sum(v >= 1 for v in values)} of {len(values)}; lowest {ratios[lowest]:.2f} ({lowest})"
    return row("every fused kernel", "≥ 1.0 × the best peer", ratios.values(), show, lambda v: min(v) >= 1)


def fused_mean(figures):
    from report import geometric_mean, ratio
    values = [ratio(job) for job in jobs_of(figures, FUSED)]
    return row("fused kernels, geometric mean", "≥ 1.5 × the best peer", values, lambda v: f"{geometric_mean(v):.2f}",
               lambda v: geometric_mean(v) >= 1.5)


def bandwidth(figures):
    from report import of_copy
    shares = {job["case"]: of_copy(job) for job in jobs_of(figures, FUSED)
              if job["size"] == OUT_OF_CACHE and job["memory_bound"]}
    shares = {name: value for name, value in shares.items() if value}

    def show(values):
        lowest = min(shares, key=shares.get)
        return f"{sum(v >= 0.9 for v in values)} of {len(values)}; lowest {shares[lowest]:.0%} ({lowest})"
    return row("memory-bound kernels out of cache", "≥ 90% of copy bandwidth", shares.values(), show, lambda v: min(v) >= 0.9)


def training_step(figures):
    from report import ratio
    values = [ratio(job) for job in jobs_of(figures, STEP)]
    return row("training step 784-128-64-10, batch 64 and 1024", "≥ 1.2 × the best peer", values,
               lambda v: ", ".join(f"{x:.2f}" for x in v), lambda v: min(v) >= 1.2)


def scan(figures):
    values = [job["results"]["jax"]["best"] / job["results"]["jitnet"]["best"] for job in jobs_of(figures, SCAN)
              if "best" in job["results"].get("jax", {})]
    return row("scan of 200 RNN cells", "≥ 2 × JAX", values, lambda v: ", ".join(f"{x:.2f}" for x in v), lambda v: min(v) >= 2)


def programs(figures):
    ratios = {job["case"]: job["results"]["mxnet"]["best"] / job["results"]["jitnet"]["best"]
              for job in jobs_of(figures, PROGRAM) if "best" in job["results"].get("mxnet", {})}

    def show(values):
        lowest = min(ratios, key=ratios.get)
        return f"{sum(v >= 2 for v in values)} of {len(values)}; lowest {ratios[lowest]:.2f} ({lowest})"
    return row("every program for MXNet", "≥ 2 × MXNet", ratios.values(), show, lambda v: min(v) >= 2)


def executor(figures):
    """The executor's forward and backward over jit(value_and_grad) of the same network, by batch size."""
    def by_batch(group, start):
        return {job["case"].rsplit(" ", 1)[1]: job["results"]["jitnet"]["best"] for job in jobs_of(figures, group)
                if job["case"].startswith(start)}
    ours, same = by_batch(PROGRAM, "executor"), by_batch(SAME, "jit")
    values = [ours[batch] / same[batch] for batch in same if batch in ours]
    return row("executor, MLP forward and backward", "≤ 1.1 × jit(value_and_grad)", values,
               lambda v: ", ".join(f"{x:.2f}" for x in v), lambda v: max(v) <= 1.1)


def new_batch(figures):
    ours = figures["probes"].get("new batch size", {}).get("jitnet", {})
    return row("a batch size never seen", "no compile, ≤ 2 ms", [ours] if "first" in ours else [],
               lambda v: f"{v[0]['compiles']} compiles, {1e3 * v[0]['first']:.2f} ms",
               lambda v: v[0]["compiles"] == 0 and v[0]["first"] <= 2e-3)


def first(figures, case=None):
    """jitnet's rows of the first calls that worked; of one case, or of all."""
    table = figures["probes"].get("first call", {})
    return [peers["jitnet"] for name, peers in table.items()
            if case in (None, name) and "why" not in peers.get("jitnet", {"why": ""})]


def cold_kernel(figures):
    values = [run["cold"] / run["cold compiles"] for run in first(figures) if run["cold compiles"]]
    return row("first call, empty disk cache, per kernel", "≤ 60 ms", values,
               lambda v: ", ".join(f"{1e3 * x:.0f} ms" for x in v), lambda v: max(v) <= 0.06)


def beside_jax(figures, work, key):
    """The row of a figure of the first training step that is to be no larger than JAX's."""
    jax = figures["probes"].get("first call", {}).get(MLP, {}).get("jax", {}).get(key)
    values = [(run[key], jax) for run in first(figures, MLP) if jax]
    return row(work, "≤ JAX", values,
               lambda v: f"{1e3 * v[0][0]:.0f} ms (JAX {1e3 * v[0][1]:.0f})", lambda v: v[0][0] <= v[0][1])


def cold_step(figures):
    return beside_jax(figures, "first training step, empty disk cache", "cold")


def cold_start(figures):
    return beside_jax(figures, "import and first training step, empty disk cache", "cold together")


def warm_call(figures):
    values = [run["warm"] for run in first(figures)]
    return row("first call, warm disk cache, fresh process", "≤ 30 ms", values,
               lambda v: ", ".join(f"{1e3 * x:.0f} ms" for x in v), lambda v: max(v) <= 0.03)


def import_time(figures):
    values = [(run["cold import"], run["warm import"]) for run in first(figures)]
    return row("import", "≤ 0.5 s", values,
               lambda v: f"{min(v)[0]:.2f} s with an empty disk cache, {min(v)[1]:.2f} s with a filled one",
               lambda v: max(min(v)) <= 0.5)


def chain_rows(figures):
    ours = figures["probes"].get("1,000-equation chain", {}).get("jitnet", {})
    return {row["length"]: row["lower"] for row in ours.get("rows", [])}


def chain_cold(figures):
    ours = figures["probes"].get("1,000-equation chain", {}).get("jitnet", {})
    return next((row["cold"] for row in ours.get("rows", []) if row["length"] == 1000), 0.0)


def chain_time(figures):
    return row("chain of 1,000 equations, trace to program", "≤ 3 s", [chain_rows(figures).get(1000)],
               lambda v: f"{v[0]:.2f} s ({chain_cold(figures):.2f} s with its kernels compiled)", lambda v: v[0] <= 3)


def chain_growth(figures):
    """From 500 to 2,000 operations, time per operation may grow by a tenth per doubling at most."""
    rows = chain_rows(figures)
    values = [(rows[2000] / rows[500] / 4) ** 0.5] if 500 in rows and 2000 in rows else []
    return row("the same, growth per doubling", "≤ 1.1 × linear", values,
               lambda v: f"{v[0]:.2f} × linear", lambda v: v[0] <= 1.1)


def busy(figures):
    values = [run["busy"]["all threads"] / run["busy"]["one thread"]
              for run in figures["probes"].get("one core kept busy", {}).values() if "busy" in run]
    return row("one core kept busy, slowest tenth", "≤ 1.3 × own one-thread time", values,
               lambda v: ", ".join(f"{x:.2f} ×" for x in v), lambda v: max(v) <= 1.3)


def memory(figures):
    ours = figures["probes"].get("peak memory", {}).get("jitnet", {})
    values = [ours["grown"] - ours["outputs"]] if "grown" in ours else []
    return row("peak memory of a fused chain beyond inputs and outputs", "≤ 1 MB", values,
               lambda v: f"{v[0] / 2**20:.2f} MB", lambda v: v[0] <= 2**20)
