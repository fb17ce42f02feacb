"""checkpoint: memory for time. The values inside the function are not kept for its derivative but computed anew."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

from .. import tree
from ..ops.control import call
from ..tracebacks import cutting
from ..tracer import bind, current_trace
from .values import P, R, Staged, fresh_all, function_name, is_array, leaf_type, weak_class


def checkpoint(fun: Callable[P, R], static_argnums: int | Sequence[int] = ()) -> Callable[P, R]:
    """The same function, whose reverse derivative computes the values inside it again instead of keeping them.

    static_argnums: arguments that are passed on as they are; so are leaves that are no arrays, and Python integers and bools.

    >>> import jitnet, numpy as np
    >>> layer = jitnet.checkpoint(lambda x: np.sin(np.sin(x)))
    >>> float(jitnet.grad(layer)(0.0))
    1.0
    """
    name = function_name(fun)
    static = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    @cutting
    @wraps(fun, updated=())
    def function(*args, **kwargs):
        if current_trace() is None:
            return fun(*args, **kwargs)
        positions = {n % len(args) for n in static}
        leaves, structure = tree.flatten(([None if n in positions else a for n, a in enumerate(args)], kwargs))
        places = [k for k, x in enumerate(leaves) if is_array(x) and type(x) not in (bool, int)]

        def inner(*values):
            every = list(leaves)
            for k, x in zip(places, values):
                every[k] = x
            positional, named = tree.unflatten(structure, every)
            return fun(*(args[n] if n in positions else a for n, a in enumerate(positional)), **named)

        arrays = [leaves[k] for k in places]
        stage = Staged(inner, [leaf_type(x, name) for x in arrays], (tuple, (tree.LEAF,) * len(arrays)), name,
                       weak=[weak_class(x) for x in arrays], once=True)
        operands = [*fresh_all(arrays, stage.graph.input_types[:len(arrays)]), *stage.captured]
        return stage.out(bind(call, operands, {"graph": stage.graph, "kind": "checkpoint", "rule": None}))
    return function
