"""Matrix products on a GPU by cuBLASLt, from the wheel `nvidia-cublas` or a toolkit: planned once, enqueued often.

cuBLASLt counts in columns: what is row-major here is the transpose there, so out = a @ b becomes out' = b' @ a'. Its functions
and the numbers of its enumerations are those of cublasLt.h, which have been the same since CUDA 11.4.
"""
from __future__ import annotations

import ctypes
import functools

from ...codegen.epilogues import bits_leading, fits, roles
from ...errors import DeviceError
from ...types import HALVES, short_dtype
from .driver import INSTALL
from .products import Product, is_sound

TYPES = {"f64": 1, "f32": 0, "f16": 2, "bf16": 14}         # cudaDataType
COMPUTE_64F, COMPUTE_32F = 70, 68                            # cublasComputeType_t: float32 and narrower are summed in float32
TRANSA, TRANSB, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8          # cublasLtMatmulDescAttributes_t
AUX_POINTER, AUX_LEADING = 11, 12
BATCH_COUNT, STRIDED_BATCH_OFFSET = 5, 6                     # cublasLtMatrixLayoutAttribute_t
MAX_WORKSPACE_BYTES, REDUCTIONS, MIN_ALIGNMENT = 1, 3, 5     # cublasLtMatmulPreferenceAttributes_t; alignments of a, b, c and d
SUMS_WIDE = 2                                                # cublasLtReductionScheme_t: parts of a sum meet in float32
EPILOGUES = {"": 1, "bias": 4, "relu": 2, "relu_bias": 6, "relu_aux": 130, "relu_aux_bias": 134, "gelu": 32, "gelu_bias": 36,
             "gelu_aux": 160, "gelu_aux_bias": 164, "drelu": 136, "drelu_bgrad": 152, "dgelu": 192, "dgelu_bgrad": 208,
             "bgrad_b": 256, "bgrad_a": 512}   # cublasLtEpilogue_t; the library's operands A and B are b and a here
