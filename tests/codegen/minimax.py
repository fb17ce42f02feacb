"""The polynomials of jitnet/codegen/math_*.py: where they come from, and how well they fit.

    python tests/codegen/minimax.py                  the error of every polynomial as it stands in the code
    python tests/codegen/minimax.py SIN_F32 EXP_F64  fits these anew and prints their coefficients

A fit minimizes the largest weighted error by Lawson's iteratively reweighted least squares, in 240-bit arithmetic. Then the
coefficients are rounded to the float they are used in one by one, lowest power first, the others fitted again after each.
"""
from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np

SMALL = mp.mpf(10) ** -14


@dataclass(frozen=True)
class Fit:
    """Polynomial `name` of `module` in u over [low, high] for f(u); the error is weighed by `weight` (default: relative)."""

    module: str
    f: Callable
    low: str | float
    high: str | float
    weight: Callable | None = None

    def weigh(self, u):
        return 1 / self.f(u) if self.weight is None else self.weight(u)

    def ends(self):
        return mp.mpf(self.low), mp.mpf(self.high)


def odd(f, linear, cubic):
    """(f(x) - linear x) / x^3 as a function of z = x^2, its limit `cubic` at 0."""
    def g(z):
        x = mp.sqrt(z)
        return (f(x) - linear * x) / x ** 3 if z > SMALL else mp.mpf(cubic)
    return g


def at_z(z):
    """The weight of p in x + x z p(z), relative to x."""
    return z if z > SMALL else SMALL


def exp_tail(r):
    return (mp.expm1(r) - r) / r ** 2 if abs(r) > 1e-9 else mp.mpf(1) / 2 + r / 6 + r * r / 24


def exp2_tail(r):
    return (mp.mpf(2) ** r - 1) / r if abs(r) > 1e-15 else mp.log(2)


def log_tail(f):
    return (mp.log1p(f) - f) / f ** 2 if abs(f) > 1e-9 else -mp.mpf(1) / 2 + f / 3 - f * f / 4


def log_weight(f):
    return abs(f * f / mp.log1p(f)) if abs(f) > 1e-12 else SMALL


def cos_tail(z):
    x = mp.sqrt(z)
    return (mp.cos(x) - 1 + z / 2) / z ** 2 if z > 1e-12 else mp.mpf(1) / 24 - z / 720


def erf_near(z):
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1 if z > 1e-20 else 2 / mp.sqrt(mp.pi) - 1


def log2_erfc(a):
    return mp.log(mp.erfc(a), 2)


def scaled_erfc(t):
    """erfc(a) exp(a^2) (1 + 2 a) with t = (a - 4) / (a + 4)."""
    a = 4 * (1 + t) / (1 - t)
    return mp.erfc(a) * mp.exp(a * a) * (1 + 2 * a)


def scaled_end(a):
    return (mp.mpf(a) - 4) / (mp.mpf(a) + 4)


def erfinv_ratio(w):
    """erfinv(x) / x with w = -log(1 - x^2): Halley's iteration on erfc."""
    if w < mp.mpf(10) ** -25:
        return mp.sqrt(mp.pi) / 2
    rest = mp.exp(-w)
    x = mp.sqrt(1 - rest)
    target = rest / (1 + x)
    y = mp.sqrt(w - mp.log(mp.sqrt(w) + 1)) if w > 1 else x * mp.mpf("0.886")
    for _ in range(60):
        step = (mp.erfc(y) - target) / (-2 / mp.sqrt(mp.pi) * mp.exp(-y * y))
        step = step / (1 + y * step)
        y -= step
        if abs(step) < mp.mpf(10) ** -50:
            break
    return y / x


def lgamma_ratio(u):
    y = u + mp.mpf("1.5")
    y += mp.mpf(10) ** -25 * (mp.sign(-u) if abs(abs(u) - 0.5) < 1e-20 else 0)
    return mp.loggamma(y) / ((y - 1) * (y - 2))


def digamma_ratio(u):
    root = mp.findroot(mp.digamma, mp.mpf("1.4616"))
    return mp.digamma(u + mp.mpf("1.5")) / (u + mp.mpf("1.5") - root)


def stirling_tail(w):
    if w < SMALL:
        return mp.mpf(1) / 12
    x = 1 / mp.sqrt(w)
    return x * (mp.loggamma(x) - ((x - mp.mpf("0.5")) * (mp.log(x) - 1) - mp.mpf("0.5") + mp.log(2 * mp.pi) / 2))


