"""Programs for MXNet 1.x: the same text, with `mx` being jitnet or MXNet. They run as they stand, on arrays of their own."""
from cases import TEST, Case, normal
from cases_network import mlp_forward, mlp_inputs, mlp_loss

PROGRAM, SAME = "programs for MXNet", "executor against jit"
OTHERS = ("numpy", "jax", "torch", "torch.compile")  # frameworks that do not run programs for MXNet
BATCHES = (64, 1024)


def plain(x):
    """A NumPy array of whatever array a framework handed over."""
    return x.asnumpy() if hasattr(x, "asnumpy") else x


def program(setup):
    """{framework: maker} of a program: `setup(mx, *inputs)` prepares it at the first call and returns what runs every time."""
    def maker(mx):
        prepared = []

        def call(*inputs):
            if not prepared:
                from frameworks import map_tree
                prepared.append(setup(mx, *map_tree(plain, inputs)))
            return prepared[0]()
        return call
    return {"jitnet": maker, "mxnet": maker}


# ---- the perceptron: forward and backward through a bound symbol, and imperatively with a step of gradient descent

def mlp_gradients(np, layers, x, labels):
    """(probabilities, dW1, db1, dW2, ...) with the weights' gradients as (outputs, inputs), summed over the batch."""
    inputs, p = mlp_forward(np, layers, x)
    ct = p - (labels[:, None] == np.arange(p.shape[1]))
    gradients = []
    for (weight, _), layer_input in zip(reversed(layers), reversed(inputs)):
        gradients[:0] = [ct.T @ layer_input, ct.sum(axis=0)]
        ct = (ct @ weight.T) * (layer_input > 0)
    return [p, *gradients]


def executor_step(mx, layers, x, labels):
    net = mx.sym.Variable("data")
    for k, (weight, _) in enumerate(layers):
        net = mx.sym.FullyConnected(net, num_hidden=weight.shape[1], name=f"fc{k}")
        if k + 1 < len(layers):
            net = mx.sym.Activation(net, act_type="relu", name=f"relu{k}")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    names = [f"fc{k}_{part}" for k in range(len(layers)) for part in ("weight", "bias")]
    executor = net.simple_bind(mx.cpu(), data=x.shape, grad_req=dict.fromkeys(names, "write"))
    values = [array for weight, bias in layers for array in (weight.T, bias)]
    for name, value in zip(["data", "softmax_label", *names], [x, labels, *values]):
        executor.arg_dict[name][:] = mx.nd.array(value)
    gradients = [executor.grad_dict[name] for name in names]

    def step():
        executor.forward(is_train=True)
        executor.backward()
        return [executor.outputs[0], *gradients]
    return step


def jit_step(jitnet):
    """The gradients of the same network by the transform of a NumPy function, compiled: what the executor is held against."""
    import numpy
    gradients = jitnet.value_and_grad(lambda layers, x, labels: mlp_loss(numpy, layers, x, labels))
    return lambda layers, x, labels: gradients(layers, x, labels)


def jit_step_numpy(np, layers, x, labels):
    p, *gradients = mlp_gradients(np, layers, x, labels)
    n = len(labels)
    loss = -np.log(p[np.arange(n), labels]).mean()
    return loss, [(w.T / n, b / n) for w, b in zip(gradients[::2], gradients[1::2])]


def imperative_numpy(np, layers, x, labels):
    p, *gradients = mlp_gradients(np, layers, x, labels)
    values = [array for weight, bias in layers for array in (weight.T, bias)]
    return [p, *(value - np.float32(1e-4) * g for value, g in zip(values, gradients))]


def imperative_step(mx, layers, x, labels):
    x, labels = mx.nd.array(x), mx.nd.array(labels)
    weights = [mx.nd.array(array) for weight, bias in layers for array in (weight.T, bias)]
    for weight in weights:
        weight.attach_grad()

    def step():
        with mx.autograd.record():
            h = x
            for k in range(0, len(weights) - 2, 2):
                h = mx.nd.FullyConnected(h, weights[k], weights[k + 1], num_hidden=weights[k].shape[0])
                h = mx.nd.Activation(h, act_type="relu")
            h = mx.nd.FullyConnected(h, weights[-2], weights[-1], num_hidden=weights[-2].shape[0])
            out = mx.nd.SoftmaxOutput(h, labels)
        out.backward()
        for weight in weights:
            mx.nd.sgd_update(weight, weight.grad, out=weight, lr=1e-4)
        return [out, *weights]
    return step


