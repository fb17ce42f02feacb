"""Operators that put arrays together, take them apart, repeat and cut them."""
from __future__ import annotations

import math

import numpy as np

from .. import numpy as jnp
from ..errors import OperatorError
from ..types import normalize_axis
from . import infer
from .params import Bool, Enum, Float, Int, Shape
from .registry import operator


def _infer_concat(op, ins, outs, params):
    """Every axis but `dim` is shared; along `dim` sizes add up, and one that is missing is what the others leave."""
    known = next((s for s in (*ins, *outs) if s is not None), None)
    if known is None:
        return list(ins), list(outs)
    axis = normalize_axis(params.get("dim", 0), len(known), op.name)
    common = tuple([0] * len(known))
    for name, shape in zip((*op.inputs(params), "output"), (*ins, *outs)):
        if shape is not None:
            common = infer.merge(tuple([0 if k == axis else n for k, n in enumerate(shape)]), common, name)
    sizes = [s[axis] if s is not None else 0 for s in ins]
    total = outs[0][axis] if outs[0] is not None else 0
    if 0 not in sizes:
        total = infer.merge((total,), (sum(sizes),), "output")[0]
    elif total and sizes.count(0) == 1:
        sizes[sizes.index(0)] = total - sum(sizes)
    place = lambda n: (*common[:axis], n, *common[axis + 1:])
    return [place(n) for n in sizes], [place(total)]


@operator("Concat", params={"dim": Int(1)}, aliases=("concat",), variadic="num_args", shape_rule=_infer_concat)
def concat(*data, dim, num_args):
    """The arrays one after the other along the axis `dim`."""
    return np.concatenate(data, axis=dim)


def _infer_stack(op, ins, outs, params):
    """All inputs have one shape."""
    ins, outs = infer.forward(op, ins, outs, params)
    common = None
    for name, shape in zip(op.inputs(params), ins):
        common = infer.merge(shape, common, name)
    if common is not None:
        axis = normalize_axis(params["axis"], len(common) + 1, op.name)
        outs = [infer.merge(outs[0], (*common[:axis], len(ins), *common[axis:]), "output")]
    return [common] * len(ins), outs


@operator("stack", params={"axis": Int(0)}, variadic="num_args", shape_rule=_infer_stack)
def stack(*data, axis, num_args):
    """The arrays along a new axis."""
    return np.stack(data, axis=axis)


def _infer_split(op, ins, outs, params):
    """Equal parts have one shape, from which that of the whole follows, and the other way round."""
    (whole,), outs = infer.forward(op, ins, outs, params)
    part = None
    for k, shape in enumerate(outs):
        part = infer.merge(shape, part, f"output {k}")
    if part is not None:
        n, drop = params["num_outputs"], params["squeeze_axis"]
        axis = normalize_axis(params["axis"], len(part) + drop, op.name)
        sizes = (*part[:axis], n, *part[axis:]) if drop else (*part[:axis], part[axis] * n, *part[axis + 1:])
        whole = infer.merge(whole, sizes, "data")
    return [whole], [part] * len(outs)


@operator("SliceChannel", params={"num_outputs": Int(low=1), "axis": Int(1), "squeeze_axis": Bool(False)}, aliases=("split",),
          output_count=lambda p: p["num_outputs"], shape_rule=_infer_split, method=True)
def split(data, *, num_outputs, axis, squeeze_axis):
    """Equal parts along an axis; `squeeze_axis` drops that axis where parts have the size 1."""
    n = data.shape[normalize_axis(axis, data.ndim, "split")]
    if n % num_outputs:
        raise OperatorError(f"axis {axis} of size {n} cannot be split into {num_outputs} equal parts",
                            "`split_v2` takes the places to cut at")
    parts = np.split(data, num_outputs, axis=axis)
    return tuple([np.squeeze(p, axis) for p in parts] if squeeze_axis else parts)


def _cuts(params) -> int:
    return params["sections"] or len(params["indices"])


@operator("_split_v2", params={"indices": Shape(()), "axis": Int(1), "squeeze_axis": Bool(False), "sections": Int(0)},
          output_count=_cuts)
def split_v2(data, *, indices, axis, squeeze_axis, sections):
    """Parts along an axis: `sections` equal ones, or parts that begin at `indices` (the first of which is 0)."""
    parts = np.split(data, sections or list(indices[1:]), axis=axis)
    return tuple([np.squeeze(p, axis) for p in parts] if squeeze_axis else parts)


@operator("tile", params={"reps": Shape()}, growth=lambda arrays, p: arrays[0].size * math.prod(p["reps"]), method=True)
def tile(data, *, reps):
    """The array repeated as a whole, reps[k] times along axis k."""
    return np.tile(data, reps)


@operator("repeat", params={"repeats": Int(low=0), "axis": Int(None)}, growth=lambda arrays, p: arrays[0].size * p["repeats"],
          method=True)
def repeat(data, *, repeats, axis):
    """Each element repeated, along an axis or (axis None) of the flattened array."""
    return np.repeat(data, repeats, axis=axis)


@operator("reverse", params={"axis": Shape()}, aliases=("flip",), method=True)
def reverse(data, *, axis):
    """The elements in opposite order along axes."""
    return np.flip(data, axis)