def digamma_tail(w):
    if w < SMALL:
        return mp.mpf(1) / 12
    x = 1 / mp.sqrt(w)
    return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) / w


def log2_ratio(z):
    """log2((1 + s) / (1 - s)) / s."""
    s = mp.sqrt(z)
    return mp.log((1 + s) / (1 - s), 2) / s if z > SMALL else 2 / mp.log(2)


def log2_tail(z):
    first = 2 / mp.log(2)
    return (log2_ratio(z) - first - first / 3 * z) / z ** 2 if z > 1e-9 else first / 5 + first / 7 * z


HALF_LN2, QUARTER_PI, EIGHTH = mp.log(2) / 2 * 1.001, (mp.pi / 4 * 1.0002) ** 2, (mp.tan(mp.pi / 8) * 1.001) ** 2
LOG_S = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1) * 1.0001) ** 2
EXP, HYPER, TRIG, POWER, SPECIAL = (f"jitnet.codegen.math_{m}" for m in ("exp", "hyper", "trig", "power", "special"))

FITS = {
    "EXP_F32": Fit(EXP, exp_tail, -HALF_LN2, HALF_LN2, lambda r: r * r),
    "EXP_F64": Fit(EXP, exp_tail, -HALF_LN2, HALF_LN2, lambda r: r * r),
    "EXP2_F32": Fit(EXP, exp2_tail, -0.501, 0.501, abs),
    "EXP2_F64": Fit(EXP, exp2_tail, -0.501, 0.501, abs),
    "LOG_F32": Fit(EXP, log_tail, -1 / 3, 1 / 3, log_weight),
    "ATANH_F64": Fit(EXP, odd(lambda s: 2 * mp.atanh(s), 2, mp.mpf(2) / 3), 0, LOG_S, lambda z: at_z(z) / 2),
    "TANH_F32": Fit(HYPER, odd(mp.tanh, 1, -mp.mpf(1) / 3), 0, 0.625 ** 2, at_z),
    "SINH_F32": Fit(HYPER, odd(mp.sinh, 1, mp.mpf(1) / 6), 0, 1, at_z),
    "SINH_F64": Fit(HYPER, odd(mp.sinh, 1, mp.mpf(1) / 6), 0, 1, at_z),
    "ATANH_F32": Fit(HYPER, odd(mp.atanh, 1, mp.mpf(1) / 3), 0, 0.21 ** 2, at_z),
    "SIN_F32": Fit(TRIG, odd(mp.sin, 1, -mp.mpf(1) / 6), 0, QUARTER_PI, at_z),
    "SIN_F64": Fit(TRIG, odd(mp.sin, 1, -mp.mpf(1) / 6), 0, QUARTER_PI, at_z),
    "COS_F32": Fit(TRIG, cos_tail, 0, QUARTER_PI, lambda z: z * z),
    "COS_F64": Fit(TRIG, cos_tail, 0, QUARTER_PI, lambda z: z * z),
    "TAN_F32": Fit(TRIG, odd(mp.tan, 1, mp.mpf(1) / 3), 0, QUARTER_PI, at_z),
    "ATAN_F32": Fit(TRIG, odd(mp.atan, 1, -mp.mpf(1) / 3), 0, EIGHTH, at_z),
    "ATAN_F64": Fit(TRIG, odd(mp.atan, 1, -mp.mpf(1) / 3), 0, EIGHTH, at_z),
    "ASIN_F32": Fit(TRIG, odd(mp.asin, 1, mp.mpf(1) / 6), 0, 0.2501, at_z),
    "ASIN_F64": Fit(TRIG, odd(mp.asin, 1, mp.mpf(1) / 6), 0, 0.2501, at_z),
    "LOG2_TAIL": Fit(POWER, log2_tail, 0, LOG_S, lambda z: z * z * mp.log(2) / 2),
    "LOG2_SHORT": Fit(POWER, log2_ratio, 0, LOG_S),
    "EXP2_SHORT": Fit(POWER, lambda r: mp.mpf(2) ** r, -0.501, 0.501),
    "ERF_F32": Fit(SPECIAL, erf_near, 0, 1, lambda z: 1 / (1 + erf_near(z))),
    "ERF_F64": Fit(SPECIAL, erf_near, 0, 1, lambda z: 1 / (1 + erf_near(z))),
    "ERF_TAIL_F32": Fit(SPECIAL, log2_erfc, "0.92", "3.93", mp.erfc),
    "ERF_TAIL_F64": Fit(SPECIAL, lambda u: log2_erfc(u + 1), 0, "4.93", lambda u: mp.erfc(u + 1)),
    "ERFC_F32": Fit(SPECIAL, scaled_erfc, -1, scaled_end("10.1")),
    "ERFC_F64": Fit(SPECIAL, scaled_erfc, -1, scaled_end("27.3")),
    "ERFINV_NEAR_F32": Fit(SPECIAL, lambda u: erfinv_ratio(u + 2.5), -2.5, 2.5),
    "ERFINV_FAR_F32": Fit(SPECIAL, lambda u: erfinv_ratio((u + 3) ** 2), "-0.765", 1),
    "ERFINV_NEAR_F64": Fit(SPECIAL, lambda u: erfinv_ratio(u + 3.125), -3.125, 3.125),
    "ERFINV_MIDDLE_F64": Fit(SPECIAL, lambda u: erfinv_ratio((u + 3.25) ** 2), "-0.76", "0.76"),
    "ERFINV_FAR_F64": Fit(SPECIAL, lambda u: erfinv_ratio((u + 5) ** 2), "-1.01", "1.05"),
    "LGAMMA": Fit(SPECIAL, lgamma_ratio, -0.5, 0.5),
    "DIGAMMA": Fit(SPECIAL, digamma_ratio, -0.5, 0.5),
    "STIRLING": Fit(SPECIAL, stirling_tail, 0, 1 / 64, lambda w: 1),
    "DIGAMMA_TAIL": Fit(SPECIAL, digamma_tail, 0, 0.01, lambda w: 1),
}


