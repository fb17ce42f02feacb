"""Matrix products of the GPU made of this machine's memory (testing_gpu.py): by NumPy, with every epilogue's meaning."""
from __future__ import annotations

import ctypes

import numpy as np

from .codegen.epilogues import EPILOGUES, apply_epilogue, bits_leading, fits, roles
from .runtime.cuda.products import Product
from .types import F32, HALVES


class FakeProducts:
    """Products by NumPy. `refused`: epilogues for which no algorithm is found."""

    epilogues = frozenset(EPILOGUES) - {""}

    def __init__(self, driver, gpu):
        self.driver, self.gpu = driver, gpu
        self.refused: set[str] = set()

    def has(self, product: Product, alignments: tuple[int, int, int] = (16, 16, 16)) -> bool:
        return product.epilogue not in self.refused and fits(product.epilogue, product.n)

    def plan(self, product: Product, count: int, strides: tuple[int, int, int]) -> FakePlan:
        if 0 in (product.m, product.n, product.k, count):   # what a real one says of it
            raise ValueError(f"no library takes a product of nothing: {product}")
        return FakePlan(self, product, count, strides)


class FakePlan:
    """One kind of product; `enqueue(a, b, out, bias, aux)` puts it on the stream."""

    def __init__(self, library: FakeProducts, product: Product, count: int, strides: tuple[int, int, int]):
        self.library, self.product, self.count, self.strides = library, product, count, strides
        self.reads, self.writes = roles(product.epilogue)

    def enqueue(self, a: int, b: int, out: int, bias: int, aux: int) -> None:
        self.library.driver._count("product")
        self.library.driver._enqueue(self.library.gpu.stream, self.run, a, b, out, bias, aux)

    def run(self, a: int, b: int, out: int, bias: int, aux: int) -> None:
        p, itemsize = self.product, self.product.dtype.itemsize
        rows = {"a": (p.k, p.m) if p.a_transposed else (p.m, p.k), "b": (p.n, p.k) if p.b_transposed else (p.k, p.n)}
        extra = {"bias": self.bias(bias), "aux": self.aux(aux)}
        for i in range(self.count):
            sa, sb, so = (size * s * i for size, s in zip((itemsize, itemsize, p.out_dtype.itemsize), self.strides))
            x = _matrix(a + sa, *rows["a"], p.a_leading, p.dtype)
            y = _matrix(b + sb, *rows["b"], p.b_leading, p.dtype)
            x, y = (a.astype(F32) if p.dtype in HALVES else a for a in (x, y))
            x, y = x.T if p.a_transposed else x, y.T if p.b_transposed else y
            read = (extra[role] if role in self.reads else None for role in ("bias", "aux"))
            value, *kept = apply_epilogue(p.epilogue, x @ y, x, y, *read)
            _matrix(out + so, p.m, p.n, p.n, p.out_dtype)[...] = value
            for role, new in zip(("bias", "aux"), kept):
                if role in self.writes:
                    extra[role][...] = new

    def bias(self, address: int) -> np.ndarray | None:
        """The vector of an epilogue: as long as a row of the product, or of its first operand's sums."""
        p = self.product
        return _matrix(address, 1, *[p.m if p.epilogue == "bgrad_a" else p.n] * 2, p.out_dtype)[0] if address else None

    def aux(self, address: int) -> np.ndarray | None:
        """What an epilogue keeps for the gradient, or reads of it: bits or numbers."""
        p = self.product
        if not address:
            return None
        bits = bits_leading(p.n) // 8
        return _matrix(address, p.m, bits, bits, np.dtype(np.uint8)) if "relu" in p.epilogue else _matrix(
            address, p.m, p.n, p.n, p.out_dtype)


def _matrix(address: int, rows: int, columns: int, leading: int, dtype: np.dtype) -> np.ndarray:
    """A matrix in memory."""
    if rows == 0 or columns == 0:
        return np.zeros((rows, columns), dtype)
    nbytes = dtype.itemsize * ((rows - 1) * leading + columns)
    flat = np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (dtype.itemsize * leading, dtype.itemsize))
