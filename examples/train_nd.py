"""Trains the same network as train_module.py imperatively: NDArrays, autograd, and a loop of one's own.

    python examples/train_nd.py

The loop is plain Python: it records a forward pass, goes backward and lets an optimizer take a step of all weights, which is
one compiled program. Prints the accuracy on the held-out fifth of scikit-learn's handwritten digits, and saves a picture.
"""
import dataclasses
import pathlib
import time

import numpy as np

import jitnet as mx
from jitnet import autograd, nd
from train_mlp import save_picture

WIDTHS = (64, 128, 64, 10)
PICTURE = pathlib.Path(__file__).resolve().parent / "out" / "train_nd.png"


def load_digits(rng):
    """((x, labels) to train on, (x, labels) held out), four to one, shuffled."""
    from sklearn import datasets
    digits = datasets.load_digits()
    order = rng.permutation(len(digits.target))
    x, labels = nd.array(digits.data[order] / 16), nd.array(digits.target[order])
    cut = len(order) * 4 // 5
    return (x[:cut], labels[:cut]), (x[cut:], labels[cut:])


def initial_weights():
    """[weight, bias, weight, bias, ...] with room for gradients; He's initialization."""
    weights = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        weights += [nd.random.normal(0, (2 / inputs) ** 0.5, shape=(outputs, inputs)), nd.zeros(outputs)]
    for weight in weights:
        weight.attach_grad()
    return weights


def logits(weights, x):
    """The ten scores of each image in x (n, 64)."""
    for k in range(0, len(weights) - 2, 2):
        x = nd.relu(nd.FullyConnected(x, weights[k], weights[k + 1], num_hidden=len(weights[k + 1])))
    return nd.FullyConnected(x, weights[-2], weights[-1], num_hidden=len(weights[-1]))


def accuracy(weights, x, labels):
    return float((logits(weights, x).argmax(axis=1) == labels).mean().asscalar())


@dataclasses.dataclass
class Result:
    """What training gave: the weights, and per epoch the mean loss and the accuracy on the held-out images."""
    weights: list
    losses: list
    accuracies: list
    seconds: float


def train(epochs=20, batch=32, seed=0, report=lambda epoch, loss, accuracy: None):
    """Trains from scratch, calls `report` after every epoch, and returns a Result."""
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    (x, labels), held_out = load_digits(rng)
    mx.random.seed(seed)
    weights = initial_weights()
    gradients = [weight.grad for weight in weights]
    steps = epochs * len(range(0, len(x), batch))
    schedule = mx.lr_scheduler.CosineScheduler(steps, base_lr=0.1, final_lr=0.001)
    optimizer = mx.optimizer.create("sgd", lr_scheduler=schedule, momentum=0.9, wd=1e-4)
    update = mx.optimizer.get_updater(optimizer)
    losses, accuracies = [], []
    for epoch in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        for first in range(0, len(x), batch):
            chosen = nd.array(order[first:first + batch], dtype="int32")  # the last batch is shorter
            images, wanted = x.take(chosen), labels.take(chosen)
            with autograd.record():
                loss = nd.softmax_cross_entropy(logits(weights, images), wanted)
            loss.backward()
            optimizer.rescale_grad = 1 / len(chosen)
            update(list(range(len(weights))), gradients, weights)
            total += loss.asscalar()
        losses.append(float(total) / len(x))
        accuracies.append(accuracy(weights, *held_out))
        report(epoch, losses[-1], accuracies[-1])
    return Result(weights, losses, accuracies, time.perf_counter() - start)


def main(epochs=20):
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    columns = TextColumn("epoch {task.completed:2.0f}/{task.total:.0f}"), BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, TimeElapsedColumn()) as progress:
        bar = progress.add_task("compiling", total=epochs)
        result = train(epochs, report=lambda epoch, loss, accuracy: progress.update(
            bar, advance=1, description=f"loss {loss:.4f}  accuracy {accuracy:.4f}"))
    save_picture(result, PICTURE)
    print(f"accuracy on the held-out fifth: {result.accuracies[-1]:.4f}")
    print(f"time, compiling included:       {result.seconds:.1f} s")
    print(f"picture:                        {PICTURE}")
    return result


if __name__ == "__main__":
    main()
