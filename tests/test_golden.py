"""Printed Graphs, compared with the files in tests/golden. After a change that is meant:

    REFRESH_GOLDEN=1 python -m pytest tests/test_golden.py        then read the diff
"""
import os
import pathlib

import numpy as np
import pytest

import jitnet
from jitnet.printing import print_graph

GOLDEN = pathlib.Path(__file__).parent / "golden"
X, W, V = (np.zeros(shape, np.float32) for shape in ((8, 4), (4, 16), (16, 3)))
LABELS = np.zeros(8, np.int64)


@jitnet.jit
def softmax(x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


@jitnet.jit
def views(x):
    y = x.T[1:, ::2].reshape(-1)
    x[1:-1] = 0
    return np.concatenate([y, y[::-1]]), x + np.arange(4, dtype=np.float32)


@jitnet.jit
def statistics(x, labels):
    return x.mean(), x.std(axis=0), np.argmax(x, axis=1) == labels, np.clip(x, 0, 1), x[labels % 4]


def loss(params, x, labels):
    hidden = np.tanh(x @ params["w"])
    scores = hidden @ params["v"]
    log_total = np.log(np.sum(np.exp(scores), axis=1))
    return np.mean(log_total - scores[np.arange(8), labels])


step = jitnet.jit(jitnet.value_and_grad(loss))


@jitnet.jit
def recurrence(x):
    def cell(carry, row):
        return np.tanh(carry * 0.5 + row), np.sum(carry)
    return jitnet.scan(cell, x[0], x)


CASES = {"softmax": (softmax, X), "views": (views, X), "statistics": (statistics, X, LABELS),
         "training_step": (step, {"w": W, "v": V}, X, LABELS), "recurrence": (recurrence, X)}


@pytest.mark.parametrize("name", CASES)
def test_graph_as_traced(name):
    function, *args = CASES[name]
    path, text = GOLDEN / f"{name}.py", print_graph(function.graph(*args), sources=False) + "\n"
    if os.environ.get("REFRESH_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_no_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.py")} == set(CASES)
