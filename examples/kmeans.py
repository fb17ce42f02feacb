"""k-means clustering of scikit-learn's 1,797 handwritten digits into ten groups, by plain NumPy code.

    python examples/kmeans.py

One round assigns every image to the nearest of ten centres and moves each centre to the mean of its images. All rounds together
are one compiled loop. No labels are used; at the end they tell how pure the groups are.
"""
import numpy as np

import jitnet
from side_by_side import compare


def nearest(x, centres):
    """The index of the nearest centre of each row of x, by the distance of every pair."""
    difference = x[:, None, :] - centres[None, :, :]
    return np.argmin(np.sum(difference * difference, axis=2), axis=1)


def move(x, centres):
    """The centres one round later; one that lost all its rows stays where it is."""
    member = nearest(x, centres)[:, None] == np.arange(centres.shape[0])
    member = member.astype(x.dtype)
    count = np.sum(member, axis=0)[:, None]
    return np.where(count > 0, (member.T @ x) / np.maximum(count, 1), centres)


def cluster(x, centres, rounds):
    """(centres, index of the nearest centre of each row) after some rounds, as NumPy runs it."""
    for _ in range(rounds):
        centres = move(x, centres)
    return centres, nearest(x, centres)


@jitnet.jit
def compiled_cluster(x, centres, rounds):
    """The same as one native loop."""
    centres = jitnet.fori_loop(0, rounds, lambda _, centres: move(x, centres), centres)
    return centres, nearest(x, centres)


def purity(groups, labels):
    """The share of images whose group's most frequent label is theirs."""
    return sum(np.bincount(labels[groups == k]).max() for k in np.unique(groups)) / len(labels)


def main(rounds=30, seed=0):
    from sklearn import datasets
    digits = datasets.load_digits()
    x = digits.data / 16
    centres = x[np.random.default_rng(seed).choice(len(x), 10, replace=False)]
    (centres, groups), difference = compare(f"{rounds} rounds of k-means on {x.shape[0]:,} x {x.shape[1]} numbers",
                                            cluster, compiled_cluster, x, centres, rounds, repeats=3)
    print(f"sizes of the groups: {np.bincount(groups, minlength=10).tolist()}; purity {purity(groups, digits.target):.3f}")
    return difference


if __name__ == "__main__":
    main()
