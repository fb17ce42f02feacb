"""Random numbers: the cipher's known answers, the same stream on every road, the right distributions, honest errors."""
import copy
import pickle
import re

import numpy as np
import pytest
from scipy import stats

import jitnet
from jitnet import ops
from jitnet.errors import TraceTypeError, TraceValueError
from jitnet.random import Generator

WORDS = ((0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x13198A2E, 0x03707344))
COUNTERS = ((0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x243F6A88, 0x85A308D3))
ANSWERS = ((0x6B200159, 0x99BA4EFE), (0x1CB996FC, 0xBB002BE7), (0xC4923A9C, 0x483DF7A0))


def u64(pairs):
    return np.array([low | high << 32 for low, high in pairs], np.uint64)


def test_threefry_known_answers():
    """The vectors that the authors publish for 20 rounds (Random123, kat_vectors), by the NumPy body and by a kernel."""
    np.testing.assert_array_equal(ops.threefry(u64(WORDS), u64(COUNTERS)), u64(ANSWERS))
    np.testing.assert_array_equal(jitnet.jit(ops.threefry)(u64(WORDS), u64(COUNTERS)), u64(ANSWERS))


def test_threefry_compiled_is_its_body():
    rng = np.random.default_rng(0)
    key, counter = rng.integers(0, 2**64, (2, 37, 5), np.uint64, endpoint=False)
    np.testing.assert_array_equal(jitnet.jit(ops.threefry)(key, counter), ops.threefry.body(key, counter))


def test_threefry_takes_uint64_alone():
    with pytest.raises(TraceTypeError, match="threefry: key and counter are uint64"):
        jitnet.jit(ops.threefry)(np.ones(3, np.uint32), np.ones(3, np.uint64))


def draw_all(g, x):
    return g.random((2, 3)), g.normal(x, 2.0), g.integers(0, 7, size=4), g.standard_gamma(2.5, size=3), g.poisson(30.0, size=2)


