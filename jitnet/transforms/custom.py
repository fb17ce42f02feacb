"""Functions with derivatives of the user's own: custom_vjp and custom_jvp.

Outside a trace the function just runs; inside, it becomes a `call` equation that holds its Graph and its rules.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Generic

from .. import tree
from ..errors import DerivativeError, TraceTypeError
from ..ops.control import call
from ..tracer import bind, current_trace
from .rules import JvpRule, VjpRule, merge
from .values import P, R, Staged, fresh_all, function_name, is_array, leaf_type, weak_class


class _Custom(Generic[P, R]):
    """A function with derivatives of its own. Abstract: custom_vjp and custom_jvp."""

    kind = ""

    def __init__(self, fun: Callable[P, R], nondiff_argnums: int | Sequence[int] = ()):
        update_wrapper(self, fun, updated=())
        self.fun, self.name = fun, function_name(fun)
        self.nondiff = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)

    def __get__(self, instance, owner=None):
        return self if instance is None else _Method(self, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs:
            args = self._positional(args, kwargs)
        if current_trace() is None:
            return self.fun(*args)
        self._check()
        nondiff = {n % len(args): args[n] for n in self.nondiff}
        leaves, structure = tree.flatten(tuple(a for n, a in enumerate(args) if n not in nondiff))
        fixed = {k: x for k, x in enumerate(leaves) if not is_array(x) or type(x) in (bool, int)}  # passed on as they are
        arrays = [x for k, x in enumerate(leaves) if k not in fixed]

        def function(*values):
            return self.fun(*merge(nondiff, structure, fixed, values))

        inner = Staged(function, [leaf_type(x, self.name) for x in arrays], (tuple, (tree.LEAF,) * len(arrays)), self.name,
                       weak=[weak_class(x) for x in arrays])
        rule = self._rule(nondiff, structure, fixed, len(arrays), inner.out_structure)
        operands = [*fresh_all(arrays, inner.graph.input_types[:len(arrays)]), *inner.captured]
        return inner.out(bind(call, operands, {"graph": inner.graph, "kind": self.kind, "rule": rule}))

    def _positional(self, args, kwargs) -> tuple:
        try:
            bound = inspect.signature(self.fun).bind(*args, **kwargs)
        except TypeError as error:
            raise TraceTypeError(f"{self.kind}: `{self.name}`: {error}", "call it as its signature says") from None
        bound.apply_defaults()
        if bound.kwargs:
            raise TraceTypeError(f"{self.kind}: `{self.name}` is called with keyword-only arguments {sorted(bound.kwargs)}",
                                 "its rules take positional arguments: make them positional")
        return bound.args

    def _check(self):
        raise TypeError(f"{type(self).__name__} is abstract")


class _Method:
    """A custom function bound to an instance, which is passed on as it is (no derivative with respect to it)."""

    def __init__(self, custom: _Custom, instance):
        self.custom, self.instance = custom, instance
        update_wrapper(self, custom.fun, updated=())

    def __call__(self, *args, **kwargs):
        return self.custom(self.instance, *args, **kwargs)


class custom_vjp(_Custom[P, R]):
    """A function whose reverse derivative is the user's own, set by `defvjp(fwd, bwd)`.

    fwd(*args) returns (output, residuals); bwd(residuals, cotangent of the output) a tuple with one cotangent per argument
    (None: zero). nondiff_argnums: arguments that are passed on as they are, in front of bwd's others. It has no forward
    derivative.

    >>> import jitnet, numpy as np
    >>> @jitnet.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1, 1),))
    >>> float(jitnet.grad(lambda x: clip_gradient(x) * 5)(2.0))
    1.0
    """

    kind = "custom_vjp"

    def __init__(self, fun: Callable[P, R], nondiff_argnums: int | Sequence[int] = ()):
        super().__init__(fun, nondiff_argnums)
        self.fwd = self.bwd = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Sets the rules: fwd(*args) -> (output, residuals), bwd(residuals, ct) -> cotangents."""
        self.fwd, self.bwd = fwd, bwd

    def _check(self):
        if self.fwd is None:
            raise DerivativeError(f"custom_vjp: `{self.name}` has no rules", f"set them with `{self.name}.defvjp(fwd, bwd)`")

    def _rule(self, nondiff, structure, fixed, count, out_structure):
        return VjpRule(self, nondiff, structure, fixed, count, out_structure)


class custom_jvp(_Custom[P, R]):
    """A function whose derivative is the user's own, set by `defjvp(rule)`: it serves forward and reverse mode.

    rule(primals, tangents), two tuples with one entry per argument, returns (output, tangent of the output), the tangent linear
    in the tangents. nondiff_argnums: arguments that are passed on as they are, in front of the rule's others.

    >>> import jitnet, numpy as np
    >>> @jitnet.custom_jvp
    ... def softplus(x):
    ...     return np.log(1 + np.exp(x))
    >>> @softplus.defjvp
    ... def softplus_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return softplus(x), t / (1 + np.exp(-x))
    >>> float(jitnet.grad(softplus)(0.0))
    0.5
    """

    kind = "custom_jvp"

    def __init__(self, fun: Callable[P, R], nondiff_argnums: int | Sequence[int] = ()):
        super().__init__(fun, nondiff_argnums)
        self.rule = None

    def defjvp(self, rule: Callable) -> Callable:
        """Sets the rule: rule(primals, tangents) -> (output, tangent); returns it."""
        self.rule = rule
        return rule

    def defjvps(self, *rules: Callable | None) -> None:
        """Sets one rule per argument: rule(tangent, output, *args) -> its term of the tangent of the output (None: zero)."""
        def rule(primals, tangents):
            out = self(*primals)
            terms = [r(t, out, *primals) for r, t in zip(rules, tangents) if r is not None]
            total = terms[0] if terms else tree.map(lambda x: x * 0, out)
            for term in terms[1:]:
                total = tree.map(lambda a, b: a + b, total, term)
            return out, total

        self.rule = rule

    def _check(self):
        if self.rule is None:
            raise DerivativeError(f"custom_jvp: `{self.name}` has no rule", f"set it with `{self.name}.defjvp(rule)`")

    def _rule(self, nondiff, structure, fixed, count, out_structure):
        return JvpRule(self, nondiff, structure, fixed, count, out_structure)
