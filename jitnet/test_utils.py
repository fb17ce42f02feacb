"""MXNet's `test_utils`: comparisons of arrays, random ones, and checks of symbols against finite differences and NumPy.

>>> import jitnet as mx
>>> from jitnet.test_utils import check_numeric_gradient, check_symbolic_forward
>>> x = mx.sym.Variable("x")
>>> check_numeric_gradient(mx.sym.tanh(x), [np.array([[0.5, -1.0]])])
>>> _ = check_symbolic_forward(x * x, [np.array([2.0, 3.0])], [np.array([4.0, 9.0])])

Checks raise AssertionError, with what differs and where. Arrays are NumPy's or NDArrays; random ones come from `np.random`.
"""
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import nd
from . import sym as symbols
from .executor import Executor
from .later import module_getattr
from .nd import NDArray
from .sym import Symbol
from .sym.program import structure
from .testing_arrays import (
    almost_equal,
    assert_almost_equal,
    assert_almost_equal_ignore_nan,
    assert_exception,
    collapse_sum_like,
    default_atols,
    default_context,
    default_dtype,
    default_numeric_eps,
    default_rtols,
    environment,
    get_tolerance,
    get_tols,
    list_gpus,
    np_reduce,
    plain,
    rand_ndarray,
    rand_shape_2d,
    rand_shape_3d,
    rand_shape_nd,
    random_arrays,
    random_sample,
    random_uniform_arrays,
    retry,
    same,
    same_array,
    set_default_context,
)
from .testing_statistics import (
    assign_each,
    assign_each2,
    chi_square_check,
    compare_ndarray_tuple,
    compare_optimizer,
    create_2d_tensor,
    create_vector,
    gen_buckets_probs_with_ppf,
    get_atol,
    get_etol,
    get_rtol,
    mean_check,
    rand_coord_2d,
    var_check,
    verify_generator,
)

__all__ = ["almost_equal", "assert_almost_equal", "assert_almost_equal_ignore_nan", "assert_exception", "assign_each",
           "assign_each2", "check_consistency", "check_numeric_gradient", "check_speed", "check_symbolic_backward",
           "check_symbolic_forward", "chi_square_check", "collapse_sum_like", "compare_ndarray_tuple", "compare_optimizer",
           "create_2d_tensor", "create_vector", "default_atols", "default_context", "default_dtype", "default_numeric_eps",
           "default_rtols", "environment", "gen_buckets_probs_with_ppf", "get_atol", "get_etol", "get_rtol", "get_tolerance",
           "get_tols", "list_gpus", "mean_check", "np_reduce", "numeric_grad", "rand_coord_2d", "rand_ndarray",
           "rand_shape_2d", "rand_shape_3d", "rand_shape_nd", "random_arrays", "random_sample", "random_uniform_arrays",
           "retry", "same", "same_array", "same_symbol_structure", "set_default_context", "simple_forward", "var_check",
           "verify_generator"]


def same_symbol_structure(sym1: Symbol, sym2: Symbol) -> bool:
    """Whether two symbols compute the same of the same, whatever their names."""
    return structure(sym1._entries) == structure(sym2._entries)


def simple_forward(sym: Symbol, ctx=None, is_train: bool = False, **inputs):
    """The outputs of a symbol on NumPy arrays given by name, as NumPy arrays: one, or a list."""
    ctx = ctx or default_context()
    ex = sym.bind(ctx, {name: nd.array(value, ctx=ctx) for name, value in inputs.items()})
    outputs = [out.asnumpy() for out in ex.forward(is_train=is_train)]
    return outputs[0] if len(outputs) == 1 else outputs


def _by_name(what: str, names: Sequence[str], given, ctx, dtype) -> dict[str, NDArray]:
    """Name -> NDArray of `dtype` ("asnumpy": the array's own), from a list in the order of the names, or a dict."""
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(f"the keys of {what} are {', '.join(sorted(given))}; the symbol's are {', '.join(sorted(names))}")
    elif len(given) != len(names):
        raise ValueError(f"{what} has {len(given)} arrays for {len(names)} names: {', '.join(names)}")
    else:
        given = dict(zip(names, given))
    return {name: value if isinstance(value, NDArray) else _array(value, ctx, dtype) for name, value in given.items()}


