"""The programs of MXNet's page "Why MXNet?", as they run here: two styles of programming, on the same compiler.

    python examples/why_mxnet.py

Each function is one snippet of the page, returns what it computes, and runs in MXNet 1.x as well, with its name in the import.
"""
import numpy as np

import jitnet as mx


def imperative():
    """Arrays computed with at once: what NumPy programs do, with a loop and a print wherever one likes."""
    a = mx.nd.ones(10)
    b = mx.nd.ones(10) * 2
    c = b * a
    d = c + 1
    total = mx.nd.zeros(10)
    for _ in range(3):
        total += d
    return d.asnumpy(), total.asnumpy()


def symbolic():
    """The same written down first: shapes are inferred, the whole graph is compiled, arrays are bound to it later."""
    a = mx.sym.Variable("A")
    b = mx.sym.Variable("B")
    c = b * a
    d = c + 1
    shapes = d.infer_shape(A=(10,))[0]
    executor = d.bind(mx.cpu(), {"A": mx.nd.ones(10), "B": mx.nd.ones(10) * 2})
    return shapes, executor.forward()[0].asnumpy()


def device_placement():
    """Arrays live on devices: the current one, or one that is named. `cpu(1)` is a logical device over the same cores."""
    with mx.Context("cpu", 1):
        x = mx.nd.ones((2, 3))
    y = mx.nd.ones((2, 3), ctx=mx.cpu(0))
    return str(x.context), (x.as_in_context(mx.cpu(0)) + y).asnumpy()


def gradients():
    """Imperative code is recorded while it runs, Python's `if` and `while` included, and differentiated."""
    x = mx.nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with mx.autograd.record():
        y = x * 2
        while y.norm().asscalar() < 100:
            y = y * 2
        z = (y * y).sum() if y[0].asscalar() > 0 else y.sum()
    z.backward()
    return x.grad.asnumpy(), float(z.asscalar())


def symbolic_gradients():
    """A bound graph computes gradients in its backward pass, from those of its outputs."""
    a = mx.sym.Variable("A")
    b = mx.sym.Variable("B")
    d = b * a + 1
    executor = d.simple_bind(mx.cpu(), A=(10,), B=(10,))
    executor.copy_params_from({"A": mx.nd.ones(10), "B": mx.nd.ones(10) * 2})
    executor.forward(is_train=True)
    executor.backward(mx.nd.ones(10))
    return executor.grad_dict["A"].asnumpy(), executor.grad_dict["B"].asnumpy()


def network():
    """Predefined layers: a multi-layer perceptron, whose weights are made and named by its layers."""
    data = mx.sym.Variable("data")
    fc1 = mx.sym.FullyConnected(data, name="fc1", num_hidden=128)
    act1 = mx.sym.Activation(fc1, name="relu1", act_type="relu")
    fc2 = mx.sym.FullyConnected(act1, name="fc2", num_hidden=64)
    act2 = mx.sym.Activation(fc2, name="relu2", act_type="relu")
    fc3 = mx.sym.FullyConnected(act2, name="fc3", num_hidden=10)
    return mx.sym.SoftmaxOutput(fc3, name="softmax")


def blobs(seed=0):
    """(images, labels): 500 noisy pictures of ten patterns of 784 pixels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, 500)
    patterns = rng.normal(size=(10, 784))
    return (patterns[labels] + rng.normal(size=(500, 784))).astype(np.float32), labels.astype(np.float32)


def train(contexts, epochs=3):
    """The network trained by a Module on these devices: (accuracy, parameters)."""
    images, labels = blobs()
    batches = mx.io.NDArrayIter(images, labels, batch_size=50)
    module = mx.mod.Module(network(), context=contexts)
    module.bind(batches.provide_data, batches.provide_label)
    mx.random.seed(1)
    module.init_params(mx.init.Xavier())
    module.fit(batches, num_epoch=epochs, optimizer="sgd", optimizer_params={"learning_rate": 0.1, "momentum": 0.9})
    accuracy = dict(module.score(batches, "acc"))["accuracy"]
    return accuracy, {name: value.asnumpy() for name, value in module.get_params()[0].items()}


def several_devices():
    """The same training on one device and on two, which share every batch: (accuracies, largest difference of a parameter)."""
    one, parameters = train(mx.cpu())
    two, again = train([mx.cpu(0), mx.cpu(1)])
    return (one, two), max(float(np.abs(again[name] - value).max()) for name, value in parameters.items())


def mixed_styles():
    """Both styles in one program: a compiled network, driven by imperative code that takes the steps."""
    images, labels = blobs()
    executor = network().simple_bind(mx.cpu(), data=(500, 784))
    mx.random.seed(1)
    initial = mx.init.Xavier()
    for name, array in executor.arg_dict.items():
        if name not in ("data", "softmax_label"):
            initial(mx.init.InitDesc(name), array)
    executor.arg_dict["data"][:] = images
    executor.arg_dict["softmax_label"][:] = labels
    weights = {name: array for name, array in executor.arg_dict.items() if name not in ("data", "softmax_label")}
    for _ in range(60):
        executor.forward(is_train=True)
        executor.backward()
        for name, weight in weights.items():
            weight -= 0.1 / 500 * executor.grad_dict[name]
    return float((executor.outputs[0].argmax(axis=1).asnumpy() == labels).mean())


def main():
    d, total = imperative()
    print(f"imperative:         d = {d[:3]}..., three times it {total[:3]}...")
    shapes, d = symbolic()
    print(f"symbolic:           shapes {shapes}, d = {d[:3]}...")
    context, x = device_placement()
    print(f"devices:            made on {context}, added on cpu(0): {x[0]}")
    gradient, z = gradients()
    print(f"gradients:          {gradient}, of {z:.0f}")
    print(f"symbolic gradients: {symbolic_gradients()[0][:3]}...")
    print(f"layers:             {network().list_arguments()}")
    accuracies, difference = several_devices()
    print(f"several devices:    accuracy {accuracies[0]:.3f} on one, {accuracies[1]:.3f} on two; parameters differ by "
          f"{difference:.1e}")
    print(f"mixed styles:       accuracy {mixed_styles():.3f}")


if __name__ == "__main__":
    main()