def test_traced_and_eager_draws_agree():
    x = np.array([0.0, 10.0])
    outside, inside = Generator(7), Generator(7)
    found = jitnet.jit(draw_all)(inside, x)
    for a, b in zip(draw_all(outside, x), found, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(outside.state, inside.state)  # the compiled function has advanced it
    assert outside.state[1] == 6 + 2 + 4 + 3 + 2


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_stream_does_not_depend_on_threads_or_fusion(threads):
    before = jitnet.get_num_threads()
    jitnet.set_num_threads(threads)
    try:
        whole = Generator(3).random(100_000, dtype=np.float32)
        half = jitnet.jit(lambda g: g.random(100_000, dtype=np.float32) * 0.5)(Generator(3))
    finally:
        jitnet.set_num_threads(before)
    g = Generator(3)
    pieces = [g.random(n, dtype=np.float32) for n in (1, 999, 99_000)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    np.testing.assert_array_equal(half, whole * np.float32(0.5))


def test_inside_a_gradient_the_generator_advances():
    def loss(w, g):
        return (w * g.random(w.shape)).sum() + (w * g.random(w.shape)).sum()

    w = np.ones(3)
    expected = Generator(1)
    first, second = expected.random(3), expected.random(3)
    for function in (jitnet.jit(jitnet.grad(loss)), jitnet.grad(loss)):
        g = Generator(1)
        np.testing.assert_allclose(function(w, g), first + second)
        np.testing.assert_array_equal(g.state, expected.state)


def test_one_made_in_a_compiled_function_starts_anew_at_every_call():
    def draw(x):
        g = Generator(3)
        return x + g.random(4), g.integers(9), Generator(3).random()

    compiled = jitnet.jit(draw)
    for _ in range(2):
        for found, expected in zip(compiled(1.0), draw(1.0), strict=True):
            np.testing.assert_array_equal(found, expected)
    rounds = jitnet.scan(lambda c, _: (c, Generator(3).random()), 0.0, None, length=2)[1]
    np.testing.assert_array_equal(rounds, [Generator(3).random()] * 2)


def test_split_is_a_batch_for_vmap():
    g = Generator(5)
    children = g.split(4)
    assert len(children) == 4
    assert g.state[1] == 4
    rows = jitnet.vmap(lambda g: g.random(3))(children)
    np.testing.assert_array_equal(rows, [children[i].random(3) for i in range(4)])
    np.testing.assert_array_equal(rows, children.random(3))  # a batch draws for each of its generators
    assert len(np.unique(rows)) == rows.size
    drawn, advanced = jitnet.vmap(lambda g: (g.random(), g))(g.split(2))
    assert drawn.shape == (2,)
    assert isinstance(advanced, Generator)
    np.testing.assert_array_equal(advanced.state[:, 1], [1, 1])


def test_in_a_scan_it_is_part_of_the_carry():
    def step(g, _):
        return g, g.normal()

    expected = [g.normal() for g in [Generator(2)] for _ in range(5)]
    np.testing.assert_allclose(jitnet.scan(step, Generator(2), None, length=5)[1], expected, rtol=1e-15)


CONTINUOUS = [
    ("random", (), stats.uniform()),
    ("uniform", (2.0, 5.0), stats.uniform(2, 3)),
    ("standard_normal", (), stats.norm()),
    ("normal", (1.0, 2.0), stats.norm(1, 2)),
    ("standard_exponential", (), stats.expon()),
    ("exponential", (2.0,), stats.expon(0, 2)),
    ("standard_cauchy", (), stats.cauchy()),
    ("laplace", (1.0, 2.0), stats.laplace(1, 2)),
    ("rayleigh", (2.0,), stats.rayleigh(0, 2)),
    ("logistic", (1.0, 2.0), stats.logistic(1, 2)),
    ("gumbel", (1.0, 2.0), stats.gumbel_r(1, 2)),
    ("pareto", (3.0,), stats.lomax(3)),
    ("lognormal", (0.0, 0.5), stats.lognorm(0.5)),
    ("weibull", (1.5,), stats.weibull_min(1.5)),
    ("beta", (2.0, 0.5), stats.beta(2, 0.5)),
    ("standard_gamma", (2.5,), stats.gamma(2.5)),
    ("gamma", (0.3, 3.0), stats.gamma(0.3, 0, 3)),
    ("chisquare", (3.0,), stats.chi2(3)),
    ("standard_t", (4.0,), stats.t(4)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "parameters", "law"), CONTINUOUS, ids=[c[0] for c in CONTINUOUS])
def test_continuous_distributions(name, parameters, law, dtype):
    x = getattr(Generator(11), name)(*parameters, size=20_000, dtype=dtype)
    assert x.dtype == dtype
    assert stats.kstest(x.astype(float), law.cdf).pvalue > 1e-3


DISCRETE = [
    ("poisson", (3.0,), stats.poisson(3)),
    ("poisson", (50.0,), stats.poisson(50)),
    ("binomial", (10, 0.3), stats.binom(10, 0.3)),
    ("binomial", (200, 0.7), stats.binom(200, 0.7)),
    ("geometric", (0.3,), stats.geom(0.3)),
    ("integers", (3, 9), stats.randint(3, 9)),
    ("negative_binomial", (5, 0.4), stats.nbinom(5, 0.4)),
    ("integers", (-1, 2**40), None),
    ("bernoulli", (0.2,), stats.bernoulli(0.2)),
]


@pytest.mark.parametrize(("name", "parameters", "law"), DISCRETE, ids=[f"{c[0]}-{c[1][-1]}" for c in DISCRETE])
def test_discrete_distributions(name, parameters, law):
    n = 20_000
    x = getattr(Generator(13), name)(*parameters, size=n)
    if law is None:
        assert stats.kstest((x - parameters[0]) / (parameters[1] - parameters[0]), "uniform").pvalue > 1e-3
        return
    values, counts = np.unique(x.astype(np.int64), return_counts=True)
    expected = law.pmf(values) * n
    common = expected > 8
    found = np.append(counts[common], n - counts[common].sum())
    expected = np.append(expected[common], n - expected[common].sum())
    assert np.sum((found - expected) ** 2 / np.maximum(expected, 1)) < stats.chi2(len(found)).ppf(0.999)


def test_ends_of_the_intervals():
    """The extreme words give floats inside their interval: never 1.0, and never 0 where a logarithm follows."""
    from jitnet.random import stream

    words = np.array([0, 2**64 - 1, 2**32 - 1, 2**63], np.uint64)
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        closed, open_ = jitnet.jit(lambda w, dtype=dtype: (stream.uniform(w, dtype), stream.open_uniform(w, dtype)))(words)
        assert closed.min() == 0
        assert closed.max() < 1
        assert open_.min() > 0
        assert open_.max() < 1
        assert np.isfinite(jitnet.jit(lambda w, dtype=dtype: stream.normal(w, dtype))(words)).all()


def test_integers_reach_the_ends_of_their_dtype():
    g = Generator(0)
    x = g.integers(-2**63, 2**63 - 1, size=1000, endpoint=True)
    assert x.min() < -2**62
    assert x.max() > 2**62
    x = g.integers(0, 2**64 - 1, size=1000, dtype=np.uint64, endpoint=True)
    assert x.dtype == np.uint64
    assert x.max() > 2**63
    x = g.integers(0, 255, size=5000, dtype=np.uint8, endpoint=True)
    assert (x.min(), x.max()) == (0, 255)
    assert set(g.integers(np.array([0, 10]), np.array([2, 12]), size=(50, 2)).ravel()) == {0, 1, 10, 11}


def test_choice_permutation_and_shuffle():
    g = Generator(4)
    assert sorted(g.permutation(10)) == list(range(10))
    x = np.arange(12).reshape(4, 3)
    g.shuffle(x)
    assert sorted(x[:, 0]) == [0, 3, 6, 9]
    assert (np.diff(x, axis=1) == 1).all()
    assert len(set(g.choice(5, 5, replace=False))) == 5
    counts = np.bincount(g.choice(3, 3000, p=[0.1, 0.2, 0.7]), minlength=3)
    np.testing.assert_allclose(counts / 3000, [0.1, 0.2, 0.7], atol=0.04)
    assert set(g.choice(3, 2, replace=False, p=[0.5, 0.5, 0.0])) == {0, 1}
    counts = np.bincount(g.categorical(np.log([0.1, 0.2, 0.7]), size=3000), minlength=3)
    np.testing.assert_allclose(counts / 3000, [0.1, 0.2, 0.7], atol=0.04)


def test_vectors():
    g = Generator(6)
    points = g.dirichlet([1.0, 2.0, 3.0], 2000)
    np.testing.assert_allclose(points.sum(-1), 1)
    np.testing.assert_allclose(points.mean(0), [1 / 6, 2 / 6, 3 / 6], atol=0.02)
    counts = g.multinomial(10, [0.2, 0.3, 0.5], 2000)
    assert (counts.sum(-1) == 10).all()
    np.testing.assert_allclose(counts.mean(0), [2, 3, 5], atol=0.2)


def test_location_and_scale_are_differentiable():
    def f(loc, scale, g):
        return g.normal(loc, scale, 5).sum()

    z = Generator(9).standard_normal(5)
    loc, scale = jitnet.jit(jitnet.grad(f, argnums=(0, 1)))(1.0, 2.0, Generator(9))
    np.testing.assert_allclose([loc, scale], [5.0, z.sum()])


def test_copies_and_pickles_draw_the_same():
    g = Generator(2**200 + 1)
    copies = [pickle.loads(pickle.dumps(g)), copy.copy(g), copy.deepcopy(g), g.copy()]
    expected = g.random(3)
    for c in copies:
        np.testing.assert_array_equal(c.random(3), expected)
    seeds = [0, 1, -1, 2**64, 2**64 + 1, 2**128]
    assert len({float(Generator(s).random()) for s in seeds}) == len(seeds)
    assert Generator().random() != Generator().random()


def test_a_jitnet_state_gives_jitnet_arrays():
    g = Generator.from_state(jitnet.asarray(Generator(0).state))
    x = g.random(3)
    assert isinstance(x, jitnet.Array)
    np.testing.assert_array_equal(np.asarray(x), Generator(0).random(3))
    assert int(g.state[1]) == 3


def test_second_draw_compiles_nothing():
    g = Generator(0)
    g.random(1000, dtype=np.float32)
    before = jitnet.cache.info().compiles
    g.random(1000, dtype=np.float32)
    g.random(4321, dtype=np.float32)
    assert jitnet.cache.info().compiles == before


@pytest.mark.parametrize(("call", "message"), [
    (lambda g: Generator(1.5), "Generator: the seed is an integer, not a float"),
    (lambda g: g.normal(np.zeros(3), 1.0, 2), r"normal: size \(2,\) does not hold parameters of shape \(3,\)"),
    (lambda g: g.integers(5, 5), "integers: nothing of int64 lies from 5 up to 5"),
    (lambda g: g.integers(0, 300, dtype=np.uint8), "integers: 0 to 299 does not fit uint8"),
    (lambda g: g.choice(3, 4, replace=False), "choice: 4 of 3 elements without replacement"),
    (lambda g: g.choice(3, p=[0.5, 0.5]), r"choice: 3 elements and probabilities of shape \(2,\)"),
    (lambda g: len(g), "Generator: it is one generator, not a batch"),
    (lambda g: jitnet.jit(lambda x: x + g.random())(1.0), "Generator: one from outside is used while `<lambda>` is traced"),
    (lambda g: jitnet.vmap(lambda x: x + g.random())(np.ones(3)), "Generator: one from outside is used while"),
    (lambda g: jitnet.jit(lambda x: x + Generator().random())(1.0), "Generator: one without a seed is made while"),
])
def test_errors(call, message):
    g = Generator(0)
    before = g.state.copy()
    with pytest.raises((TraceTypeError, TraceValueError), match=message):
        call(g)
    np.testing.assert_array_equal(g.state, before)


def test_folding_in_and_children_do_not_commute():
    """Child a of the state of node b was once child b of that of node a: two layers of a symbol drew the same words."""
    from jitnet.random.stream import fold_in, stream

    state = np.array([0x0123456789ABCDEF, 0], np.uint64)
    seen = {stream(state, (1,)).word().item()}
    for number in range(12):
        node = stream(fold_in(state, number), (1,))
        seen |= {node.word().item(), *(node.child(k).word().item() for k in range(12)),
                 *(node.child(k).child(j).word().item() for k in range(2) for j in range(2))}
    assert len(seen) == 1 + 12 * (1 + 12 + 4)


BAD = [("poisson", (-1.0,), "lam must be between 0 and 9.2e+18, got -1.0"), ("poisson", (np.nan,), "lam must be between"),
       ("standard_gamma", (-2.0,), "shape must be at least 0, got -2.0"), ("binomial", (10, 1.5), "p must be between 0 and 1"),
       ("geometric", (0.0,), "p must be above 0 and at most 1, got 0.0"), ("normal", (0.0, -1.0), "scale must be at least 0"),
       ("gamma", (np.array([1.0, np.inf]), 1.0), "shape must be at least 0, got inf"), ("binomial", (-1, 0.5), "n must be")]


@pytest.mark.parametrize(("name", "parameters", "message"), BAD, ids=[f"{n}{p}" for n, p, _ in BAD])
def test_parameters_out_of_bounds(name, parameters, message):
    g = Generator(0)
    with pytest.raises(ValueError, match=re.escape(f"{name}: ") + ".*" + re.escape(message)):
        getattr(g, name)(*parameters, size=2)


def test_parameters_out_of_bounds_in_compiled_code():
    """Nothing can be raised there: NaN, and -1 for counts, in place of an endless search."""
    @jitnet.jit
    def draw(g, x):
        return g.standard_gamma(x), g.poisson(x), g.binomial(10, x), g.negative_binomial(x, 0.5)

    x = np.array([-3.0, np.nan, np.inf, 0.5])
    gamma, poisson, binomial, failures = draw(Generator(0), x)
    assert np.isnan(gamma).tolist() == [True, True, True, False]
    for counts in (poisson, binomial, failures):
        assert counts[:3].tolist() == [-1, -1, -1] and counts[3] >= 0
