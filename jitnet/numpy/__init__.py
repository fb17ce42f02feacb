"""The NumPy-shaped namespace: NumPy's names (and those of the array API standard) for traced values, jitnet arrays and NumPy
arrays.

Ufuncs are NumPy's own objects, which reach jitnet through `__array_ufunc__`. The other functions compute with jitnet where
an argument is traced and hand over to NumPy where none is; the creating ones write equations while a function is traced.

>>> import jitnet, numpy as np, jitnet.numpy as jnp
>>> jitnet.jit(lambda x: jnp.where(x > 1, jnp.sqrt(x), 0.0).sum())(np.array([1.0, 4.0, 9.0]))
np.float64(5.0)
"""
from types import ModuleType as _ModuleType

from ml_dtypes import bfloat16 as bfloat16
from numpy import bool as bool, bool_ as bool_, float16 as float16, float32 as float32, float64 as float64
from numpy import int16 as int16, int32 as int32, int64 as int64, int8 as int8
from numpy import uint16 as uint16, uint32 as uint32, uint64 as uint64, uint8 as uint8
from numpy import dtype as dtype, iinfo as iinfo, isdtype as isdtype, issubdtype as issubdtype
from numpy import can_cast as can_cast, e as e, inf as inf, nan as nan, newaxis as newaxis
from numpy import pi as pi

from numpy import abs as abs, absolute as absolute, acos as acos, acosh as acosh, add as add, arccos as arccos
from numpy import arccosh as arccosh, arcsin as arcsin, arcsinh as arcsinh, arctan as arctan, arctan2 as arctan2
from numpy import arctanh as arctanh, asin as asin, asinh as asinh, atan as atan, atan2 as atan2, atanh as atanh
from numpy import bitwise_and as bitwise_and, bitwise_count as bitwise_count, bitwise_invert as bitwise_invert
from numpy import bitwise_left_shift as bitwise_left_shift, bitwise_not as bitwise_not, bitwise_or as bitwise_or
from numpy import bitwise_right_shift as bitwise_right_shift, bitwise_xor as bitwise_xor, cbrt as cbrt, ceil as ceil
from numpy import conj as conj, conjugate as conjugate, copysign as copysign, cos as cos, cosh as cosh, deg2rad as deg2rad
from numpy import degrees as degrees, divide as divide, divmod as divmod, equal as equal, exp as exp, exp2 as exp2
from numpy import expm1 as expm1, fabs as fabs, float_power as float_power, floor as floor, floor_divide as floor_divide
from numpy import fmax as fmax, fmin as fmin, fmod as fmod, gcd as gcd, greater as greater, greater_equal as greater_equal
from numpy import heaviside as heaviside, hypot as hypot, invert as invert, isfinite as isfinite, isinf as isinf
from numpy import isnan as isnan, lcm as lcm, ldexp as ldexp, left_shift as left_shift, less as less, less_equal as less_equal
from numpy import log as log, log10 as log10, log1p as log1p, log2 as log2, logaddexp as logaddexp, logaddexp2 as logaddexp2
from numpy import logical_and as logical_and, logical_not as logical_not, logical_or as logical_or, logical_xor as logical_xor
from numpy import matmul as matmul, matvec as matvec, maximum as maximum, minimum as minimum, mod as mod, modf as modf
from numpy import multiply as multiply, negative as negative, nextafter as nextafter, not_equal as not_equal
from numpy import positive as positive, pow as pow, power as power, rad2deg as rad2deg, radians as radians
from numpy import reciprocal as reciprocal, remainder as remainder, right_shift as right_shift, rint as rint, sign as sign
from numpy import signbit as signbit, sin as sin, sinh as sinh, spacing as spacing, sqrt as sqrt, square as square
from numpy import subtract as subtract
from numpy import tan as tan, tanh as tanh, true_divide as true_divide, trunc as trunc, vecdot as vecdot, vecmat as vecmat

