"""Trains a small network on scikit-learn's handwritten digits: plain NumPy code, differentiated and compiled by jitnet.

    python examples/train_mlp.py

1,797 real images of 8x8 pixels; a fifth is held out. The network is 64-128-64-10 with relu, the loss softmax cross-entropy, the
method gradient descent with momentum. Prints the accuracy on the held-out fifth and saves a picture of loss and accuracy.
"""
import dataclasses
import pathlib
import time

import numpy as np

import jitnet

WIDTHS = (64, 128, 64, 10)
PICTURE = pathlib.Path(__file__).resolve().parent / "out" / "train_mlp.png"


# ---- the network: NumPy, and nothing else

def logits(layers, x):
    """The ten scores of each image in x (n, 64)."""
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight + bias, 0)
    weight, bias = layers[-1]
    return x @ weight + bias


def loss(layers, x, labels):
    """Mean softmax cross-entropy of the scores against integer labels."""
    scores = logits(layers, x)
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_p = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
    return -np.mean(log_p[np.arange(len(labels)), labels])


@jitnet.jit
def accuracy(layers, x, labels):
    return np.mean(np.argmax(logits(layers, x), axis=1) == labels)


loss_and_gradients = jitnet.jit(jitnet.value_and_grad(loss))


@jitnet.jit
def step(layers, velocities, x, labels, rate):
    """(loss, new layers, new velocities) of one step of gradient descent with momentum 0.9."""
    value, gradients = loss_and_gradients(layers, x, labels)
    velocities = [(0.9 * vw - rate * gw, 0.9 * vb - rate * gb)
                  for (vw, vb), (gw, gb) in zip(velocities, gradients)]
    layers = [(w + vw, b + vb) for (w, b), (vw, vb) in zip(layers, velocities)]
    return value, layers, velocities


# ---- data and loop

@dataclasses.dataclass
class Result:
    """What training gave: the layers, and per epoch the mean loss and the accuracy on the held-out images."""
    layers: list
    losses: list
    accuracies: list
    seconds: float


def load_digits(rng):
    """((x, labels) to train on, (x, labels) held out), four to one, shuffled."""
    from sklearn import datasets
    digits = datasets.load_digits()
    order = rng.permutation(len(digits.target))
    x, labels = (digits.data[order] / 16).astype(np.float32), digits.target[order]
    cut = len(x) * 4 // 5
    return (x[:cut], labels[:cut]), (x[cut:], labels[cut:])


def initial_layers(rng):
    """He's initialization: normal weights of variance 2 / inputs, zero biases."""
    return [((rng.standard_normal((n, m)) * np.sqrt(2 / n)).astype(np.float32), np.zeros(m, np.float32))
            for n, m in zip(WIDTHS, WIDTHS[1:])]


def train(epochs=40, batch=32, rate=0.1, seed=0, report=lambda epoch, loss, accuracy: None):
    """Trains from scratch, calls `report` after every epoch, and returns a Result."""
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    (x, labels), held_out = load_digits(rng)
    layers = initial_layers(rng)
    velocities = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    losses, accuracies = [], []
    for epoch in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        slower = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        for first in range(0, len(x), batch):
            chosen = order[first:first + batch]        # the last batch is shorter: a new size compiles nothing
            value, layers, velocities = step(layers, velocities, x[chosen], labels[chosen], float(slower))
            total += float(value) * len(chosen)
        losses.append(total / len(x))
        accuracies.append(float(accuracy(layers, *held_out)))
        report(epoch, losses[-1], accuracies[-1])
    return Result(layers, losses, accuracies, time.perf_counter() - start)


# ---- what one sees

def save_picture(result, path):
    """Loss and accuracy by epoch, side by side, as a picture file."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    epochs = range(1, len(result.losses) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.semilogy(epochs, result.losses)
    left.set(title="loss on the training images", xlabel="epoch")
    right.plot(epochs, result.accuracies, color="tab:green")
    right.axhline(0.97, color="grey", linestyle=":", linewidth=1)
    right.set(title="accuracy on the held-out fifth", xlabel="epoch")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(epochs=40):
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    columns = TextColumn("epoch {task.completed:2.0f}/{task.total:.0f}"), BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, TimeElapsedColumn()) as progress:
        bar = progress.add_task("compiling", total=epochs)

        def report(epoch, loss, accuracy):
            progress.update(bar, advance=1, description=f"loss {loss:.4f}  accuracy {accuracy:.4f}")
        result = train(epochs, report=report)
    save_picture(result, PICTURE)
    print(f"accuracy on the held-out fifth: {result.accuracies[-1]:.4f}")
    print(f"time, compiling included:       {result.seconds:.1f} s")
    print(f"picture:                        {PICTURE}")
    return result


if __name__ == "__main__":
    main()
