"""The call overhead, a whole training step of a small network, and a loop of many small steps."""
from cases import TEST, Case, normal

CALL, STEP, SCAN = "call overhead", "training step", "scan"
RATE = 0.05


# ---- call overhead: three small arrays in, one out

def three_in(np, x, y, z):
    return x * y + z


# ---- one step of gradient descent on a multi-layer perceptron, relu and softmax cross-entropy

def mlp_inputs(rng, batch, *widths):
    """(layers, images, labels): layers are (weight, bias) pairs, labels integers below the last width."""
    layers = [((rng.standard_normal((n, m)) / n ** 0.5).astype("float32"), rng.standard_normal(m).astype("float32") * 0.1)
              for n, m in zip(widths, widths[1:])]
    return layers, rng.random((batch, widths[0]), dtype="float32"), rng.integers(0, widths[-1], batch)


def mlp_loss(np, layers, x, labels):
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight + bias, 0)
    weight, bias = layers[-1]
    logits = x @ weight + bias
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    chosen = labels[:, None] == np.arange(logits.shape[1])
    return -np.sum(np.where(chosen, log_p, 0)) / x.shape[0]


def descend(layers, gradients):
    return [(w - RATE * dw, b - RATE * db) for (w, b), (dw, db) in zip(layers, gradients)]


def mlp_forward(np, layers, x):
    """(input of every layer, probabilities)."""
    inputs = [x]
    for weight, bias in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weight + bias, 0))
    logits = inputs[-1] @ layers[-1][0] + layers[-1][1]
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return inputs, e / e.sum(axis=1, keepdims=True)


def mlp_step_numpy(np, layers, x, labels):
    """(loss, new layers), with the gradients written out by hand."""
    inputs, p = mlp_forward(np, layers, x)
    n = len(x)
    loss = -np.log(p[np.arange(n), labels]).mean()
    p[np.arange(n), labels] -= 1
    ct = p / np.float32(n)
    gradients = []
    for (weight, _), layer_input in zip(reversed(layers), reversed(inputs)):
        gradients.append((layer_input.T @ ct, ct.sum(axis=0)))
        ct = (ct @ weight.T) * (layer_input > 0)
    return loss, descend(layers, reversed(gradients))


def functional_step(np, value_and_grad):
    """The step by a transform of the loss: the same text for jitnet and JAX."""
    loss_and_gradients = value_and_grad(lambda layers, x, labels: mlp_loss(np, layers, x, labels))

    def step(layers, x, labels):
        loss, gradients = loss_and_gradients(layers, x, labels)
        return loss, descend(layers, gradients)
    return step


def mlp_step_jitnet(jitnet):
    import numpy
    return functional_step(numpy, jitnet.value_and_grad)


def mlp_step_jax(jax):
    return functional_step(jax.numpy, jax.value_and_grad)


def torch_loss(torch):
    functional = torch.nn.functional

    def loss(layers, x, labels):
        for weight, bias in layers[:-1]:
            x = torch.relu(torch.addmm(bias, x, weight))
        return functional.cross_entropy(torch.addmm(layers[-1][1], x, layers[-1][0]), labels)
    return loss


def mlp_step_torch(torch):
    """Eager autograd, and the update in place by torch's own multi-tensor operation."""
    loss_of = torch_loss(torch)

    def step(layers, x, labels):
        with torch.enable_grad():
            leaves = [array.detach().requires_grad_() for pair in layers for array in pair]
            loss = loss_of(list(zip(leaves[::2], leaves[1::2])), x, labels)
            gradients = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            torch._foreach_add_(leaves, gradients, alpha=-RATE)
        return loss.detach(), layers
    return step


def mlp_step_torch_compiled(torch):
    """Forward, backward and update in one compiled function."""
    gradients_and_loss = torch.func.grad_and_value(torch_loss(torch))

    def step(layers, x, labels):
        gradients, loss = gradients_and_loss(layers, x, labels)
        return loss, descend(layers, gradients)
    return step


def mlp_step_mxnet(mx):
    """The loss hybridized with static memory, recorded, and the update by MXNet's own multi-tensor operation."""
    class Loss(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x, labels, *arrays):
            for weight, bias in zip(arrays[:-2:2], arrays[1:-2:2]):
                x = F.npx.relu(F.np.dot(x, weight) + bias)
            log_p = F.npx.log_softmax(F.np.dot(x, arrays[-2]) + arrays[-1], axis=-1)
            return -F.np.mean(F.npx.pick(log_p, labels, axis=-1))

    block = Loss()
    block.hybridize(static_alloc=True, static_shape=True)

    def step(layers, x, labels):
        leaves = [array for pair in layers for array in pair]
        for leaf in leaves:
            if leaf.grad is None:
                leaf.attach_grad()
        with mx.autograd.record():
            loss = block(x, labels, *leaves)
        loss.backward()
        for leaf in leaves:
            mx.nd.sgd_update(leaf.as_nd_ndarray(), leaf.grad.as_nd_ndarray(), RATE, out=leaf.as_nd_ndarray())
        return loss, layers
    return step