NO_ALGORITHM = 7, 15   # statuses: invalid value, not supported
WORKSPACE = 32 << 20


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t"""

    _fields_ = [("algorithm", ctypes.c_uint64 * 8), ("workspace", ctypes.c_size_t), ("status", ctypes.c_int),
                ("waves", ctypes.c_float), ("reserved", ctypes.c_int * 4)]


@functools.cache
def library() -> ctypes.CDLL:
    """The library; DeviceError, with the command that installs it, when it is not there."""
    try:
        from cuda import pathfinder

        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path)
    except (ImportError, RuntimeError, OSError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DeviceError(f"matrix products on a GPU need cuBLASLt, which was not found ({first})", INSTALL) from None


class CublasLt:
    """The library on one device: a handle, and memory to work in, which products on one stream share."""

    def __init__(self, gpu):
        self.gpu, self.handle = gpu, ctypes.c_void_p()
        self.call("Create", ctypes.byref(self.handle))
        self.workspace = gpu.pool.take(WORKSPACE)

    def call(self, name: str, *arguments) -> None:
        """Calls cublasLt<name>; DeviceError when it fails."""
        status = self.status(name, *arguments)
        if status != 0:
            raise DeviceError(f"{self.gpu.device}: cublasLt{name} failed with status {status}",
                              "run with CUBLASLT_LOG_LEVEL=5 to see why")

    def status(self, name: str, *arguments) -> int:
        """The status of a call of cublasLt<name>: 0 when it succeeds."""
        return getattr(library(), f"cublasLt{name}")(*arguments)

    @functools.cached_property
    def epilogues(self) -> frozenset[str]:
        """The epilogues that mean here what they mean in NumPy: seen on this device, which waits. A relu may lose NaN."""
        return frozenset(name for name in EPILOGUES if name and is_sound(self.gpu, self, name))

    def has(self, product: Product, alignments: tuple[int, int, int] = (16, 16, 16)) -> bool:
        """Whether the library has an algorithm for a product whose a, b and out are aligned like that: its heuristic says."""
        (a, b, out), (count, strides, _) = alignments, product.batches()
        plan = self.plan(product, count, strides) if fits(product.epilogue, product.n) else None
        return plan is not None and plan.find((b, a, out, 16, 16)) is not None

    def plan(self, product: Product, count: int, strides: tuple[int, int, int]) -> Plan:
        """How one kind of product is done: `count` of them whose operands lie `strides` elements apart."""
        return Plan(self, product, count, strides)


class Plan:
    """Descriptors of one kind of product, and the algorithm for each alignment of its operands."""

    def __init__(self, owner: CublasLt, product: Product, count: int, strides: tuple[int, int, int]):
        self.library, self.product, self.code = owner, product, library()
        kind = short_dtype(product.dtype)
        double = kind == "f64"
        self.scale = ctypes.c_double if double else ctypes.c_float
        self.operation = self._create("MatmulDesc", COMPUTE_64F if double else COMPUTE_32F, TYPES["f64" if double else "f32"])
        for attribute, transposed in ((TRANSA, product.b_transposed), (TRANSB, product.a_transposed)):
            self._set("MatmulDesc", self.operation, attribute, ctypes.c_int32(int(transposed)))
        self._set("MatmulDesc", self.operation, EPILOGUE, ctypes.c_uint32(EPILOGUES[product.epilogue]))
        m, n, k = product.m, product.n, product.k
        self.extra = sum(roles(product.epilogue), ())
        if "aux" in self.extra:
            leading = bits_leading(n) if "relu" in product.epilogue else n
            self._set("MatmulDesc", self.operation, AUX_LEADING, ctypes.c_int64(leading))
        shapes = [((k, n) if product.b_transposed else (n, k), product.b_leading, strides[1]),
                  ((m, k) if product.a_transposed else (k, m), product.a_leading, strides[0]), ((n, m), n, strides[2])]
        kinds = kind, kind, short_dtype(product.out_dtype)
        self.layouts = [self._layout(TYPES[k], *shape, count) for k, shape in zip(kinds, shapes)]
        self.algorithms: dict[tuple[int, ...], Heuristic] = {}

    def _create(self, kind: str, *arguments) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self.library.call(f"{kind}Create", ctypes.byref(made), *map(ctypes.c_int, arguments))
        return made

    def _set(self, kind: str, target: ctypes.c_void_p, attribute: int, value) -> None:
        self.library.call(f"{kind}SetAttribute", target, ctypes.c_int(attribute), ctypes.byref(value),
                          ctypes.c_size_t(ctypes.sizeof(value)))

    def _layout(self, kind: int, shape: tuple[int, int], leading: int, stride: int, count: int) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self.library.call("MatrixLayoutCreate", ctypes.byref(made), ctypes.c_int(kind), ctypes.c_uint64(shape[0]),
                          ctypes.c_uint64(shape[1]), ctypes.c_int64(max(leading, shape[0])))
        if count > 1:
            self._set("MatrixLayout", made, BATCH_COUNT, ctypes.c_int32(count))
            self._set("MatrixLayout", made, STRIDED_BATCH_OFFSET, ctypes.c_int64(stride))
        return made

    def algorithm(self, alignments: tuple[int, ...]) -> Heuristic:
        """The algorithm for b, a, out, bias and aux aligned like that."""
        found = self.algorithms.get(alignments)
        if found is None:
            found = self.find(alignments)
            if found is None:
                raise DeviceError(f"{self.library.gpu.device}: cuBLASLt has no algorithm for {self.product}",
                                  "make the operands contiguous, or run on `jitnet.cpu()`")
            self.algorithms[alignments] = found
        return found

    def find(self, alignments: tuple[int, ...]) -> Heuristic | None:
        """What the library's heuristic thinks best; None when it knows nothing."""
        b, a, out, *extra = alignments
        self._point(*extra)
        preference = self._create("MatmulPreference")
        self._set("MatmulPreference", preference, MAX_WORKSPACE_BYTES, ctypes.c_size_t(WORKSPACE))
        if self.product.dtype in HALVES:   # rounded once: also where k is cut into parts
            self._set("MatmulPreference", preference, REDUCTIONS, ctypes.c_uint32(SUMS_WIDE))
        for attribute, alignment in enumerate((b, a, out, out), MIN_ALIGNMENT):
            self._set("MatmulPreference", preference, attribute, ctypes.c_uint32(alignment))
        found, count = Heuristic(), ctypes.c_int()
        b, a, out = self.layouts
        status = self.library.status("MatmulAlgoGetHeuristic", self.library.handle, self.operation, b, a, out, out, preference,
                                     ctypes.c_int(1), ctypes.byref(found), ctypes.byref(count))
        self.library.call("MatmulPreferenceDestroy", preference)
        if status not in (0, *NO_ALGORITHM):
            raise DeviceError(f"{self.library.gpu.device}: cublasLtMatmulAlgoGetHeuristic failed with status {status}",
                              "run with CUBLASLT_LOG_LEVEL=5 to see why")
        return found if status == 0 and count.value and found.status == 0 else None

    def _point(self, bias: int, aux: int) -> None:
        """Tells the library where these lie. Its heuristic looks at how the addresses are aligned, and at nothing else."""
        for role, attribute, address in (("bias", BIAS_POINTER, bias), ("aux", AUX_POINTER, aux)):
            if role in self.extra:
                self._set("MatmulDesc", self.operation, attribute, ctypes.c_void_p(address))

    def enqueue(self, a: int, b: int, out: int, bias: int, aux: int) -> None:
        """Puts the product of these addresses on the device's stream; bias and aux: 0 where the epilogue has none."""
        algorithm = self.algorithm(tuple([min(256, address & -address) for address in (b, a, out, bias, aux)]))
        self._point(bias, aux)
        one, zero, (b_layout, a_layout, layout) = self.scale(1), self.scale(0), self.layouts
        self.library.call("Matmul", self.library.handle, self.operation, ctypes.byref(one), ctypes.c_void_p(b), b_layout,
                          ctypes.c_void_p(a), a_layout, ctypes.byref(zero), ctypes.c_void_p(out), layout, ctypes.c_void_p(out),
                          layout, ctypes.byref(algorithm.algorithm), ctypes.c_void_p(self.library.workspace.pointer),
                          ctypes.c_size_t(WORKSPACE), ctypes.c_void_p(self.library.gpu.stream))

    def __del__(self):
        if getattr(self, "layouts", None):
            for layout in self.layouts:
                self.code.cublasLtMatrixLayoutDestroy(layout)
            self.code.cublasLtMatmulDescDestroy(self.operation)
