"""Programs of training that run in jitnet and in MXNet: `python training_programs.py mxnet|jitnet GROUP OUTPUT.json`.

Each function of a group returns nested lists, tuples and dicts of numbers and texts.
"""
import json
import sys

import numpy as np

RNG = np.random.RandomState(0)
X = RNG.rand(70, 8).astype("float32")
Y = (X.sum(1) > 4).astype("float32")
OPTIMIZERS = {
    "sgd": [{}, {"momentum": 0.9}, {"momentum": 0.9, "wd": 0.1, "clip_gradient": 0.3, "rescale_grad": 0.5}],
    "nag": [{}, {"momentum": 0.9}],  # with wd, MXNet's own kernel uses the weight that it has just written
    "adam": [{}, {"wd": 0.1, "clip_gradient": 0.3, "rescale_grad": 0.5}, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}],
    "adagrad": [{}, {"wd": 0.1, "clip_gradient": 0.3, "rescale_grad": 0.5, "eps": 1e-3}],
    "rmsprop": [{}, {"wd": 0.1, "clip_gradient": 0.3, "rescale_grad": 0.5}, {"centered": True, "gamma1": 0.8},
                {"clip_weights": 0.5}],
    "adadelta": [{}, {"rho": 0.5, "wd": 0.1, "clip_gradient": 0.3, "rescale_grad": 0.5}],
    "ftrl": [{}, {"lamda1": 0.1, "beta": 2, "wd": 0.1, "clip_gradient": 0.3}],
    "signum": [{}, {"momentum": 0.0, "wd": 0.1}, {"wd_lh": 0.1, "wd": 0.1}],
    "adamax": [{}, {"wd": 0.1, "clip_gradient": 0.3}], "nadam": [{}, {"wd": 0.1, "clip_gradient": 0.3}],
    "lamb": [{}, {"wd": 0.1, "clip_gradient": 0.3}, {"lower_bound": 3.0, "upper_bound": 5.0}], "ftml": [{}, {"wd": 0.1}]}


def plain(value):
    """What json can write, of NDArrays too."""
    if hasattr(value, "asnumpy"):
        value = value.asnumpy()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if isinstance(value, (str, bool)) or value is None else float(value)


def optimizers(mx):
    for name, cases in OPTIMIZERS.items():
        for options in cases:
            update = mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=0.1, **options))
            w = mx.nd.array([1.0, -2.0, 0.5])
            for g in ([1.0, 0.1, -0.3], [0.5, -0.2, 0.0], [1.0, 1.0, 1.0]):
                update(0, mx.nd.array(g), w)
            yield f"{name} {options}", w


def schedules(mx):
    made = mx.lr_scheduler
    for scheduler in (made.FactorScheduler(3, 0.5, base_lr=0.8, stop_factor_lr=0.15),
                      made.MultiFactorScheduler([2, 5], 0.1, 1.0),
                      made.PolyScheduler(10, 1.0, 2, 0.1, warmup_steps=3, warmup_begin_lr=0.2),
                      made.CosineScheduler(10, 1.0, 0.1, warmup_steps=2, warmup_mode="constant", warmup_begin_lr=0.3)):
        yield type(scheduler).__name__, [scheduler(n) for n in range(14)]
    for name in ("adam", "sgd"):
        optimizer = mx.optimizer.create(name, learning_rate=0.2, lr_scheduler=made.FactorScheduler(2, 0.5))
        update, w = mx.optimizer.get_updater(optimizer), mx.nd.ones(2)
        for _ in range(5):
            update(0, mx.nd.ones(2), w)
        yield f"{name} by schedule", [w, optimizer.learning_rate, optimizer.num_update]


def metrics(mx):
    rng = np.random.RandomState(1)
    labels, scores = rng.randint(0, 2, (3, 12)), rng.dirichlet([1, 1], (3, 12))
    many, wide = rng.randint(0, 5, (3, 12)), rng.dirichlet([1] * 5, (3, 12))
    numbers, guesses = rng.randn(2, 3, 12)
    create = mx.metric.create
    cases = [(create("acc"), many, wide), (create("top_k_accuracy", top_k=3), many, wide), (create("ce"), many, wide),
             (create("nll_loss"), many, wide), (mx.metric.Perplexity(None), many, wide), (mx.metric.Perplexity(2), many, wide),
             (create("mae"), numbers, guesses), (create("mse"), numbers, guesses), (create("rmse"), numbers, guesses),
             (create("pearsonr"), numbers, guesses), (mx.metric.PearsonCorrelation(average="micro"), numbers, guesses),
             (create("loss"), numbers, guesses), (create(["acc", "ce"]), many, wide), (create("pcc"), many, wide),
             (mx.metric.np(lambda label, pred: float(label.sum() - pred.sum())), numbers, guesses)]
    cases += [(create(name, average=average), labels, scores) for name in ("f1", "mcc") for average in ("macro", "micro")]
    for k, (metric, wanted, found) in enumerate(cases):
        for n, (label, pred) in enumerate(zip(wanted, found)):
            metric.update([mx.nd.array(label)], [mx.nd.array(pred)])
            if n == 1 and not isinstance(metric, mx.metric.PearsonCorrelation):
                metric.reset_local()
        whole = metric.get() if metric.name == "pearsonr" else metric.get_global()  # MXNet's is 0 for this one
        yield f"{k} {metric.name}", [metric.get(), whole, metric.get_name_value()]


