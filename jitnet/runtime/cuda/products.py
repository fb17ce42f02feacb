"""Matrix products on a GPU as operations: what is multiplied, apart from the library that does it (cublaslt.py)."""
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...codegen.epilogues import EPILOGUES, PROBE, agrees, probe, roles, written
from ...errors import DeviceError, Source
from ...types import F32, short_dtype
from .operations import Operation, Place
from .stream import Gpu
from .transfer import send


@dataclass(frozen=True)
class Product:
    """The `kernel` of a step: out = a @ b in row-major order, one product or a batch of them, with an epilogue.

    a is (m, k), or (k, m) when transposed; b likewise. leading: elements between rows as they lie. batch: extents, strides:
    per batch axis the elements between products of a, b and out. Buffers: a, b, out, and then what the epilogue reads and
    writes (`roles`). dtype is that of a and b; out_dtype that of the others: the same, or float32 where dtype is a half.
    """

    dtype: np.dtype
    out_dtype: np.dtype
    m: int
    n: int
    k: int
    a_transposed: bool
    b_transposed: bool
    a_leading: int
    b_leading: int
    batch: tuple[int, ...] = ()
    strides: tuple[tuple[int, int, int], ...] = ()
    epilogue: str = ""

    def __str__(self) -> str:
        text = f"{self.m} x {self.k} x {self.n} of {short_dtype(self.dtype)}"
        text += f" to {short_dtype(self.out_dtype)}" if self.out_dtype != self.dtype else ""
        text += f", {math.prod(self.batch)} of them" if self.batch else ""
        return text + (f", then {EPILOGUES[self.epilogue]}" if self.epilogue else "")

    @property
    def source(self) -> str:
        return f"# a matrix product: {self}\n"

    def operation(self, gpu: Gpu, places: tuple[Place, ...], name: str, source: Source | None) -> Operation:
        return ProductOperation(gpu, self, places, name, source)

    def batches(self) -> tuple[int, tuple[int, int, int], list[tuple[int, int, int]]]:
        """(count, strides, offsets): products that lie at equal distances are one call, and there is a call per offset."""
        axes = [(n, s) for n, s in zip(self.batch, self.strides) if n != 1]
        merged: list[tuple[int, tuple[int, int, int]]] = []
        for n, s in axes:
            if merged and all(outer == n * inner for outer, inner in zip(merged[-1][1], s)):
                merged[-1] = merged[-1][0] * n, s
            else:
                merged.append((n, s))
        count, strides = merged.pop() if merged else (1, (0, 0, 0))
        offsets = [tuple(sum(i * s[k] for i, (_, s) in zip(index, merged)) for k in range(3))
                   for index in itertools.product(*(range(n) for n, _ in merged))]
        return count, strides, offsets


class ProductOperation(Operation):
    """A product, enqueued through the device's library."""

    def __init__(self, gpu: Gpu, product: Product, places: tuple[Place, ...], name: str, source: Source | None):
        super().__init__(places, name, source)
        self.extra = sum(roles(product.epilogue), ())
        count, strides, offsets = product.batches()
        sizes = product.dtype.itemsize, product.dtype.itemsize, product.out_dtype.itemsize
        self.offsets = [tuple(size * o for size, o in zip(sizes, offset)) for offset in offsets]
        with gpu.lock, gpu.doing(f"planning {name}", source):
            self.plan = gpu.products.plan(product, count, strides)

    def enqueue(self, gpu: Gpu, addresses: Sequence[int]) -> None:
        a, b, out, *more = addresses
        bias, aux = (more[self.extra.index(role)] if role in self.extra else 0 for role in ("bias", "aux"))
        for i, j, k in self.offsets:
            self.plan.enqueue(a + i, b + j, out + k, bias, aux)


def is_sound(gpu: Gpu, library, name: str) -> bool:
    """Whether a library's epilogue does on a device what it means. Asks the device, and waits; what fails is not sound."""
    n = PROBE
    product = Product(F32, F32, n, n, n, False, False, n, n, epilogue=name)
    if not library.has(product):
        return False
    arrays = probe(name)
    blank = {role: np.zeros(*kind) for role, kind in written(name).items()}
    with gpu.lock, gpu.doing(f"trying products with {name}"):
        sent = dict(zip((*arrays, *blank), send(gpu, [*arrays.values(), *blank.values()])))
        addresses = [sent[role].pointer if role in sent else 0 for role in ("a", "b", "out", "bias", "aux")]
        try:
            library.plan(product, 1, (0, 0, 0)).enqueue(*addresses)
        except DeviceError:
            if gpu.lost:
                raise
            return False
    return agrees(name, arrays, {role: sent[role].host() for role in blank})
