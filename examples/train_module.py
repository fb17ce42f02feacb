"""Trains MXNet's multi-layer perceptron on scikit-learn's handwritten digits: a symbol, and Module's `fit`.

    python examples/train_module.py

1,797 real images of 8x8 pixels; a fifth is held out. The network is 64-128-64-10 with relu and SoftmaxOutput, the method
gradient descent with momentum and a falling rate. Prints the accuracy on the held-out fifth and saves a picture of accuracy
and weights.
"""
import dataclasses
import pathlib
import time

import numpy as np

import jitnet as mx

PICTURE = pathlib.Path(__file__).resolve().parent / "out" / "train_module.png"


def network():
    """The ten probabilities of an image, as a symbol."""
    net = mx.sym.Variable("data")
    for k, width in enumerate((128, 64), 1):
        net = mx.sym.FullyConnected(net, num_hidden=width, name=f"fc{k}")
        net = mx.sym.Activation(net, act_type="relu", name=f"relu{k}")
    net = mx.sym.FullyConnected(net, num_hidden=10, name="fc3")
    return mx.sym.SoftmaxOutput(net, name="softmax")


def load_digits(batch, seed=0):
    """(iterator to train on, iterator over what is held out), four to one, shuffled."""
    from sklearn import datasets
    digits = datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    x, labels = (digits.data[order] / 16).astype(np.float32), digits.target[order]
    cut = len(x) * 4 // 5
    np.random.seed(seed)
    return (mx.io.NDArrayIter(x[:cut], labels[:cut], batch, shuffle=True), mx.io.NDArrayIter(x[cut:], labels[cut:], batch))


@dataclasses.dataclass
class Result:
    """What training gave: the module, and per epoch the accuracy on the images trained on and on those held out."""
    module: mx.mod.Module
    trained: list
    held_out: list
    seconds: float


def train(epochs=20, batch=32, context=None, seed=0, report=lambda epoch, accuracy: None):
    """Trains from scratch, calls `report` after every epoch, and returns a Result."""
    start = time.perf_counter()
    training, held_out = load_digits(batch, seed)
    mx.random.seed(seed)
    module = mx.mod.Module(network(), context=context or mx.cpu())
    result = Result(module, [], [], 0.0)
    accuracy = mx.metric.create("acc")

    def epoch_ended(epoch, symbol, args, states):
        result.trained.append(accuracy.get_global()[1])
        result.held_out.append(dict(module.score(held_out, "acc"))["accuracy"])
        report(epoch, result.held_out[-1])

    steps = epochs * len(range(0, training.num_data, batch))
    schedule = mx.lr_scheduler.CosineScheduler(steps, base_lr=0.1, final_lr=0.001)
    module.fit(training, eval_metric=accuracy, num_epoch=epochs, initializer=mx.init.MSRAPrelu(factor_type="in", slope=0),
               optimizer="sgd", optimizer_params={"lr_scheduler": schedule, "momentum": 0.9, "wd": 1e-4},
               epoch_end_callback=epoch_ended)
    result.seconds = time.perf_counter() - start
    return result


def save_picture(result, path):
    """Accuracy by epoch, and what the first layer looks at, as a picture file."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    epochs = range(1, len(result.trained) + 1)
    left.plot(epochs, result.trained, label="trained on")
    left.plot(epochs, result.held_out, label="held out")
    left.axhline(0.97, color="grey", linestyle=":", linewidth=1)
    left.set(title="accuracy", xlabel="epoch", ylim=(0.8, 1.005))
    left.legend(loc="lower right")
    left.xaxis.get_major_locator().set_params(integer=True)
    weights = result.module.get_params()[0]["fc1_weight"].asnumpy()
    strongest = weights[np.argsort(-np.abs(weights).sum(axis=1))[:32]]
    tiles = np.pad(strongest.reshape(4, 8, 8, 8), ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    right.imshow(tiles.transpose(0, 2, 1, 3).reshape(36, 72), cmap="RdBu", vmin=-1, vmax=1)
    right.set(title="weights of 32 units of the first layer", xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(epochs=20):
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    mx.viz.print_summary(network(), {"data": (32, 64)}, line_length=100)
    columns = TextColumn("epoch {task.completed:2.0f}/{task.total:.0f}"), BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, TimeElapsedColumn()) as progress:
        bar = progress.add_task("compiling", total=epochs)
        result = train(epochs, report=lambda epoch, accuracy: progress.update(
            bar, advance=1, description=f"accuracy {accuracy:.4f}"))
    save_picture(result, PICTURE)
    print(f"accuracy on the held-out fifth: {result.held_out[-1]:.4f}")
    print(f"time, compiling included:       {result.seconds:.1f} s")
    print(f"picture:                        {PICTURE}")
    return result


if __name__ == "__main__":
    main()