def module_step(mx, layers, x, labels):
    """Forward, backward, a step with momentum and a metric, by Module."""
    net = mx.sym.Variable("data")
    for k, (weight, _) in enumerate(layers):
        net = mx.sym.FullyConnected(net, num_hidden=weight.shape[1], name=f"fc{k}")
        if k + 1 < len(layers):
            net = mx.sym.Activation(net, act_type="relu", name=f"relu{k}")
    module = mx.mod.Module(mx.sym.SoftmaxOutput(net, name="softmax"))
    module.bind([("data", x.shape)], [("softmax_label", labels.shape)])
    module.init_params(arg_params={f"fc{k}_{part}": mx.nd.array(array) for k, (weight, bias) in enumerate(layers)
                                   for part, array in (("weight", weight.T), ("bias", bias))})
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 1e-4 * len(x), "momentum": 0.9})
    batch, metric = mx.io.DataBatch([mx.nd.array(x)], [mx.nd.array(labels)]), mx.metric.create("acc")
    weights = [module._exec_group.execs[0].arg_dict[f"fc{k}_{part}"] for k in range(len(layers)) for part in ("weight", "bias")]

    def step():
        module.forward_backward(batch)
        module.update()
        module.update_metric(metric, batch.label)
        return [module.get_outputs()[0], *weights]
    return step


# ---- operations on arrays

def chain(mx, x, row, column):
    x, row, column = mx.nd.array(x), mx.nd.array(row), mx.nd.array(column)
    return lambda: (x + row) * column - row


def sum_of_all(mx, x):
    x = mx.nd.array(x)
    return lambda: x.sum()


def sum_of_rows(mx, x):
    x = mx.nd.array(x)
    return lambda: x.sum(axis=1)


def eager_calls(mx, x, y):
    x, y = mx.nd.array(x), mx.nd.array(y)

    def calls():
        for _ in range(100):
            out = x + y
        return out
    return calls


def hundred_sums(np, x, y):
    for _ in range(100):
        out = x + y
    return out


STEP_SIZES = {batch: {TEST: (5, 12, 8, 6, 4), "step": (batch, 784, 128, 64, 10)} for batch in BATCHES}
MILLION = {TEST: (6, 10), "1 million": (1000, 1000)}


def case(name, run, inputs, setup, sizes, **fields):
    return Case(name, PROGRAM, run, inputs, sizes=sizes, own=program(setup), skip=OTHERS, as_it_stands=True, **fields)


STEPS = {"tolerance": 1e-4, "in_place": ("jitnet", "mxnet")}
CASES = [
    *(case(f"executor, MLP forward and backward, batch {batch}", mlp_gradients, mlp_inputs, executor_step, STEP_SIZES[batch],
           **STEPS) for batch in BATCHES),
    *(Case(f"jit(value_and_grad), MLP, batch {batch}", SAME, jit_step_numpy, mlp_inputs, sizes=STEP_SIZES[batch],
           own={"jitnet": jit_step}, skip=(*OTHERS, "mxnet"), tolerance=1e-4) for batch in BATCHES),
    *(case(f"nd and autograd, MLP step, batch {batch}", imperative_numpy, mlp_inputs, imperative_step, STEP_SIZES[batch],
           **STEPS) for batch in BATCHES),
    *(case(f"Module, MLP step with metric, batch {batch}", imperative_numpy, mlp_inputs, module_step, STEP_SIZES[batch],
           **STEPS) for batch in BATCHES),
    case("nd, (x + row) * column - row", lambda np, x, row, column: (x + row) * column - row,
         normal(lambda n, m: (n, m), lambda n, m: (1, m), lambda n, m: (n, 1)), chain, MILLION),
    case("nd, sum", lambda np, x: x.sum(dtype="float64").astype("float32")[None], normal(lambda n, m: (n, m)), sum_of_all,
         MILLION, tolerance=1e-3),
    case("nd, sum of rows", lambda np, x: x.sum(axis=1), normal(lambda n, m: (n, m)), sum_of_rows, MILLION),
    case("nd, 100 sums of 16 floats", hundred_sums, normal(lambda n: (n,), lambda n: (n,)), eager_calls,
         {TEST: (16,), "small": (16,)}),
]
