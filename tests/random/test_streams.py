"""Streams of random numbers that should have nothing to do with one another, in pairs: correlation, and chi-square."""
import numpy as np
import pytest
from scipy import stats

import jitnet as mx
from jitnet import nd, sym
from jitnet.random import Generator

N = 4096


def rows(make, count=256, size=17):
    """`count` short draws, each second one beside the one before it."""
    x = np.stack([np.asarray(make(k, size)) for k in range(count)])
    return x[::2].ravel(), x[1::2].ravel()


def consecutive_draws():
    g = Generator(1)
    return rows(lambda k, n: g.random(n))


def neighbours_in_one_draw():
    x = Generator(2).random(2 * N)
    return x[::2], x[1::2]


def neighbouring_seeds():
    return rows(lambda k, n: Generator(k).random(n))


def children():
    family = Generator(3).split(256)
    return rows(lambda k, n: family[k].random(n))


def parent_and_child():
    g = Generator(4)
    child = g.split(2)[0]
    return g.random(N), child.random(N)


def child_and_grandchild():
    child = Generator(5).split(2)[1]
    return child.split(2)[0].random(N), child.random(N)


def consecutive_calls():
    mx.random.seed(6)
    return rows(lambda k, n: nd.random.uniform(shape=n).asnumpy())


def contexts():
    mx.random.seed(7)
    return nd.random.uniform(shape=N).asnumpy(), nd.random.uniform(shape=N, ctx=mx.cpu(1)).asnumpy()


def nodes_of_a_symbol():
    mx.random.seed(8)
    ex = sym.Group([sym.random.uniform(shape=(N,)) for _ in range(2)]).bind(mx.cpu(), {})
    return [x.asnumpy() for x in ex.forward()]


def forward_passes():
    mx.rnd.seed(9)
    ex = sym.random.uniform(shape=(N,)).bind(mx.cpu(), {})
    return ex.forward()[0].asnumpy(), ex.forward()[0].asnumpy()


STREAMS = [consecutive_draws, neighbours_in_one_draw, neighbouring_seeds, children, parent_and_child, child_and_grandchild,
           consecutive_calls, contexts, nodes_of_a_symbol, forward_passes]


@pytest.mark.parametrize("streams", STREAMS, ids=lambda f: f.__name__)
def test_streams_are_independent(streams):
    a, b = streams()
    assert stats.pearsonr(a, b).pvalue > 1e-3
    assert stats.chisquare(np.histogram2d(a, b, 8, [[0, 1], [0, 1]])[0].ravel()).pvalue > 1e-3
    assert not np.isin(a, b).mean() > 0.01
    assert stats.kstest(a, "uniform").pvalue > 1e-3


def test_the_tests_find_a_shared_stream():
    x = Generator(1).random(N)
    assert stats.pearsonr(x, np.sqrt(x)).pvalue < 1e-3
    assert stats.chisquare(np.histogram2d(x[:-1], x[:-1] / 2 + x[1:] / 2, 8, [[0, 1], [0, 1]])[0].ravel()).pvalue < 1e-3


def test_bits_are_fair():
    words = Generator(10).integers(-2**63, 2**63 - 1, 2**14, endpoint=True).view(np.uint64)
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).sum(0, dtype=np.int64)
    assert np.abs(bits - 2**13).max() < 4.5 * np.sqrt(2**12)
    for place in range(8):
        assert stats.chisquare(np.bincount(words.view(np.uint8)[place::8], minlength=256)).pvalue > 1e-4
