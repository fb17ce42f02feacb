"""What may be done to a matrix product before it is stored, by the names of cuBLASLt's epilogues: the meaning, in NumPy.

    value = a @ b       bias   one number per column, read; as a gradient written, the sums over the rows of what is stored
                        aux    one element per element of the product: a bit (was it more than 0?) for relu, for gelu a copy

What a forward product leaves in `aux`, the product of the gradient reads.
"""
from __future__ import annotations

import math

import numpy as np

from ..types import F32

GELU = (0.5, 0.044715, math.sqrt(2 / math.pi))   # of the form with tanh
EPILOGUES = {
    "": "",
    "bias": "bias",
    "relu": "relu",
    "relu_bias": "relu of the sum with bias",
    "relu_aux": "relu, which keeps a bit per element for its gradient",
    "relu_aux_bias": "relu of the sum with bias, which keeps a bit per element for its gradient",
    "gelu": "gelu",
    "gelu_bias": "gelu of the sum with bias",
    "gelu_aux": "gelu, which keeps what it was given for its gradient",
    "gelu_aux_bias": "gelu of the sum with bias, which keeps what it was given for its gradient",
    "drelu": "the gradient of relu",
    "drelu_bgrad": "the gradient of relu and that of its bias",
    "dgelu": "the gradient of gelu",
    "dgelu_bgrad": "the gradient of gelu and that of its bias",
    "bgrad_a": "the sums of the first operand's rows",
    "bgrad_b": "the sums of the second operand's columns",
}
"""Name -> what is done to a product before it is stored; gelu is the form with tanh, a bias is one value per column."""


def roles(epilogue: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What an epilogue (reads, writes) besides the product: `bias`, one value per column, and `aux`, one per element."""
    reads = ("aux",) if epilogue.startswith("d") else ("bias",) if epilogue.endswith("bias") else ()
    writes = ("aux",) if "aux" in epilogue else ("bias",) if "bgrad" in epilogue else ()
    return reads, writes


def fits(epilogue: str, columns: int) -> bool:
    """Whether what an epilogue keeps or reads per element can lie in rows of that many: cuBLASLt wants numbers by eights."""
    return columns % 8 == 0 or "aux" not in sum(roles(epilogue), ()) or "relu" in epilogue


def bits_leading(columns: int) -> int:
    """Bits between the rows of the mask of a relu: the library wants rows of whole 16 bytes."""
    return -(-columns // 128) * 128


def apply_epilogue(name: str, value: np.ndarray, a: np.ndarray, b: np.ndarray, bias, aux) -> tuple:
    """(what is stored, the bias gradient or None, what is kept or None) for a product `value` of a and b: the meaning."""
    value, new_bias, new_aux = value + bias if roles(name)[0] == ("bias",) else value, None, None
    if name.startswith("relu"):
        if "aux" in name:
            bits = np.zeros((len(value), bits_leading(value.shape[1])), np.bool_)
            bits[:, :value.shape[1]] = ~(value <= 0)
            new_aux = np.packbits(bits, axis=1, bitorder="little")
        value = np.maximum(value, 0)
    elif name.startswith("gelu"):
        new_aux = value if "aux" in name else None
        value = GELU[0] * value * (1 + np.tanh(GELU[2] * (value + GELU[1] * value ** 3)))
    elif name.startswith("drelu"):
        bits = np.unpackbits(aux, axis=1, bitorder="little")[:, :value.shape[1]]
        value = np.where(bits, value, 0)
    elif name.startswith("dgelu"):
        tanh = np.tanh(GELU[2] * (aux + GELU[1] * aux ** 3))
        slope = GELU[2] * (1 + 3 * GELU[1] * aux ** 2)
        value = value * GELU[0] * (1 + tanh + aux * (1 - tanh * tanh) * slope)
    if "bgrad" in name:
        new_bias = a.sum(1) if name == "bgrad_a" else b.sum(0) if name == "bgrad_b" else value.sum(0)
    return value, new_bias, new_aux


# Is that what a library does?

PROBE = 128
SPECIAL = (-2.0, -1.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 1.0, 2.0, 3.0, np.nan)


def probe(name: str) -> dict[str, np.ndarray]:
    """Operands with which an epilogue shows what it does at 0, to NaN, and to NaN where a bit is 0."""
    special, place = np.resize(np.array(SPECIAL, F32), PROBE), np.add.outer(np.arange(PROBE), np.arange(PROBE))
    a, b = np.zeros((2, PROBE, PROBE), F32)
    a[:, 0], b[0] = 1 + np.arange(PROBE) % 3, special   # the product: special numbers in every row, times 1, 2, 3
    arrays = {"a": a, "b": b}
    if roles(name)[0] == ("bias",):
        arrays["bias"] = np.resize(np.array([0, 0.25, -0.25], F32), PROBE)
    elif name.startswith("drelu"):
        bits = (place // 3 % 2 == 0) & (np.arange(PROBE) != 10)   # never where the tenth special number is NaN
        arrays["aux"] = np.packbits(bits, axis=1, bitorder="little")
    elif name.startswith("dgelu"):
        arrays["aux"] = np.where(np.arange(PROBE) % 13 == 0, np.float32(np.nan), special[place % 10])
    return arrays


def agrees(name: str, arrays: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> bool:
    """Whether what came of a probe is what an epilogue means."""
    a, b = arrays["a"], arrays["b"]
    want = apply_epilogue(name, np.outer(a[:, 0], b[0]), a, b, arrays.get("bias"), arrays.get("aux"))
    return all(np.allclose(got[role], value, rtol=1e-5, atol=1e-6, equal_nan=True)
               for role, value in zip(("out", "bias", "aux"), want) if value is not None)


def written(name: str) -> dict[str, tuple[tuple[int, ...], type]]:
    """(shape, dtype) of what an epilogue writes for a probe."""
    aux = ((PROBE, PROBE // 8), np.uint8) if name.startswith("relu") else ((PROBE, PROBE), np.float32)
    return {"out": ((PROBE, PROBE), np.float32)} | {role: aux if role == "aux" else ((PROBE,), np.float32)
                                                    for role in roles(name)[1]}
