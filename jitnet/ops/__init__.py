"""Every op, spelled out: one file per family, one record per op."""
from .logical import bitwise_and as bitwise_and, bitwise_or as bitwise_or, bitwise_xor as bitwise_xor, equal as equal
from .logical import greater as greater, greater_equal as greater_equal, invert as invert, isfinite as isfinite
from .logical import isinf as isinf, isnan as isnan, left_shift as left_shift, less as less, less_equal as less_equal
from .logical import logical_and as logical_and, logical_not as logical_not, logical_or as logical_or
from .logical import logical_xor as logical_xor, not_equal as not_equal, right_shift as right_shift, signbit as signbit
from .logical import where as where
from .arithmetic import abs as abs, add as add, cbrt as cbrt, ceil as ceil, copysign as copysign, divide as divide
from .arithmetic import floor as floor, floor_divide as floor_divide, fmax as fmax, fmin as fmin, fmod as fmod, gcd as gcd
from .arithmetic import hypot as hypot, lcm as lcm, maximum as maximum, minimum as minimum, multiply as multiply
from .arithmetic import negative as negative, nextafter as nextafter, power as power, remainder as remainder, rint as rint
from .arithmetic import sign as sign, sqrt as sqrt, subtract as subtract, trunc as trunc
from .exponential import exp as exp, exp2 as exp2, expm1 as expm1, log as log, log10 as log10, log1p as log1p, log2 as log2
from .exponential import logaddexp as logaddexp, sigmoid as sigmoid
from .trigonometric import arccos as arccos, arccosh as arccosh, arcsin as arcsin, arcsinh as arcsinh, arctan as arctan
from .trigonometric import arctan2 as arctan2, arctanh as arctanh, cos as cos, cosh as cosh, sin as sin, sinh as sinh
from .trigonometric import tan as tan, tanh as tanh
from .special import digamma as digamma, erf as erf, erfc as erfc, erfinv as erfinv, lgamma as lgamma, trigamma as trigamma
from .creation import cast as cast, full as full, iota as iota, zeros_like as zeros_like
from .movement import broadcast_to as broadcast_to, concatenate as concatenate, pad as pad, reshape as reshape, slice as slice
from .movement import transpose as transpose, update_slice as update_slice
from .reduction import all as all, any as any, argmax as argmax, argmin as argmin, max as max, min as min, prod as prod
from .reduction import sum as sum
from .contraction import matmul as matmul
from .indexing import gather as gather, scatter_add as scatter_add, scatter_set as scatter_set
from .cumulative import cummax as cummax, cummin as cummin, cumprod as cumprod, cumsum as cumsum
from .cumulative import linear_recurrence as linear_recurrence
from .random import threefry as threefry
from .sorting import argsort as argsort, searchsorted as searchsorted, sort as sort
from .linalg import cholesky as cholesky, det as det, eigh as eigh, inv as inv, qr as qr, slogdet as slogdet, solve as solve
from .linalg import svd as svd
from .control import call as call, stop_gradient as stop_gradient, switch as switch
from .loops import scan as scan, while_loop as while_loop