@operator("slice", params={"begin": Shape(holes=True), "end": Shape(holes=True), "step": Shape((), holes=True)},
          aliases=("crop",), copies=True, method=True)
def slice_(data, *, begin, end, step):
    """data[begin:end:step], one number per axis; None is a bound that is not given."""
    step = (*step, *[None] * (len(begin) - len(step)))
    return data[tuple([slice(b, e, s) for b, e, s in zip(begin, end, step, strict=True)])]


@operator("slice_axis", params={"axis": Int(), "begin": Int(), "end": Int(optional=True)}, copies=True, method=True)
def slice_axis(data, *, axis, begin, end):
    """The elements from `begin` to `end` (None: the last) along one axis."""
    return data[(slice(None),) * normalize_axis(axis, data.ndim, "slice_axis") + (slice(begin, end),)]


@operator("slice_like", params={"axes": Shape(())}, same_dtype=False, copies=True, method=True)
def slice_like(data, shape_like, *, axes):
    """`data` cut to the sizes of `shape_like`, along `axes` or all axes."""
    chosen = [normalize_axis(a, data.ndim, "slice_like") for a in axes] or range(data.ndim)
    return data[tuple([slice(0, shape_like.shape[k]) if k in chosen else slice(None) for k in range(data.ndim)])]


@operator("_slice_assign", params={"begin": Shape(holes=True), "end": Shape(holes=True), "step": Shape((), holes=True)},
          aliases=("_crop_assign", "slice_assign"), copies=True, method=True)
def slice_assign(lhs, rhs, *, begin, end, step):
    """`lhs` with the elements of begin:end:step replaced by those of `rhs`."""
    step = (*step, *[None] * (len(begin) - len(step)))
    out = lhs.copy()
    out[tuple([slice(b, e, s) for b, e, s in zip(begin, end, step, strict=True)])] = rhs
    return out


@operator("_slice_assign_scalar", params={"scalar": Float(0.0), "begin": Shape(holes=True), "end": Shape(holes=True),
                                          "step": Shape((), holes=True)},
          aliases=("_crop_assign_scalar", "slice_assign_scalar"), shape_rule=infer.elementwise, copies=True, method=True)
def slice_assign_scalar(data, *, scalar, begin, end, step):
    """`data` with the elements of begin:end:step replaced by a number."""
    step = (*step, *[None] * (len(begin) - len(step)))
    out = data.copy()
    out[tuple([slice(b, e, s) for b, e, s in zip(begin, end, step, strict=True)])] = data.dtype.type(scalar)
    return out


@operator("Pad", params={"mode": Enum(choices=("constant", "edge", "reflect")), "pad_width": Shape(),
                         "constant_value": Float(0.0)}, aliases=("pad",), method=True)
def pad(data, *, mode, pad_width, constant_value):
    """The array with a border: pad_width = (before, after) of axis 0, then of axis 1, and so on."""
    pairs = list(zip(pad_width[::2], pad_width[1::2]))
    if mode == "constant":
        return np.pad(data, pairs, mode, constant_values=constant_value)
    return np.pad(data, pairs, mode)


@operator("diag", params={"k": Int(0), "axis1": Int(0), "axis2": Int(1)}, method=True)
def diag(data, *, k, axis1, axis2):
    """A matrix with a vector on its diagonal number k, or the diagonal of two axes, as the last axis."""
    return jnp.diag(data, k) if data.ndim == 1 else np.diagonal(data, k, axis1, axis2)


@operator("depth_to_space", params={"block_size": Int(low=1)}, method=True)
def depth_to_space(data, *, block_size):
    """(n, b*b*c, h, w) as (n, c, h*b, w*b): channels spread over blocks."""
    n, c, h, w = data.shape
    b = block_size
    x = data.reshape((n, b, b, c // (b * b), h, w))
    return np.transpose(x, (0, 3, 4, 1, 5, 2)).reshape((n, c // (b * b), h * b, w * b))


@operator("space_to_depth", params={"block_size": Int(low=1)}, method=True)
def space_to_depth(data, *, block_size):
    """(n, c, h*b, w*b) as (n, b*b*c, h, w): blocks gathered into channels."""
    n, c, h, w = data.shape
    b = block_size
    x = data.reshape((n, c, h // b, b, w // b, b))
    return np.transpose(x, (0, 3, 5, 1, 2, 4)).reshape((n, c * b * b, h // b, w // b))


@operator("shape_array", type_rule=lambda op, ins, outs, params: (list(ins), [np.dtype(np.int64)]), method=True)
def shape_array(data):
    """The sizes of the axes, as an int64 array."""
    return np.array(data.shape, np.int64)


@operator("size_array", type_rule=lambda op, ins, outs, params: (list(ins), [np.dtype(np.int64)]), method=True)
def size_array(data):
    """The number of elements, as an int64 array of one."""
    return np.array([math.prod(data.shape)], np.int64)


@operator("khatri_rao", variadic="num_args", aliases=("_khatri_rao",))
def khatri_rao(*data, num_args):
    """Column by column the Kronecker products of matrices with the same number of columns."""
    out = data[0]
    for x in data[1:]:
        out = (out[:, None, :] * x[None, :, :]).reshape((out.shape[0] * x.shape[0], x.shape[1]))
    return out if num_args > 1 else out.copy()