def _array(value, ctx, dtype) -> NDArray:
    value = np.asarray(value)
    return nd.array(value, ctx=ctx, dtype=value.dtype if dtype == "asnumpy" else dtype)


def _states(sym: Symbol, aux_states, ctx, dtype) -> dict[str, NDArray] | None:
    return None if aux_states is None else _by_name("aux_states", sym.list_auxiliary_states(), aux_states, ctx, dtype)


def numeric_grad(executor: Executor, location: Mapping[str, np.ndarray], aux_states: Mapping[str, np.ndarray] | None = None,
                 eps: float = 1e-4, use_forward_train: bool = True, dtype=np.float32) -> dict[str, np.ndarray]:
    """The gradients of the sum of an executor's first output, by central differences of width `eps`.

    location: name -> NumPy array, the point. aux_states: the states before each forward.
    """
    def output() -> np.ndarray:
        for name, value in (aux_states or {}).items():
            executor.aux_dict[name][:] = value
        return executor.forward(is_train=use_forward_train)[0].asnumpy().astype(np.float64)

    arrays = executor.arg_dict
    for name, value in location.items():
        arrays[name][:] = np.asarray(value, dtype)
    grads = {}
    for name, value in location.items():
        value = np.array(value, dtype)
        grads[name] = np.zeros(value.shape, dtype)
        for k in range(value.size):
            here = value.flat[k]
            ends = []
            for step in (eps / 2, -eps / 2):
                value.flat[k] = here + step
                arrays[name][:] = value
                ends.append(output())
            value.flat[k] = here
            grads[name].flat[k] = (ends[0] - ends[1]).sum() / eps
        arrays[name][:] = value
    return grads


def check_numeric_gradient(sym: Symbol, location, aux_states=None, numeric_eps=None, rtol=None, atol=None, grad_nodes=None,
                           use_forward_train: bool = True, ctx=None, grad_stype_dict=None, dtype=np.float32) -> None:
    """AssertionError unless the gradients of a symbol's output, weighted at random, agree with finite differences.

    location: values of all arguments, in a list or by name. grad_nodes: the arguments whose gradients are checked (all), or a
    dict of their grad_req. Heads that are losses ignore the weights: their gradients do not pass.
    """
    ctx = ctx or default_context()
    location = _by_name("location", sym.list_arguments(), location, ctx, dtype)
    states = _states(sym, aux_states, ctx, dtype)
    requests = dict(grad_nodes) if isinstance(grad_nodes, Mapping) else dict.fromkeys(grad_nodes or location, "write")
    shape = sym.infer_shape(**{name: value.shape for name, value in location.items()})[1][0]
    weights = nd.array(np.random.uniform(0.1, 1.1, shape), ctx=ctx, dtype=dtype)  # none so small that the differences are lost
    before = {name: np.random.normal(0, 0.01, location[name].shape).astype(dtype) for name in requests}
    point = {name: value.asnumpy() for name, value in location.items()}
    start = None if states is None else {name: value.asnumpy() for name, value in states.items()}
    weighted = symbols.make_loss(sym * symbols.Variable("__random_proj"))
    ex = weighted.bind(ctx, {**location, "__random_proj": weights}, {n: _array(g, ctx, dtype) for n, g in before.items()},
                       requests, states)
    ex.forward(is_train=True)
    ex.backward()
    found = {name: ex.grad_dict[name].asnumpy() if requests[name] != "null" else before[name] for name in requests}
    eps = get_tolerance(ex.outputs[0], numeric_eps, default_numeric_eps())
    expected = numeric_grad(ex, point, start, eps, use_forward_train, dtype)
    for name, request in requests.items():
        wanted = {"write": expected[name], "add": expected[name] + before[name], "null": before[name]}[request]
        assert_almost_equal(wanted, found[name], rtol, atol, (f"NUMERICAL_{name}", f"BACKWARD_{name}"))