def coefficients(name):
    """The coefficients in the code, highest power first."""
    return getattr(importlib.import_module(FITS[name].module), name)


def round_f32(v):
    return mp.mpf(struct.unpack("f", struct.pack("f", float(v)))[0])


def error(name, points=200):
    """log2 of the largest weighted error of the polynomial as the code has it."""
    fit, (low, high) = FITS[name], FITS[name].ends()
    rounding = round_f32 if name.endswith("F32") and name != "ERFC_F32" else lambda v: mp.mpf(float(v))
    powers = [rounding(c) for c in coefficients(name)][::-1]
    with mp.workprec(160):
        nodes = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (k + mp.mpf(1) / 2) / points) for k in range(points)]
        worst = max(abs(fit.weigh(u) * (fit.f(u) - sum(c * u ** k for k, c in enumerate(powers)))) for u in nodes)
        return float(mp.log(worst, 2))


def lawson(g, weights, nodes, powers, rounds=25):
    """The coefficients of `powers` that nearly minimize the largest weighted error over the nodes."""
    count = len(nodes)
    w = np.array(weights, dtype=object)
    a = np.array([[u ** p for p in powers] for u in nodes], dtype=object) * w[:, None]
    b = np.array([g(u) for u in nodes], dtype=object) * w
    share, best = np.array([mp.mpf(1) / count] * count, dtype=object), None
    for _ in range(rounds):
        left = (a * share[:, None]).T
        solved = mp.lu_solve(mp.matrix(left.dot(a).tolist()), mp.matrix(left.dot(b).tolist()))
        c = np.array(list(solved), dtype=object)
        residual = abs(b - a.dot(c))
        if best is None or max(residual) < best[0]:
            best = max(residual), c
        share = share * residual
        share = share / sum(share)
    return best[1]


def fit(name):
    """The coefficients of a new fit, highest power first, as floats."""
    mp.mp.prec = 240
    this, count = FITS[name], len(coefficients(name))
    single = name.endswith("F32") and name != "ERFC_F32"
    (low, high), size = this.ends(), max(40, 7 * count)
    nodes = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (k + mp.mpf(1) / 2) / size) for k in range(size)]
    weights, fixed, todo = [this.weigh(u) for u in nodes], {}, list(range(count))
    while todo:
        found = lawson(lambda u: this.f(u) - sum(c * u ** p for p, c in fixed.items()), weights, nodes, todo)
        # of a long f64 polynomial, only the first three need the others fitted again
        take = len(todo) if not single and count > 12 and len(fixed) >= 3 else 1
        for p, c in list(zip(todo, found, strict=True))[:take]:
            fixed[p] = round_f32(c) if single else mp.mpf(float(c))
        todo = todo[take:]
    return [float(fixed[p]) for p in sorted(fixed, reverse=True)]


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(f"{wanted} = {tuple(fit(wanted))}")
    for each in [] if sys.argv[1:] else FITS:
        print(f"{each:18s} {len(coefficients(each)):2d} coefficients, error 2^{error(each):.1f}")
