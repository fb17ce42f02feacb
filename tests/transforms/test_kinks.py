"""The table of derivatives at kinks in docs/derivatives.md is what the rules give, in both modes, alone, vmapped and
compiled.
"""
import pathlib
import re

import numpy as np
import pytest

import jitnet
import jitnet.nn.functional

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "derivatives.md"
ROWS = re.findall(r"^\| `(.*x.*)` \| (-?[\d.]+) \| (\S+) \|$", PAGE.read_text(), re.MULTILINE)


def test_the_table_is_there():
    assert len(ROWS) > 30


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("expression, at, expected", ROWS, ids=lambda v: v)
def test_row(expression, at, expected):
    f = eval(f"lambda x: {expression}", {"np": np, "jitnet": jitnet})
    at, expected = float(at), float(expected)
    np.testing.assert_equal(float(jitnet.grad(f)(at)), expected)
    np.testing.assert_equal(float(jitnet.jvp(f, (at,), (1.0,))[1]), expected)
    np.testing.assert_equal(jitnet.vmap(jitnet.grad(f))(np.full(2, at)), np.full(2, expected))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rows_compiled_together():
    functions = [eval(f"lambda x: {expression}", {"np": np, "jitnet": jitnet}) for expression, _, _ in ROWS]
    points = [float(at) for _, at, _ in ROWS]
    found = jitnet.jit(lambda *xs: [jitnet.grad(f)(x) for f, x in zip(functions, xs)])(*points)
    np.testing.assert_equal([float(x) for x in found], [float(expected) for _, _, expected in ROWS])