def check_symbolic_forward(sym: Symbol, location, expected, rtol=None, atol=None, aux_states=None, ctx=None,
                           equal_nan: bool = False, dtype=np.float32) -> list[NDArray]:
    """The outputs of a symbol; AssertionError unless they are the expected ones (a list, or a dict by name of the output)."""
    ctx = ctx or default_context()
    names = sym.list_outputs()
    wanted = [expected[name] for name in names] if isinstance(expected, Mapping) else list(expected)
    location = _by_name("location", sym.list_arguments(), location, ctx, dtype)
    ex = sym.bind(ctx, location, aux_states=_states(sym, aux_states, ctx, dtype))
    for name, want, out in zip(names, wanted, ex.forward(is_train=False), strict=True):
        assert_almost_equal(want, out, rtol, atol, (f"EXPECTED_{name}", f"FORWARD_{name}"), equal_nan)
    return ex.outputs


def check_symbolic_backward(sym: Symbol, location, out_grads, expected, rtol=None, atol=None, aux_states=None, grad_req="write",
                            ctx=None, grad_stypes=None, equal_nan: bool = False, dtype=np.float32) -> dict[str, NDArray]:
    """The gradients of a symbol, by name; AssertionError unless they are the expected ones (in the order of the arguments, or
    by name). out_grads: gradients of the outputs, in a list or by name; None for losses. grad_req: write, add or null, for all
    or each: what was in the arrays before is random."""
    ctx = ctx or default_context()
    names = sym.list_arguments()
    expected = dict(expected) if isinstance(expected, Mapping) else dict(zip(names, expected))
    before = {name: _array(np.random.standard_normal(np.shape(value)), ctx, value.dtype if dtype == "asnumpy" else dtype)
              for name, value in expected.items()}
    grads = {name: value.copy() for name, value in before.items()}
    requests = dict(grad_req) if isinstance(grad_req, Mapping) else \
        dict.fromkeys(names, grad_req) if isinstance(grad_req, str) else dict(zip(names, grad_req))
    ex = sym.bind(ctx, _by_name("location", names, location, ctx, dtype), grads, requests, _states(sym, aux_states, ctx, dtype))
    ex.forward(is_train=True)
    if isinstance(out_grads, Mapping):
        out_grads = {name: _array(plain(g), ctx, dtype) for name, g in out_grads.items()}
    elif out_grads is not None:
        out_grads = [g if g is None else _array(plain(g), ctx, dtype) for g in out_grads]
    ex.backward(out_grads)
    for name, want in expected.items():
        found = grads[name].asnumpy() - (before[name].asnumpy() if requests[name] == "add" else 0)
        want = before[name] if requests[name] == "null" else want
        found = found.astype(grads[name].dtype)
        assert_almost_equal(want, found, rtol, atol, (f"EXPECTED_{name}", f"BACKWARD_{name}"), equal_nan)
    return grads


