"""Random NumPy functions: the same code on arrays and on traced values, to test `jitnet.numpy` and what is compiled of it.

    function = random_function(seed, length=8)     takes arrays, gives the list of what its steps computed
    arrays = random_inputs(seed)                   of every dtype and stride, with axes of one and of no elements

What a step does depends on shapes and dtypes alone, so both runs take the same steps. Values keep a bound, and whether their
bits are the same however they are computed: what jumps (comparisons, roundings, sorts) is done to exact values only. A step
that NumPy refuses gives nothing, and jitnet has to refuse it too.
"""

from dataclasses import dataclass

import numpy as np

from jitnet.testing_programs import Recorder

FLOATS = [np.dtype(d) for d in ("f8", "f4", "f2")]
INTS = [np.dtype(d) for d in ("i8", "i4", "i2", "i1", "u1", "u2", "u4", "u8")]
BOOL = np.dtype(bool)
SHAPES = [(), (4,), (1,), (0,), (3, 4), (4, 4), (2, 3, 4), (1, 4), (3, 1), (2, 0), (5,), (3, 3), (2, 3, 3), (0, 4), (2, 1, 3)]
WHOLE = 2.0**63  # the bound of integers
MOST_ELEMENTS = 3000


@dataclass
class Value:
    """An array or a traced value, a bound of its size, and whether it is exact."""

    x: object
    bound: float = 4.0
    exact: bool = True

    @property
    def shape(self):
        return tuple(self.x.shape)

    @property
    def kind(self):
        return np.dtype(self.x.dtype).kind


# What is done to one value: a function of x, the bound of its result (a number, or a function of x's), and whether it keeps
# exact values exact. Rows in SMOOTH have derivatives.

SMOOTH = [
    (np.tanh, 1, False), (np.sin, 1, False), (np.cos, 1, False), (np.arctan, 2, False), (np.negative, lambda b: b, True),
    (lambda x: np.exp(-(x * x)), 1, False), (lambda x: np.exp(np.minimum(x, 1)), 3, False),
    (np.square, lambda b: b * b, False), (lambda x: np.log1p(x * x), lambda b: b + 1, False),
    (lambda x: np.sqrt(x * x + 0.5), lambda b: b + 1, False), (lambda x: 1 / (x * x + 1), 1, False),
    (lambda x: x**3, lambda b: b**3, False), (lambda x: 1 - x, lambda b: b + 1, True), (lambda x: x * 0.5, lambda b: b, True),
    (lambda x: np.cbrt(x * x + 1), lambda b: b + 1, False), (np.sinc, 1, False), (np.arcsinh, lambda b: b, False),
    (lambda x: np.logaddexp(x, 0), lambda b: b + 1, False), (lambda x: 2 ** np.tanh(x), 2, False),
    (lambda x: np.expm1(np.tanh(x)), 2, False), (lambda x: np.arctanh(np.tanh(x) * 0.5), 1, False),
    (lambda x: np.float32(1.5) * x, lambda b: 2 * b, True), (lambda x: np.int8(3) + x, lambda b: b + 3, True),
    (lambda x: np.power(np.abs(x) + 0.5, 1.5), lambda b: (b + 1) ** 2, False), (lambda x: np.tan(np.tanh(x)), 2, False),
]
JUMPS = [
    (np.floor, lambda b: b + 1, True), (np.rint, lambda b: b + 1, True), (np.trunc, lambda b: b, True), (np.sign, 1, True),
    (lambda x: x // 1, lambda b: b + 1, True), (lambda x: x % 2, 2, True), (lambda x: np.fmod(x, 1.5), 2, True),
    (np.isnan, 1, True), (np.isfinite, 1, True), (np.signbit, 1, True), (lambda x: x > 0, 1, True),
    (lambda x: x == 0, 1, True), (lambda x: np.clip(x, -1, 1.5), 1.5, True),
    (lambda x: np.nan_to_num(x, posinf=2, neginf=-2), lambda b: b, True),
    (lambda x: np.where(x > 0, x, 0.5 * x), lambda b: b, True), (lambda x: np.round(x, 1), lambda b: b + 1, False),
]
OF_INTS = [
    np.sin, np.tanh, lambda x: np.sqrt(np.abs(x)), lambda x: x + 1, lambda x: 2 * x, np.square, np.abs, lambda x: ~x,
    lambda x: -x, lambda x: x // 3, lambda x: x % 5, np.sign, lambda x: x / 7, lambda x: x**2, lambda x: x * 0.5,
    lambda x: x > 1, lambda x: np.clip(x, 0, 3), lambda x: 3 - x, lambda x: x & 3, lambda x: x >> 1, lambda x: x << 2,
    lambda x: x // -2, lambda x: np.int16(3) * x, lambda x: np.uint8(200) + x, lambda x: np.float32(3) * x,
    lambda x: np.fmod(x, 3), lambda x: x / 4 - 1,
]

# Of two values that broadcast

SMOOTH_OF_TWO = [
    (lambda x, y: x + y, lambda b, c: b + c, True), (lambda x, y: x - y, lambda b, c: b + c, True),
    (lambda x, y: x * y, lambda b, c: b * c, False), (lambda x, y: x / (y * y + 1), lambda b, c: b, False),
    (np.hypot, lambda b, c: b + c, False), (np.logaddexp, lambda b, c: b + c + 1, False),
    (lambda x, y: np.arctan2(x, y * y + 1), lambda b, c: 2, False),
]
JUMPS_OF_TWO = [
    (np.maximum, max, True), (np.fmin, max, True), (lambda x, y: np.where(x < y, x, y), max, True), (np.less, max, True),
    (np.equal, max, True), (np.copysign, max, True), (np.logical_or, max, True), (np.nextafter, max, True),
]
OF_TWO_INTS = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x & y, lambda x, y: x | y,
    lambda x, y: x // (y | 3), lambda x, y: x % (y | 3), np.maximum, np.less, np.equal, np.logical_xor,
    lambda x, y: x << (y & 3), np.gcd, np.true_divide, lambda x, y: np.where(x > y, x, y), lambda x, y: np.power(x, y & 7),
    lambda x, y: np.divmod(x, y | 1)[0], np.arctan2,
]