from .elementwise import angle as angle, clip as clip, fix as fix, isclose as isclose, nan_to_num as nan_to_num, round as round
from .elementwise import select as select, sinc as sinc, where as where, real as real, imag as imag
from .reductions import all as all, any as any, argmax as argmax, argmin as argmin, average as average
from .reductions import count_nonzero as count_nonzero, logsumexp as logsumexp, max as max, mean as mean, min as min
from .reductions import prod as prod, ptp as ptp, std as std, sum as sum, var as var
from .shapes import atleast_1d as atleast_1d, atleast_2d as atleast_2d, atleast_3d as atleast_3d
from .shapes import broadcast_arrays as broadcast_arrays, broadcast_to as broadcast_to, expand_dims as expand_dims
from .shapes import matrix_transpose as matrix_transpose, moveaxis as moveaxis, ravel as ravel, reshape as reshape
from .shapes import rollaxis as rollaxis, squeeze as squeeze, swapaxes as swapaxes, transpose as transpose
from .joining import append as append, array_split as array_split, column_stack as column_stack, concatenate as concatenate
from .joining import dstack as dstack, flip as flip, fliplr as fliplr, flipud as flipud, hsplit as hsplit, hstack as hstack
from .joining import repeat as repeat, roll as roll, rot90 as rot90, split as split, stack as stack, tile as tile
from .joining import unstack as unstack, vsplit as vsplit, vstack as vstack
from .taking import argwhere as argwhere, compress as compress, extract as extract, flatnonzero as flatnonzero
from .taking import intersect1d as intersect1d, nonzero as nonzero, setdiff1d as setdiff1d, setxor1d as setxor1d
from .taking import union1d as union1d, unique as unique, unique_all as unique_all, unique_counts as unique_counts
from .taking import unique_inverse as unique_inverse, unique_values as unique_values
from .taking import choose as choose, put_along_axis as put_along_axis, take as take, take_along_axis as take_along_axis
from .taking import trim_zeros as trim_zeros
from .products import cross as cross, diagonal as diagonal, dot as dot, einsum as einsum, inner as inner, kron as kron
from .products import outer as outer, tensordot as tensordot, trace as trace, vdot as vdot
from .creation import allclose as allclose, arange as arange, array_equal as array_equal, asarray as asarray, astype as astype
from .creation import copy as copy, diag as diag, diagflat as diagflat, empty as empty, empty_like as empty_like, eye as eye
from .creation import full as full, full_like as full_like, geomspace as geomspace, identity as identity, indices as indices
from .creation import linspace as linspace, logspace as logspace, meshgrid as meshgrid, ndim as ndim, ones as ones
from .creation import ones_like as ones_like, shape as shape, size as size, tri as tri, tril as tril, triu as triu
from .creation import vander as vander, zeros as zeros, zeros_like as zeros_like
from .running import argpartition as argpartition, argsort as argsort, convolve as convolve, correlate as correlate
from .running import cumprod as cumprod, cumsum as cumsum, cumulative_prod as cumulative_prod
from .running import cumulative_sum as cumulative_sum, diff as diff, ediff1d as ediff1d, gradient as gradient
from .running import interp as interp, isin as isin, pad as pad, partition as partition, searchsorted as searchsorted
from .running import sort as sort, trapezoid as trapezoid
from .statistics import corrcoef as corrcoef, cov as cov, median as median, nanargmax as nanargmax, nanargmin as nanargmin
from .statistics import nancumprod as nancumprod, nancumsum as nancumsum, nanmax as nanmax, nanmean as nanmean
from .statistics import nanmin as nanmin, nanprod as nanprod, nanstd as nanstd, nansum as nansum, nanvar as nanvar
from .statistics import nanmedian as nanmedian, nanpercentile as nanpercentile, nanquantile as nanquantile
from .statistics import percentile as percentile, quantile as quantile
from .extras import apply_along_axis as apply_along_axis, apply_over_axes as apply_over_axes, array_equiv as array_equiv
from .extras import block as block, copyto as copyto, delete as delete, dsplit as dsplit, fill_diagonal as fill_diagonal
from .extras import insert as insert, iscomplex as iscomplex, iscomplexobj as iscomplexobj, isneginf as isneginf
from .extras import isposinf as isposinf, isreal as isreal, isrealobj as isrealobj, piecewise as piecewise, place as place
from .extras import put as put, putmask as putmask, real_if_close as real_if_close, resize as resize
from .extras import result_type as result_type, unwrap as unwrap
from .histograms import bincount as bincount, digitize as digitize, histogram as histogram, histogram2d as histogram2d
from .histograms import histogram_bin_edges as histogram_bin_edges, histogramdd as histogramdd
from .polynomials import polyadd as polyadd, polyder as polyder, polyfit as polyfit, polyint as polyint, polymul as polymul
from .polynomials import polysub as polysub, polyval as polyval
from .positions import diag_indices_from as diag_indices_from, ix_ as ix_, lexsort as lexsort
from .positions import ravel_multi_index as ravel_multi_index, tril_indices_from as tril_indices_from
from .positions import triu_indices_from as triu_indices_from, unravel_index as unravel_index
from .creation import new_array as array
from .joining import concatenate as concat
from .joining import vstack as row_stack
from .reductions import max as amax, min as amin
from .shapes import transpose as permute_dims
from .elementwise import round as around
from .running import sliding_window_view as sliding_window_view
from ..types import finfo as finfo
from . import linalg as linalg, methods as _methods

__array_api_version__ = "2024.12"


def __dir__() -> list[str]:
    """The names that are there to be used: completion does not show the modules that implement them."""
    return sorted({name for name, value in globals().items() if not isinstance(value, _ModuleType)} | {"linalg"})
