"""Symbol.gradient: a symbol whose outputs are the gradients of another one. It is one operator, which holds that symbol."""
from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from ..errors import OperatorError
from ..operators import KEY
from ..operators.params import Str
from ..operators.registry import operator
from ..tracer import trace
from ..transforms.values import or_zeros
from ..transforms.vjp import vjp_values
from ..types import ArrayType
from . import infer, make, program
from .symbol import Symbol, load_json

KEPT = 256
_parsed: dict[str, Symbol] = {}  # text -> symbol; those that were differentiated here know the lines of their nodes


def _symbol(params) -> Symbol:
    text = params["graph"]
    found = _parsed.get(text)
    return _keep(text, load_json(text)) if found is None else found


def _keep(text: str, symbol: Symbol) -> Symbol:
    if len(_parsed) >= KEPT:
        del _parsed[next(iter(_parsed))]
    _parsed[text] = symbol
    return symbol


def _variables(params) -> list:
    symbol = _symbol(params)
    return [*symbol._arguments(), *symbol._auxiliaries()]


def _wanted(params) -> list[int]:
    """Where the arguments that are differentiated by stand among the inputs."""
    names = [node.name for node in _symbol(params)._arguments()]
    return [names.index(name) for name in json.loads(params["wrt"])]


def _rule(inferred):
    """The rule of shapes, or of dtypes, by that of the symbol inside."""
    def rule(op, ins, outs, params):
        variables, wanted = _variables(params), _wanted(params)
        known = dict(zip(map(id, variables), ins))
        for k, out in zip(wanted, outs):
            if known[id(variables[k])] is None:
                known[id(variables[k])] = out
        found = inferred(_symbol(params)._entries, {place: value for place, value in known.items() if value is not None})
        ins = [found.get((id(node), 0)) for node in variables]
        return ins, [ins[k] for k in wanted]
    return rule


def _states(params) -> tuple[str, ...]:
    return tuple([node.name for node in _symbol(params)._auxiliaries()])


@operator("_gradient", params={"graph": Str(), "wrt": Str()}, mode=True, same_dtype=False,
          inputs=lambda params: tuple([node.name for node in _variables(params)]), aux_rule=_states,
          random=lambda params: program.draws(_symbol(params)._entries, params["training"]),
          output_count=lambda params: len(_wanted(params)), output_rule=lambda params: tuple(json.loads(params["wrt"])),
          shape_rule=_rule(infer.shapes), type_rule=_rule(infer.dtypes))
def gradient_of(*arrays, graph, wrt, training, key):
    """Gradients of the sum of a symbol's outputs."""
    params = {"graph": graph, "wrt": wrt}
    symbol, wanted = _symbol(params), _wanted(params)
    arguments, states = symbol._arguments(), symbol._auxiliaries()
    types = [ArrayType(a.shape, np.dtype(a.dtype)) for a in arrays]
    values = [*arrays] if key is None else [*arrays, key]
    function = program.body(symbol._entries, arguments, states, types, training, key is not None)
    inner = trace(function, [*types, *[KEY] * (key is not None)], "gradient").graph
    _, pullback = vjp_values(inner, values, [k in wanted and values[k].dtype.kind == "f" for k in range(len(values))])
    heads = len(symbol)
    found = pullback([np.ones(t.shape, t.dtype) if k < heads and t.dtype.kind == "f" else None
                      for k, t in enumerate(inner.output_types)])
    return (*[or_zeros(found[k], types[k]) for k in wanted], *arrays[len(arguments):])


def gradient(self: Symbol, wrt: str | Sequence[str], name: str | None = None) -> Symbol:
    """The gradients of the sum of all outputs by the arguments named `wrt`, as a symbol with one output for each.

    Losses (SoftmaxOutput, MakeLoss, ...) have the gradients that they define. The variables stay, so the gradients are bound to
    the arrays that the symbol is bound to, and can be differentiated again.

    >>> import jitnet as mx
    >>> x = mx.sym.Variable("x")
    >>> slope = (x ** 3).gradient("x")
    >>> slope.eval(x=mx.nd.array([2.0]))[0].asscalar(), slope.gradient("x").eval(x=mx.nd.array([2.0]))[0].asscalar()
    (np.float32(12.0), np.float32(12.0))
    """
    names = [wrt] if isinstance(wrt, str) else list(wrt)
    known = self.list_arguments()
    for each in names:
        if known.count(each) != 1:
            raise OperatorError(f"gradient: there is no argument {each!r}" if each not in known else
                                f"gradient: two arguments are named {each!r}", f"the arguments are {', '.join(known)}")
    if not names:
        raise OperatorError("gradient: no argument is named", f"the arguments are {', '.join(known)}")
    text = self.tojson()
    _keep(text, self)
    params = {"graph": text, "wrt": json.dumps(names)}
    variables = [Symbol([(node, 0)]) for node in _variables(params)]
    return make.apply(gradient_of, variables, params, name, hint="gradient")


Symbol.gradient = gradient
