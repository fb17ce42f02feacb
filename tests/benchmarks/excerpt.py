"""README's table of speed: some rows of docs/performance.md, in its words and figures."""
import re

BEGIN, END = "<!-- written by tests/benchmarks/run.py -->\n", "<!-- end -->\n"
COLUMNS = ("jitnet", "numpy", "jax", "torch", "torch.compile", "ratio")
ROWS = (  # section, case, how README calls it: kernels, a product-bound step, loops; what jitnet wins by most and by least
    ("Fused kernels, in cache", "10 operations", "10 operations on 65,536 floats"),
    ("Fused kernels, in cache", "softmax along the rows", "softmax of 65,536 floats"),
    ("Fused kernels, in cache", "layer norm", "layer norm of 65,536 floats"),
    ("Fused kernels, out of cache", "10 operations", "10 operations on 16.8 million floats"),
    ("Fused kernels, out of cache", "sum along the rows", "sum of 16.8 million floats along the rows"),
    ("Calls", "three 4x4 arrays in, one out", "a call with three 4x4 arrays"),
    ("Calls", "MLP 784-128-64-10, batch 64", "training step of an MLP 784-128-64-10, batch 64"),
    ("Calls", "MLP 784-128-64-10, batch 1024", "the same, batch 1024"),
    ("Calls", "200 RNN cells, hidden 32, batch 8, gradient", "gradient of a loop of 200 RNN cells"),
)


def cells(line):
    """The cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(page):
    """section -> case -> column -> cell, of a page with one table under each heading."""
    found = {}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, *lines = section.splitlines()
        lines = [cells(line) for line in lines if line.startswith("|")]
        found[title] = {row[0]: dict(zip(lines[0], row)) for row in lines[2:]} if lines else {}
    return found


def excerpt(page):
    """README's part on speed, from the page that the benchmarks wrote."""
    found = tables(page)
    rows = [(label, next(table for title, table in found.items() if title.startswith(section))[case])
            for section, case, label in ROWS]
    verdicts = [row[""] for row in found["Targets"].values()]
    machine = re.search(r"^- Machine: (.*?), Linux", page, re.MULTILINE).group(1)
    return "\n".join([
        f"Microseconds per call on {machine}; *ratio* is the best peer's time over jitnet's.", "",
        f"| work | {' | '.join(COLUMNS)} |", f"|---|{'---:|' * len(COLUMNS)}",
        *(f"| {label} | {' | '.join(row.get(column, '–') for column in COLUMNS)} |" for label, row in rows), "",
        f"`python tests/benchmarks/run.py` measures these and {sum(map(len, found.values())) - len(ROWS)} figures more: "
        "[docs/performance.md](docs/performance.md)",
        f"has all of them, and the targets, {verdicts.count('met')} of {len(verdicts)} met.", ""])


def renewed(readme, page):
    """README with its part on speed replaced by that of another page."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + excerpt(page) + END + rest.partition(END)[2]
