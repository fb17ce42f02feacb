"""Histograms of one and several coordinates, bins that ascend and descend, counts."""
import numpy as np
import pytest

import jitnet

RNG = np.random.default_rng(2)
V, W = RNG.normal(size=40), RNG.uniform(size=40)


def test_histograms(same):
    same(lambda v, w: [*np.histogram(v, np.int64(3)), *np.histogram(v, 4, weights=w), *np.histogram(v, 5, (-1, 1), True),
                       np.histogram_bin_edges(v, 7), *np.histogram([1, 2, 2, 5], np.sort(v))], V, W)
    same(lambda i: [*np.histogram(i, 3)], np.array([3, 3, 3]))


@pytest.mark.parametrize("options", [{}, {"bins": 3}, {"bins": [2, 4]}, {"bins": [np.array([-1.0, 0, 2]), 3]},
                                     {"bins": np.linspace(-1, 1, 5)}, {"range": [(-1, 1), (0, 1)]}, {"density": True}], ids=str)
def test_histograms_of_the_plane(options, same):
    same(lambda v, w: [*np.histogram2d(v, w, **options), np.histogram2d(v, w, weights=w, **options)[0]], V, W)


def test_histograms_of_space(same):
    points = RNG.normal(size=(30, 3))
    same(lambda p: [(h := np.histogramdd(p, (2, 3, 4)))[0], *h[1], np.histogramdd(p, 2, density=True)[0]], points)
    same(lambda p: np.histogramdd(p[:, 0], 3)[0], points)
    with pytest.raises(ValueError, match="2 bins for points with 3 coordinates"):
        jitnet.jit(lambda p: np.histogramdd(p, (2, 3)))(points)


@pytest.mark.parametrize("right", [False, True])
def test_edges_that_descend(right, same):
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    for edges in ([0.0, 0.5, 1.0], [1.0, 0.5, 0.0], [0.5], [1.0, 1.0, 0.0]):
        same(lambda x, e: np.digitize(x, e, right=right), x, np.array(edges))
        same(lambda x, edges=edges: np.digitize(x, edges, right=right), x)
