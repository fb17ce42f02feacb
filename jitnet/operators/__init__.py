"""The operators of MXNet 1.x: one record each, for `nd` and for `sym`. OPERATORS maps every name to its record."""
from .registry import KEY as KEY, OPERATORS as OPERATORS, Operator as Operator, find as find, operator as operator
from .dispatch import run as run
from . import infer, params, unary, binary, shape, joining, reduction, softmax, linalg, decompositions, indexing, order, init
from . import random, layers, outputs, optimizers, contrib
