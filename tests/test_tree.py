"""Containers are taken apart and put together again as they were."""
import collections
import dataclasses

import numpy as np
import pytest

import jitnet
from jitnet import tree

Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Params:
    w: object
    b: object = None


CONTAINERS = [1, None, (), [], {}, (1, [2, {"a": 3}]), {"b": 1, "a": 2}, {2: "x", "mixed": "y"}, Point(1, (2,)), Params(1, [2]),
              collections.OrderedDict(b=1, a=2), collections.defaultdict(list, b=1, a=[2])]


@pytest.mark.parametrize("container", CONTAINERS, ids=repr)
@pytest.mark.parametrize("ordered", [False, True])
def test_round_trip(container, ordered):
    leaves, structure = tree.flatten(container, ordered=ordered)
    again = tree.unflatten(structure, leaves)
    assert again == container and type(again) is type(container)
    assert tree.size(structure) == len(leaves)
    assert ordered or hash(structure) == hash(tree.structure(container))
    if isinstance(container, dict):
        assert list(again) == list(container)


def test_order_of_keys():
    one, two = {"b": 1, "a": 2}, {"a": 2, "b": 1}
    assert tree.structure(one) == tree.structure(two) and hash(tree.structure(one)) == hash(tree.structure(two))
    assert tree.flatten(one)[0] == tree.flatten(two)[0] == [2, 1]
    assert tree.flatten(one, ordered=True)[1] != tree.flatten(two, ordered=True)[1]
    assert list(tree.map(lambda x, y: x + y, one, two)) == ["b", "a"]


def test_compiled_code_sees_dicts_in_their_own_order():
    chain = jitnet.jit(lambda layers, x: [x := np.matmul(x, w) for w in layers.values()][-1])
    rng = np.random.default_rng(0)
    first, second, x = rng.standard_normal((2, 3)), rng.standard_normal((3, 4)), rng.standard_normal((1, 2))
    np.testing.assert_allclose(chain({"w2": first, "w10": second}, x), x @ first @ second)
    np.testing.assert_allclose(chain({"b": first, "a": second}, x), x @ first @ second)
    row = rng.standard_normal((1, 4))
    np.testing.assert_allclose(chain({"a": second.T, "b": first.T}, row), row @ second.T @ first.T)
    assert list(jitnet.jit(lambda x: {"z": x, "a": x})(x)) == ["z", "a"]


def test_registered_classes():
    class Box:
        def __init__(self, value, name):
            self.value, self.name = value, name

    tree.register(Box, lambda box: ([box.value], box.name), lambda name, children: Box(children[0], name))
    doubled = tree.map(lambda v: v * 2, [Box(3, "n"), 1])
    assert (doubled[0].value, doubled[0].name, doubled[1]) == (6, "n", 2)
    out = jitnet.jit(lambda box: Box(box.value + 1, box.name))(Box(np.ones(2), "n"))
    np.testing.assert_array_equal(out.value, 2)


def test_a_class_registered_after_it_was_a_leaf():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b
    pair = Pair(1, 2)
    assert tree.leaves([pair, pair]) == [pair, pair]
    tree.register(Pair, lambda p: ((p.a, p.b), None), lambda _, children: Pair(*children))
    assert tree.leaves([pair, pair]) == [1, 2, 1, 2]


def test_map_of_containers_that_differ():
    with pytest.raises(ValueError, match=r"tree.map: containers differ: \(\*, \*\) and \[\*\]"):
        tree.map(lambda x, y: x, (1, 2), [1])


def test_describe():
    assert tree.describe(tree.structure({"w": 1, "b": (None, [2])})) == "{'b': (None, [*]), 'w': *}"
    assert tree.describe(tree.structure((Params(1), Point(1, 2)))) == "(Params(*, None), Point(*, *))"