def check_consistency(sym: Symbol | Sequence[Symbol], ctx_list: Sequence[Mapping], scale: float = 1.0, grad_req="write",
                      arg_params: dict | None = None, aux_params: dict | None = None, rtol=None, atol=None,
                      raise_on_err: bool = True, ground_truth: Mapping | None = None, equal_nan: bool = False,
                      use_uniform: bool = False, rand_type=np.float64) -> dict[str, np.ndarray]:
    """The outputs and gradients of the most precise run; AssertionError unless all runs have the same, on the same arguments.

    ctx_list: for each run what `simple_bind` takes, {"ctx": ..., name: shape, "type_dict": {name: dtype}}. arg_params,
    aux_params: values by name, else random ones with standard deviation `scale` (uniform ones) and zeros. raise_on_err: without
    it, what differs is printed.
    """
    syms = [sym] * len(ctx_list) if isinstance(sym, Symbol) else list(sym)
    if len(syms) != len(ctx_list) or len(syms) < 2:
        raise ValueError(f"check_consistency: {len(syms)} symbols for {len(ctx_list)} runs; it compares two or more")
    runs = [s.simple_bind(grad_req=grad_req, **ctx) for s, ctx in zip(syms, ctx_list)]
    values = dict(arg_params or {})
    for name, array in sorted(runs[0].arg_dict.items()):
        draw = np.random.uniform(-0.92 * scale, 0.92 * scale, array.shape) if use_uniform else \
            np.random.normal(0, scale, array.shape)
        values.setdefault(name, draw.astype(rand_type))
    states = {name: (aux_params or {}).get(name, 0) for name in runs[0].aux_dict}
    best = int(np.argmax([np.dtype(ex.outputs[0].dtype).itemsize for ex in runs]))
    coarse = min([out.dtype for ex in runs for out in ex.outputs], key=lambda d: np.dtype(d).itemsize)

    def results(ex: Executor, training: bool, heads) -> dict[str, np.ndarray]:
        for arrays, source in ((ex.arg_dict, values), (ex.aux_dict, states)):
            for name, array in arrays.items():
                array[:] = source[name]
        found = dict(zip(ex.output_dict, [out.asnumpy() for out in ex.forward(is_train=training)]))
        if training:
            for grad in ex.grad_arrays:
                if grad is not None:
                    grad[:] = 0
            heads = heads or [out.astype(coarse).asnumpy() for out in ex.outputs]
            ex.backward([_array(h, ex._ctx, out.dtype) for h, out in zip(heads, ex.outputs)])
            found |= {name: g.asnumpy() for name, g in ex.grad_dict.items() if g is not None}
        return found

    for training in (False, True) if grad_req != "null" else (False,):
        truth = results(runs[best], training, None)
        heads = [truth[name].astype(coarse) for name in runs[best].output_dict]
        truth |= ground_truth or {}
        for number, ex in enumerate(runs):
            if number != best or ground_truth:
                _compare(results(ex, training, heads), truth, number, best, rtol, atol, equal_nan, raise_on_err)
    return truth


def _compare(found: Mapping, reference: Mapping, number: int, best: int, rtol, atol, equal_nan: bool,
             raise_on_err: bool) -> None:
    """Compares one run with the reference, with the tolerances of the least precise array of the run."""
    coarse = min([v.dtype for v in found.values()], key=lambda d: d.itemsize)
    for name, value in found.items():
        tols = get_tols(np.zeros((), coarse), reference[name], rtol, atol)
        try:
            assert_almost_equal(value, reference[name], *tols, (f"{name} of run {number}", f"{name} of run {best}"), equal_nan)
        except AssertionError as error:
            if raise_on_err:
                raise
            print(error)


def check_speed(sym: Symbol, location: Mapping[str, np.ndarray] | None = None, ctx=None, N: int = 20, grad_req="write",
                typ: str = "whole", **kwargs) -> float:
    """Seconds of one forward and backward pass (typ "whole") or of one forward pass ("forward"), the mean of N.

    location: values of the arguments, else they are normal numbers with the shapes that `kwargs` gives by name.
    """
    if typ not in ("whole", "forward"):
        raise ValueError('typ can only be "whole" or "forward".')
    shapes = kwargs if location is None else {name: value.shape for name, value in location.items()}
    ex = sym.simple_bind(ctx=ctx or default_context(), grad_req=grad_req, **shapes)
    if location is None:
        location = {name: np.random.standard_normal(array.shape) for name, array in ex.arg_dict.items()}
    for name, value in location.items():
        ex.arg_dict[name][:] = value.astype(ex.arg_dict[name].dtype)

    def step() -> None:
        ex.forward(is_train=typ == "whole")
        if typ == "whole":
            ex.backward(ex.outputs)

    step()  # compiles
    nd.waitall()
    start = time.perf_counter()
    for _ in range(N):
        step()
    nd.waitall()
    return (time.perf_counter() - start) / N


if not TYPE_CHECKING:
    __getattr__ = module_getattr(__name__)