def iterators(mx):
    for size in (1, 4, 7, 10, 16):
        for last in ("pad", "discard", "roll_over"):
            for shuffle in (False, True):
                if size > 10 and last != "pad":
                    continue
                np.random.seed(5)
                it = mx.io.NDArrayIter({"b": X[:10], "a": Y[:10]}, Y[:10], size, shuffle, last)
                seen = []
                for _ in range(3):
                    seen.append([[*b.data, *b.label, b.pad] for b in it])
                    it.reset()
                yield f"{size} {last} {shuffle}", [seen, *([list(d) for d in descs]
                                                           for descs in (it.provide_data, it.provide_label))]


def initializers(mx):
    init, shapes = mx.init, [(4, 6), (2, 3, 4, 4)]
    for one in (init.Zero(), init.One(), init.Constant(2.5), init.Bilinear()):
        for shape in shapes[isinstance(one, init.Bilinear):]:
            for name in ("a_weight", "a_bias", "a_gamma", "a_beta"):
                array = mx.nd.full(shape, 7)
                one(init.InitDesc(name), array)
                yield f"{one.dumps()} {shape} {name}", array
    for one in (init.Xavier(), init.Xavier("gaussian", "in", 2.5), init.MSRAPrelu(), init.Uniform(0.5), init.Normal(0.5),
                init.Orthogonal()):
        array = mx.nd.zeros((200, 100))
        one(init.InitDesc("a_weight"), array)
        spread = array.asnumpy()
        yield one.dumps(), [one.dumps(), round(float(spread.std() * 20)), bool(abs(spread.mean()) < 0.02)]


def network(mx, batch_norm=False):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16, name="fc1")
    if batch_norm:
        net = mx.sym.BatchNorm(net, name="bn", fix_gamma=False)
    net = mx.sym.Activation(net, act_type="relu", name="relu1")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=2, name="fc2"), name="softmax")


def modules(mx):
    for devices in (1, 2):
        for optimizer, options in (("sgd", {"learning_rate": 0.5, "momentum": 0.9, "wd": 0.01}),
                                   ("adam", {"learning_rate": 0.01}), ("rmsprop", {"learning_rate": 0.01})):
            for kvstore in ("local", "device", None):
                yield f"{devices} {optimizer} {kvstore}", trained(mx, devices, optimizer, options, kvstore, False)
        yield f"{devices} with states", trained(mx, devices, "sgd", {"learning_rate": 0.1}, "local", True)


def trained(mx, devices, optimizer, options, kvstore, batch_norm):
    np.random.seed(3)
    training = mx.io.NDArrayIter(X, Y, batch_size=16, shuffle=True)
    held_out = mx.io.NDArrayIter(X, Y, batch_size=16)
    net = network(mx, batch_norm)
    module = mx.mod.Module(net, context=[mx.cpu(k) for k in range(devices)])
    module.bind(training.provide_data, training.provide_label)
    rng = np.random.RandomState(1)
    shapes = zip(net.list_arguments(), net.infer_shape(data=(16, 8))[0])
    given = {name: mx.nd.array(rng.randn(*shape) * 0.3) for name, shape in shapes if name not in ("data", "softmax_label")}
    module.init_params(mx.init.Xavier(), arg_params=given, allow_missing=True)
    module.fit(training, num_epoch=3, optimizer=optimizer, optimizer_params=options, kvstore=kvstore)
    args, states = module.get_params()
    return [dict(module.score(held_out, ["acc", "ce"])), module.predict(held_out), args, states]


GROUPS = {f.__name__: f for f in (optimizers, schedules, metrics, iterators, initializers, modules)}


def results(mx, group):
    return {name: plain(value) for name, value in GROUPS[group](mx)}


if __name__ == "__main__":
    if sys.argv[1] == "mxnet":
        np.bool = bool  # MXNet 1.9.1 still asks for it
    with open(sys.argv[3], "w") as file:
        json.dump(results(__import__(sys.argv[1]), sys.argv[2]), file)
