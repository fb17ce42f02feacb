"""Heat spreading through a plate: 200 explicit time steps of the heat equation, as NumPy code on slices, one compiled loop.

    python examples/heat_equation.py

The plate starts as a real picture (one of scikit-learn's digits, enlarged); its rim is held at zero. Saves a picture of the
plate before and after.
"""
import pathlib

import numpy as np

import jitnet
from side_by_side import compare

PICTURE = pathlib.Path(__file__).resolve().parent / "out" / "heat_equation.png"


def step(u):
    """The plate one step later: every inner point moves towards the mean of its four neighbours."""
    u = u.copy()
    u[1:-1, 1:-1] += 0.2 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
    return u


def spread(u, steps):
    """The plate `steps` steps later, as NumPy runs it."""
    for _ in range(steps):
        u = step(u)
    return u


@jitnet.jit
def compiled_spread(u, steps):
    """The same as one native loop."""
    return jitnet.fori_loop(0, steps, lambda _, u: step(u), u)


def plate(size):
    """A digit of scikit-learn's, enlarged to size x size pixels, with a cold rim."""
    from sklearn import datasets
    digit = datasets.load_digits().images[0].astype(np.float32) / 16
    u = np.kron(digit, np.ones((size // 8, size // 8), np.float32))
    u[0], u[-1], u[:, 0], u[:, -1] = 0, 0, 0, 0
    return u


def save_picture(before, after, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.5), layout="constrained")
    for ax, u, title in zip(axes, (before, after), ("before", "after")):
        ax.imshow(u, cmap="inferno", vmin=0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(size=512, steps=200):
    before = plate(size)
    after, difference = compare(f"{steps} steps on {size} x {size} points", spread, compiled_spread, before, steps, repeats=3)
    save_picture(before, after, PICTURE)
    print(f"heat left in the plate: {after.sum() / before.sum():.1%}; picture: {PICTURE}")
    return difference


if __name__ == "__main__":
    main()