class Steps:
    """A function under way: its values, the steps that it took."""

    KINDS = ("unary",) * 3 + ("binary",) * 3 + ("moved",) * 3 + ("written", "reduced", "product") * 2 + (
        "cast", "gathered", "running", "chosen")
    SMOOTH_KINDS = ("unary",) * 3 + ("binary",) * 2 + ("moved", "moved", "gathered", "written", "reduced", "running", "product")

    def __init__(self, choose, arrays, smooth: bool):
        self.choose, self.smooth, self.log = choose, smooth, []
        self.values = [Value(a, 4.0 if np.dtype(a.dtype).kind == "f" else WHOLE) for a in arrays]

    def run(self, length: int) -> None:
        for _ in range(length):
            name, before = self.one_of(self.SMOOTH_KINDS if self.smooth else self.KINDS), len(self.values)
            try:
                getattr(self, name)()
                self.log.append((name, [(v.shape, np.dtype(v.x.dtype)) for v in self.values[before:]]))
            except (TypeError, ValueError, IndexError, OverflowError):
                del self.values[before:]
                self.log.append((name, "refused"))

    def one_of(self, options):
        return options[self.choose(len(options))]

    def put(self, x, bound=WHOLE, exact=True) -> None:
        x = x if hasattr(x, "dtype") else np.asarray(x)
        if x.size > MOST_ELEMENTS or x.ndim > 4:
            return
        if np.dtype(x.dtype).kind == "f" and bound > 8:
            factor = 2.0 ** -int(np.ceil(np.log2(bound)))
            x, bound = x * factor, bound * factor
        self.values.append(Value(x, bound, exact))

    def put_of(self, v, x, bound=None, exact=True) -> None:
        """Keeps what was made of a value: floats of integers may be large, and are rounded."""
        kind = np.dtype(x.dtype).kind
        if kind == "f" and v.kind != "f":
            return self.put(x, WHOLE**2, False)
        return self.put(x, bound or v.bound, v.exact and (exact or kind != "f"))

    def pick(self, kinds: str, ndim=0, test=lambda v: True) -> Value:
        """A value of these kinds, most likely a recent one; a constant where there is none."""
        found = [v for v in self.values if v.kind in ("f" if self.smooth else kinds) and v.x.ndim >= ndim and test(v)]
        if not found:
            zero = np.count_nonzero(self.values[0].x) * 0   # makes it a traced value, where the inputs are
            return Value(zero + (np.arange(12.0) / 4 if kinds[0] == "f" else np.arange(12) % 5).reshape(3, 4))
        return found[-1 - min(self.choose(2 * len(found)) // 2, self.choose(len(found)), len(found) - 1)]

    def partner(self, v: Value) -> Value:
        found = [u for u in self.values if broadcasts(u.shape, v.shape) and (u.kind == "f" or not self.smooth)] or [v]
        return found[-1 - min(self.choose(len(found)), self.choose(len(found)))]

    def axis(self, v: Value) -> int:
        return self.choose(v.x.ndim) - v.x.ndim * self.choose(2)

    # Steps

    def unary(self):
        v = self.pick("fffiub")
        if v.kind != "f":
            self.put_of(v, self.one_of(OF_INTS)(v.x))
            return
        function, bound, exact = self.one_of(SMOOTH + JUMPS if v.exact and not self.smooth else SMOOTH)
        self.put(function(v.x), bound(v.bound) if callable(bound) else bound, exact and v.exact)

    def binary(self):
        v = self.pick("fffiub")
        u = self.partner(v)
        v, u = (u, v) if self.choose(2) else (v, u)
        if "f" not in v.kind + u.kind:
            self.put_of(v, self.one_of(OF_TWO_INTS)(v.x, u.x))
            return
        both = v.exact and u.exact
        function, bound, exact = self.one_of(SMOOTH_OF_TWO + JUMPS_OF_TWO if both and not self.smooth else SMOOTH_OF_TWO)
        self.put(function(v.x, u.x), bound(v.bound, u.bound), exact and both)

    def cast(self):
        v = self.pick("fiub")
        if v.kind == "f":
            self.put(v.x.astype(self.one_of(FLOATS)), v.bound, v.exact)
        else:
            x = v.x.astype(self.one_of([*FLOATS, *INTS, BOOL]))
            self.put(np.clip(x, -3, 3) if np.dtype(x.dtype).kind == "f" else x, 3)

    def moved(self):
        v = self.pick("fffiub")
        x, n = v.x, v.x.ndim
        table = [
            lambda: x.T, lambda: x.ravel(), lambda: np.expand_dims(x, self.choose(n + 1)), lambda: x[..., None],
            lambda: np.squeeze(x), lambda: np.broadcast_to(x, (2, *x.shape)),
        ]
        if n:
            axis = self.axis(v)
            table += [
                lambda: x[::-1], lambda: x[1:], lambda: x[..., ::2], lambda: x[-1::-2], lambda: x[5:2:-1],
                lambda: np.flip(x, axis), lambda: np.roll(x, self.choose(5) - 2, axis), lambda: np.tile(x, 2),
                lambda: np.repeat(x, 2, axis=axis), lambda: np.moveaxis(x, axis, 0),
                lambda: np.concatenate([x, x[::-1]], axis=axis), lambda: np.stack([x, x + x], axis=n),
                lambda: np.pad(x, ((1, 0),) * n, mode=self.one_of(["edge", "reflect", "wrap", "symmetric", "constant"])),
                lambda: np.array_split(x, 3, axis=axis)[self.choose(3)], lambda: np.delete(x, 0, axis=axis), lambda: x[-1],
                lambda: np.diff(x, axis=axis), lambda: np.append(x, x), lambda: x.reshape(2, -1), lambda: x[0:0],
            ]
        if n >= 2:
            table += [
                lambda: np.swapaxes(x, 0, -1), lambda: np.tril(x), lambda: np.diagonal(x), lambda: np.trace(x),
                lambda: np.rot90(x, self.choose(4)), lambda: x[1:, ::-1], lambda: x[:, -1], lambda: x[:, 0:0],
            ]
        self.put(self.one_of(table)(), 2 * v.bound, v.exact)

    def index(self, n: int, shape):
        """Positions in range, repeated ones and negative ones too; constants or data."""
        size = int(np.prod(shape))
        if self.choose(2):
            return np.array([(k * 7 + 3 * (k // 2)) % n - (n if k % 3 == 0 else 0) for k in range(size)], np.int64).reshape(
                shape
            )
        found = [v.x for v in self.values if v.kind in "iu" and v.x.size]
        data = np.resize(self.one_of(found).ravel(), shape).astype(np.int64) % n if found else np.zeros(shape, np.int64)
        return data - n * (data % 2 == 0)

    def gathered(self):
        v = self.pick("fffib", ndim=1, test=lambda v: v.x.size > 0)
        x, n, (rows, *more) = v.x, v.x.ndim, v.shape
        shape = self.one_of([(3,), (2, 2), (), (1,), (0,), (4,)])
        table = [
            lambda: x[self.index(rows, shape)], lambda: x[..., self.index(v.shape[-1], shape)],
            lambda: np.take(x, self.index(x.size, shape)),
        ]
        if n >= 2:
            table += [
                lambda: x[self.index(rows, shape), self.index(more[0], shape)], lambda: x[self.index(rows, (2,)), 1:],
                lambda: x[self.index(rows, (2, 1)), self.index(more[0], (3,))],
                lambda: np.take_along_axis(x, np.zeros((1,) * n, np.int64), axis=-1),
            ]
        if n >= 3:
            table += [
                lambda: x[self.index(rows, (2,)), :, self.index(more[1], (2,))], lambda: x[0, :, self.index(more[1], (2,))],
                lambda: x[self.index(rows, shape), self.index(more[0], shape), self.index(more[1], shape)],
            ]
        self.put(self.one_of(table)(), v.bound, v.exact)

    def written(self):
        """In-place code on a copy."""
        v = self.pick("fffiu", ndim=1, test=lambda v: v.x.size > 0)
        x, i, kind = v.x.copy(), self.index(v.shape[0], (3,)), self.choose(12)
        if kind == 0:
            x[1:] = x[:-1]
        elif kind == 1:
            x[::2] = 1
        elif kind == 2:
            x[i] = 2
        elif kind == 3:
            x[i] += 1
        elif kind == 4:
            x[..., -1:] = x[..., :1]
        elif kind == 5:
            y = x[::-1]
            y[1:] = y[:-1]
        elif kind == 6 and v.exact and not self.smooth:
            x[x > 0] = 1
        elif kind == 7:
            x[0] = x[-1]
        elif kind == 8 and v.kind == "f":
            np.add.at(x, i, 1)
        elif kind == 9:
            y = x.reshape(-1)
            y[:2] = 3
            y[-1:] += 1
        elif kind == 10 and x.ndim > 1:
            x[:, 0], x[:, -1] = x[:, -1], x[:, 0].copy()
        else:
            x[i] = x[i][::-1]
        self.put(x, 2 * v.bound + 4, v.exact)

    def reduced(self):
        v = self.pick("fffiub")
        x, keep, b, n = v.x, bool(self.choose(2)), v.bound, max(v.x.size, 1)
        axis = None if v.x.ndim == 0 or self.choose(4) == 0 else self.axis(v)
        table = [
            (lambda: np.sum(x, axis=axis, keepdims=keep), b * n, False),
            (lambda: np.mean(x, axis=axis, keepdims=keep), b, False), (lambda: np.var(x, axis=axis), 4 * b * b, False),
            (lambda: np.prod(np.tanh(x), axis=axis), 1, False), (lambda: np.sum(x, axis=axis, dtype="f8"), b * n, False),
            (lambda: np.logaddexp.reduce(x, axis=-1), b + n, False),
        ]
        if v.exact and not self.smooth:
            table += [
                (lambda: np.max(x, axis=axis, keepdims=keep), b, True), (lambda: np.min(x, axis=axis), b, True),
                (lambda: np.any(x, axis=axis), 1, True), (lambda: np.count_nonzero(x, axis=axis), 1, True),
                (lambda: np.argmax(x, axis=axis), 1, True), (lambda: np.median(x, axis=axis), b, False),
                (lambda: np.max(x, axis=axis, initial=2, where=x > 0), b + 2, True),
                (lambda: np.ptp(x, axis=axis), 2 * b, False),
            ]
        function, bound, exact = self.one_of(table)
        self.put_of(v, function(), bound, exact)

    def running(self):
        v = self.pick("fffiu", ndim=1)
        x, axis, b = v.x, self.axis(v), v.bound
        table = [
            (lambda: np.cumsum(x, axis=axis), b * max(v.shape[axis], 1), False),
            (lambda: np.cumprod(np.tanh(x), axis=axis), 1, False), (lambda: np.gradient(x, axis=axis), b, False),
            (lambda: np.cumsum(x), b * max(x.size, 1), False),
        ]
        if v.exact and not self.smooth:
            table += [
                (lambda: np.maximum.accumulate(x, axis=axis), b, True), (lambda: np.sort(x, axis=axis), b, True),
                (lambda: np.argsort(x, axis=axis, kind="stable"), 1, True),
                (lambda: -np.sort(-x, axis=axis)[..., :2], b, True), (lambda: np.searchsorted(np.sort(x.ravel()), x), 1, True),
                (lambda: np.digitize(x, [-1, 0, 1.5]), 1, True),
            ]
        function, bound, exact = self.one_of(table)
        self.put_of(v, function(), bound, exact)

    def product(self):
        v = self.pick("ffffi", ndim=1)
        x, n, scale = v.x, v.x.ndim, max(v.bound, 1) ** 3 * max(v.shape[-1], 1) ** 2
        turned = lambda: np.swapaxes(x, -1, -2)
        table = [
            lambda: np.inner(x, x), lambda: np.einsum("...i,...i->...", x, x), lambda: np.outer(x, [1, 2]),
            lambda: np.tensordot(x, x, axes=([-1], [-1])), lambda: np.convolve(x, [1, 2, 1], mode="same"),
        ]
        if n >= 2:
            table += [
                lambda: x @ turned(), lambda: turned() @ x, lambda: np.einsum("...ij,...kj->...ik", x, x),
                lambda: x @ x[..., 0, :], lambda: x[..., 0] @ x, lambda: np.einsum("ij,ij->j", x, x),
            ]
        if n >= 3:
            table += [
                lambda: np.einsum("bij,bkj->bik", x, x), lambda: np.einsum("bij,cij->bc", x, x), lambda: np.matmul(x, x[0].T),
            ]
        self.put_of(v, self.one_of(table)(), scale, False)

    def chosen(self):
        v, c = self.pick("fi"), self.pick("b")
        c = (
            c.x
            if c.kind == "b" and broadcasts(c.shape, v.shape)
            else np.arange(max(v.x.size, 1))[: v.x.size].reshape(v.shape) % 3 == 0
        )
        u = self.partner(v)
        x = self.one_of([lambda: np.where(c, v.x, u.x), lambda: np.where(c, v.x, 0), lambda: np.select([c, ~c], [v.x, u.x])])()
        self.put(x, 2 * max(v.bound, u.bound, 1), v.exact and u.exact)


def broadcasts(a, b) -> bool:
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


def random_function(seed: int, length: int, smooth: bool = False, log: list | None = None):
    """A function of arrays; smooth: of floats alone, with derivatives. `log` gets the steps of each call."""

    def function(*arrays):
        steps = Steps(Recorder(seed), arrays, smooth)
        steps.run(length)
        if log is not None:
            log.append(steps.log)
        return [v.x for v in steps.values[len(arrays) :]]

    return function


def random_inputs(seed: int, smooth: bool = False) -> list[np.ndarray]:
    """Arrays; smooth: of float64 in (-1.5, 1.5), with elements."""
    rng = np.random.default_rng(seed)
    arrays = []
    for k in range(1 + seed % 3):
        shape = SHAPES[rng.integers(len(SHAPES))]
        if smooth:
            arrays.append(rng.uniform(-1.5, 1.5, [n or 2 for n in shape]))
            continue
        dtype = FLOATS[seed // 3 % 2] if k == 0 else rng.choice(np.array([*FLOATS, *INTS, BOOL], object))
        if dtype.kind == "f":
            a = np.round(rng.uniform(-2, 2, shape) * 64) / 64
        elif rng.integers(2) or dtype.kind == "b":
            a = rng.integers(0, 2 if dtype.kind == "b" else 7, shape)
        else:
            a = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
        arrays.append(strided(np.asarray(a, dtype), rng.integers(4)))
    return arrays


def strided(a, kind: int):
    """The same values, lying in another way."""
    if a.ndim and kind == 0:
        wide = np.zeros([2 * n for n in a.shape], a.dtype)
        part = wide[(slice(None, None, 2),) * a.ndim]
        part[...] = a
        return part
    return a[::-1].copy()[::-1] if a.ndim and kind == 1 else np.asfortranarray(a) if kind == 2 else a