MLP = {"run": mlp_step_numpy, "inputs": mlp_inputs, "tolerance": 1e-4, "in_place": ("torch", "mxnet"),
       "own": {"jitnet": mlp_step_jitnet, "jax": mlp_step_jax, "torch": mlp_step_torch,
               "torch.compile": mlp_step_torch_compiled, "mxnet": mlp_step_mxnet}}

# ---- 200 cells of a recurrent network


def rnn(np, xs, h, w, u, b):
    """The last state: h <- tanh(x w + h u + b), a cell per x."""
    for x in xs:
        h = np.tanh(x @ w + h @ u + b)
    return h


def rnn_by_scan(np, scan):
    def run(xs, h, w, u, b):
        last, _ = scan(lambda h, x: (np.tanh(x @ w + h @ u + b), None), h, xs)
        return last
    return run


def rnn_gradient(np, scan, value_and_grad):
    run = rnn_by_scan(np, scan)
    gradient = value_and_grad(lambda w, u, b, xs, h: np.sum(run(xs, h, w, u, b) ** 2), argnums=(0, 1, 2))
    return lambda xs, h, w, u, b: gradient(w, u, b, xs, h)


def rnn_jitnet(jitnet):
    import numpy
    return rnn_by_scan(numpy, jitnet.scan)


def rnn_gradient_jitnet(jitnet):
    import numpy
    return rnn_gradient(numpy, jitnet.scan, jitnet.value_and_grad)


def rnn_mxnet(mx):
    def run(xs, h, w, u, b):
        for x in xs:
            h = mx.np.tanh(mx.np.dot(x, w) + mx.np.dot(h, u) + b)
        return h
    return run


def rnn_torch(torch):
    """torch has the whole loop as one operation; its weights are the transposed ones."""
    def run(xs, h, w, u, b):
        weights = [w.T.contiguous(), u.T.contiguous(), b, torch.zeros_like(b)]
        return torch.rnn_tanh(xs, h[None], weights, True, 1, 0.0, False, False, False)[1][0]
    return run


def rnn_gradient_torch(torch):
    run = rnn_torch(torch)

    def gradient(xs, h, w, u, b):
        with torch.enable_grad():
            leaves = [array.detach().requires_grad_() for array in (w, u, b)]
            loss = (run(xs, h, *leaves) ** 2).sum()
            return loss.detach(), torch.autograd.grad(loss, leaves)
    return gradient


def rnn_gradient_numpy(np, xs, h, w, u, b):
    """(loss, (dw, du, db)) by hand."""
    states = [h]
    for x in xs:
        states.append(np.tanh(x @ w + states[-1] @ u + b))
    ct = 2 * states[-1]
    dw, du, db = np.zeros_like(w), np.zeros_like(u), np.zeros_like(b)
    for t in reversed(range(len(xs))):
        inner = ct * (1 - states[t + 1] * states[t + 1])
        dw, du, db = dw + xs[t].T @ inner, du + states[t].T @ inner, db + inner.sum(axis=0)
        ct = inner @ u.T
    return (states[-1] ** 2).sum(), (dw, du, db)


def rnn_inputs(rng, steps, batch, hidden):
    """Weights under which 200 steps of gradients do not vanish: below 1e-38 the time would be that of the processor's subnormal
    arithmetic, which JAX flushes to zero and NumPy and jitnet keep."""
    array = normal(lambda *d: (steps, batch, hidden), lambda *d: (batch, hidden), lambda *d: (hidden, hidden),
                   lambda *d: (hidden, hidden), lambda *d: (hidden,))(rng)
    xs, h, w, u, b = array
    return xs, h, w * 0.1, u * 0.25, b * 0.1


UNROLLED = ("torch.compile",)  # torch.compile has no loop: it compiles every step anew

CASES = [
    Case("three 4x4 arrays in, one out", CALL, three_in, normal(*[lambda *dims: dims] * 3),
         sizes={TEST: (4, 4), "small": (4, 4)}),
    *(Case(f"MLP 784-128-64-10, batch {batch}", STEP, sizes={TEST: (5, 12, 8, 6, 4), "step": (batch, 784, 128, 64, 10)}, **MLP)
      for batch in (64, 1024)),
    *(Case(f"200 RNN cells, hidden 32, batch {batch}", SCAN, rnn, rnn_inputs, skip=UNROLLED, tolerance=1e-4,
           sizes={TEST: (6, 2, 4), "loop": (200, batch, 32)},
           own={"jitnet": rnn_jitnet, "torch": rnn_torch, "mxnet": rnn_mxnet,
                "jax": lambda jax: rnn_by_scan(jax.numpy, jax.lax.scan)}) for batch in (1, 8)),
    Case("200 RNN cells, hidden 32, batch 8, gradient", SCAN, rnn_gradient_numpy, rnn_inputs, tolerance=1e-3,
         skip=(*UNROLLED, "mxnet"), sizes={TEST: (6, 2, 4), "loop": (200, 8, 32)},
         own={"jitnet": rnn_gradient_jitnet, "torch": rnn_gradient_torch,
              "jax": lambda jax: rnn_gradient(jax.numpy, jax.lax.scan, jax.value_and_grad)}),
]
