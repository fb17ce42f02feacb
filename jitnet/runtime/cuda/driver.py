"""The CUDA driver as jitnet sees it: the one place where it is called, through the package `cuda-bindings`.

    Driver      devices, streams, events, memory, copies, modules, launches, graphs; handles and addresses are plain numbers
    use(d)      makes another object with these methods the driver: the tests put a GPU made of host memory there

Every failure of a call is a DriverError, which knows what kind of failure it is; nothing here knows arrays or programs.
"""
from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import DeviceError
from .report import report

TOOLKIT = 13, 0   # what the packages of the extra [cuda] are made for
INSTALL = "install it: `pip install 'jitnet[cuda]'`"
# Failures after which nothing in a device's memory can be trusted, and every further call to it fails.
LOST = frozenset({"ILLEGAL_ADDRESS", "LAUNCH_FAILED", "LAUNCH_TIMEOUT", "HARDWARE_STACK_ERROR", "ILLEGAL_INSTRUCTION",
                  "MISALIGNED_ADDRESS", "INVALID_ADDRESS_SPACE", "INVALID_PC", "ASSERT", "ECC_UNCORRECTABLE", "CONTAINED",
                  "CONTEXT_IS_DESTROYED", "NVLINK_UNCORRECTABLE", "EXTERNAL_DEVICE", "UNKNOWN"})
NO_POOLS = "NOT_SUPPORTED"   # of some virtual GPUs
OLD_DRIVER = frozenset({"UNSUPPORTED_PTX_VERSION", "NO_BINARY_FOR_GPU", "SYSTEM_DRIVER_MISMATCH",
                        "COMPAT_NOT_SUPPORTED_ON_DEVICE"})


class DriverError(Exception):
    """A call of the driver that failed: `name` is CUDA's without CUDA_ERROR_, `text` what CUDA says it means."""

    def __init__(self, name: str, text: str = "", call: str = ""):
        super().__init__(f"{call}: {name} ({text})" if call else f"{name} ({text})")
        self.name, self.text, self.call = name, text, call

    @property
    def out_of_memory(self) -> bool:
        return self.name == "OUT_OF_MEMORY"

    @property
    def lost(self) -> bool:
        """Whether the device's context cannot be used any more."""
        return self.name in LOST


def absent(error: BaseException | None) -> DriverError | None:
    """The failure that cuda-bindings means when it says that the driver lacks a function: the driver is too old."""
    text = str(error)
    if isinstance(error, RuntimeError) and "unction" in text and "not found" in text:
        return DriverError("SYSTEM_DRIVER_MISMATCH", text)
    return None


@dataclass(frozen=True)
class Properties:
    """What a GPU is: what launch shapes and messages need."""

    name: str
    compute_capability: tuple[int, int]
    total_memory: int
    multiprocessors: int
    max_threads_per_block: int
    max_threads_per_multiprocessor: int
    max_shared_memory_per_block: int   # with the attribute that allows more than 48 KB
    warp_size: int
    l2_bytes: int


ATTRIBUTES = {"multiprocessors": "MULTIPROCESSOR_COUNT", "max_threads_per_block": "MAX_THREADS_PER_BLOCK",
              "max_threads_per_multiprocessor": "MAX_THREADS_PER_MULTIPROCESSOR",
              "max_shared_memory_per_block": "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN", "warp_size": "WARP_SIZE",
              "l2_bytes": "L2_CACHE_SIZE"}


def relaxed(method):
    """The method, in a thread that the driver lets do it while another library captures a graph, here or in another thread.

    Most calls that take effect at once are refused then, and end that capture, which they have nothing to do with.
    """
    @functools.wraps(method)
    def call(self, *args):
        mode = self.cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        before = self._check("cuThreadExchangeStreamCaptureMode", self.cu.cuThreadExchangeStreamCaptureMode(mode))
        try:
            return method(self, *args)
        finally:
            self.cu.cuThreadExchangeStreamCaptureMode(before)
    return call


class Driver:
    """The driver of this machine. Contexts are the primary ones, so that other libraries' memory and streams work here."""

    def __init__(self):
        from cuda.bindings import driver

        self.cu = driver
        self.process = os.getpid()
        self._check("cuInit", driver.cuInit(0))

    def _check(self, call: str, answer: tuple):
        """The results of a call without its status; DriverError when that is not success."""
        status = answer[0]
        if status != 0:
            raise self._error(call, status)
        return answer[1] if len(answer) == 2 else answer[1:]

    def _error(self, call: str, status) -> DriverError:
        name = getattr(status, "name", str(status)).removeprefix("CUDA_ERROR_")
        answer = self.cu.cuGetErrorString(status)
        return DriverError(name, answer[1].decode() if answer[0] == 0 and answer[1] else "", call)

    # Devices

    def version(self) -> tuple[int, int]:
        """The newest CUDA that this driver runs."""
        number = self._check("cuDriverGetVersion", self.cu.cuDriverGetVersion())
        return number // 1000, number % 1000 // 10

    def device_count(self) -> int:
        return self._check("cuDeviceGetCount", self.cu.cuDeviceGetCount())

    def properties(self, index: int) -> Properties:
        cu = self.cu
        device = self._check("cuDeviceGet", cu.cuDeviceGet(index))
        name = self._check("cuDeviceGetName", cu.cuDeviceGetName(256, device)).split(b"\0")[0].decode()

        def attribute(of: str) -> int:
            key = getattr(cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{of}")
            return self._check("cuDeviceGetAttribute", cu.cuDeviceGetAttribute(key, device))

        capability = attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")
        memory = self._check("cuDeviceTotalMem", cu.cuDeviceTotalMem(device))
        return Properties(name, capability, memory, **{field: attribute(of) for field, of in ATTRIBUTES.items()})

    @relaxed
    def open(self, index: int) -> int:
        """The primary context of a device, kept until `reset`."""
        device = self._check("cuDeviceGet", self.cu.cuDeviceGet(index))
        return int(self._check("cuDevicePrimaryCtxRetain", self.cu.cuDevicePrimaryCtxRetain(device)))

    @relaxed
    def reset(self, index: int) -> None:
        """Gives everything in a lost device's context back. Of no use to anyone any more, so failures do not matter."""
        device = self.cu.cuDeviceGet(index)[1]
        self.cu.cuDevicePrimaryCtxReset(device)

    def make_current(self, context: int) -> int:
        """Makes a context this thread's; returns the one before."""
        status, current = self.cu.cuCtxGetCurrent()   # once in every call of a program: without `_check`, as below
        if status:
            raise self._error("cuCtxGetCurrent", status)
        before = int(current)
        if before != context:
            self._check("cuCtxSetCurrent", self.cu.cuCtxSetCurrent(context))
        return before

    @relaxed
    def memory_info(self) -> tuple[int, int]:
        """(free, total) bytes of the current device."""
        return tuple(self._check("cuMemGetInfo", self.cu.cuMemGetInfo()))

    # Streams and events

    @relaxed
    def new_stream(self) -> int:
        return int(self._check("cuStreamCreate", self.cu.cuStreamCreate(self.cu.CUstream_flags.CU_STREAM_NON_BLOCKING)))

    @relaxed
    def synchronize(self, stream: int) -> None:
        """Waits until everything on a stream is done."""
        self._check("cuStreamSynchronize", self.cu.cuStreamSynchronize(stream))

    @relaxed
    def new_event(self) -> int:
        return int(self._check("cuEventCreate", self.cu.cuEventCreate(self.cu.CUevent_flags.CU_EVENT_DISABLE_TIMING)))

    def record(self, event: int, stream: int) -> None:
        self._check("cuEventRecord", self.cu.cuEventRecord(event, stream))

    @relaxed
    def is_done(self, event: int) -> bool:
        """Whether everything before the event is done; does not wait."""
        (status,) = self.cu.cuEventQuery(event)
        if status == self.cu.CUresult.CUDA_ERROR_NOT_READY:
            return False
        self._check("cuEventQuery", (status,))
        return True

    @relaxed
    def wait_for(self, event: int) -> None:
        """Waits for an event, on the host."""
        self._check("cuEventSynchronize", self.cu.cuEventSynchronize(event))

    def stream_waits(self, stream: int, event: int) -> None:
        """What comes next on a stream waits for an event, on the device."""
        self._check("cuStreamWaitEvent", self.cu.cuStreamWaitEvent(stream, event, 0))

    # Memory

    @relaxed
    def use_pool(self, index: int) -> None:
        """Lets the device's stream-ordered pool keep what is freed, instead of giving it back at every wait."""
        cu = self.cu
        device = self._check("cuDeviceGet", cu.cuDeviceGet(index))
        pools = cu.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED
        if not self._check("cuDeviceGetAttribute", cu.cuDeviceGetAttribute(pools, device)):
            raise DriverError(NO_POOLS, "its driver gives it no stream-ordered memory", "cuDeviceGetDefaultMemPool")
        pool = self._check("cuDeviceGetDefaultMemPool", cu.cuDeviceGetDefaultMemPool(device))
        threshold = cu.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        self._check("cuMemPoolSetAttribute", cu.cuMemPoolSetAttribute(pool, threshold, cu.cuuint64_t(2 ** 64 - 1)))

    @relaxed
    def trim_pool(self, index: int) -> None:
        """Gives what the device's pool keeps back to the system."""
        device = self._check("cuDeviceGet", self.cu.cuDeviceGet(index))
        pool = self._check("cuDeviceGetDefaultMemPool", self.cu.cuDeviceGetDefaultMemPool(device))
        self._check("cuMemPoolTrimTo", self.cu.cuMemPoolTrimTo(pool, 0))

    @relaxed
    def allocate(self, nbytes: int, stream: int) -> int:
        return int(self._check("cuMemAllocAsync", self.cu.cuMemAllocAsync(nbytes, stream)))

    @relaxed
    def free(self, pointer: int, stream: int) -> None:
        self._check("cuMemFreeAsync", self.cu.cuMemFreeAsync(pointer, stream))

    @relaxed
    def allocate_pinned(self, nbytes: int) -> int:
        """Page-locked host memory that every context may use."""
        flags = self.cu.CU_MEMHOSTALLOC_PORTABLE
        return int(self._check("cuMemHostAlloc", self.cu.cuMemHostAlloc(nbytes, flags)))

    @relaxed
    def free_pinned(self, pointer: int) -> None:
        self._check("cuMemFreeHost", self.cu.cuMemFreeHost(pointer))

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Copies between any two places, host or device; unified addresses tell which."""
        self._check("cuMemcpyAsync", self.cu.cuMemcpyAsync(target, source, nbytes, stream))

    def copy_peer(self, target: int, target_context: int, source: int, source_context: int, nbytes: int, stream: int) -> None:
        """Copies between two devices. What a pool gave is another device's to reach only by this call, or after asking."""
        copied = self.cu.cuMemcpyPeerAsync(target, target_context, source, source_context, nbytes, stream)
        self._check("cuMemcpyPeerAsync", copied)

    def fill(self, target: int, byte: int, nbytes: int, stream: int) -> None:
        self._check("cuMemsetD8Async", self.cu.cuMemsetD8Async(target, byte, nbytes, stream))

    @relaxed
    def device_of(self, pointer: int) -> int:
        """The number of the device that an address belongs to."""
        attribute = self.cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(self._check("cuPointerGetAttribute", self.cu.cuPointerGetAttribute(attribute, pointer)))

    # Kernels

    @relaxed
    def load_module(self, image: bytes) -> int:
        return int(self._check("cuModuleLoadData", self.cu.cuModuleLoadData(image)))

    @relaxed
    def function(self, module: int, name: str) -> int:
        """A kernel of a module."""
        return int(self._check("cuModuleGetFunction", self.cu.cuModuleGetFunction(module, name.encode())))

    @relaxed
    def allow_shared(self, function: int, nbytes: int) -> None:
        """Lets a kernel have that many bytes of dynamic shared memory."""
        most = self.cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._check("cuFuncSetAttribute", self.cu.cuFuncSetAttribute(function, most, nbytes))

    def launch(self, function: int, grid: Sequence[int], block: Sequence[int], shared: int, stream: int,
               parameters: int) -> None:
        """Launches a kernel; `parameters` is the address of an array of addresses, one per parameter."""
        self._check("cuLaunchKernel", self.cu.cuLaunchKernel(function, *grid, *block, shared, stream, parameters, 0))

    # Graphs

    def begin_capture(self, stream: int) -> None:
        mode = self.cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        self._check("cuStreamBeginCapture", self.cu.cuStreamBeginCapture(stream, mode))

    def last_node(self, stream: int) -> int:
        """The node that was captured last: the one that the next will depend on."""
        answer = self._check("cuStreamGetCaptureInfo", self.cu.cuStreamGetCaptureInfo(stream))
        nodes = answer[3]
        return int(nodes[0]) if nodes else 0

    def end_capture(self, stream: int) -> int:
        """The graph of what was captured."""
        return int(self._check("cuStreamEndCapture", self.cu.cuStreamEndCapture(stream)))

    def abandon_capture(self, stream: int, keep: bool = False) -> None:
        """Ends a capture that failed; its graph, if there is one, goes away, unless someone else keeps it."""
        status, graph = self.cu.cuStreamEndCapture(stream)
        if status == 0 and int(graph) and not keep:
            self.free_graph(int(graph))

    def new_graph(self) -> int:
        """A graph without nodes."""
        return int(self._check("cuGraphCreate", self.cu.cuGraphCreate(0)))

    def begin_capture_to(self, stream: int, graph: int, after: Sequence[int]) -> None:
        """What comes next on a stream becomes nodes of a graph, after some of its nodes."""
        mode = self.cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        begun = self.cu.cuStreamBeginCaptureToGraph(stream, graph, *self._dependencies(after), mode)
        self._check("cuStreamBeginCaptureToGraph", begun)

    def _dependencies(self, after: Sequence[int]) -> tuple:
        """(nodes, what is special about each edge from them, how many): cuda-bindings 13.0 wants the second, too."""
        if not after:
            return None, None, 0
        return [self.cu.CUgraphNode(n) for n in after], [self.cu.CUgraphEdgeData() for _ in after], len(after)

    def last_nodes(self, stream: int) -> list[int]:
        """The nodes that the next one captured will depend on."""
        return [int(node) for node in self._check("cuStreamGetCaptureInfo", self.cu.cuStreamGetCaptureInfo(stream))[3]]

    def new_condition(self, graph: int, context: int) -> int:
        """A handle through which a kernel tells a conditional node of a graph what to do."""
        return int(self._check("cuGraphConditionalHandleCreate", self.cu.cuGraphConditionalHandleCreate(graph, context, 0, 0)))

    def add_conditional(self, graph: int, after: Sequence[int], handle: int, kind: str, count: int,
                        context: int) -> tuple[int, list[int]]:
        """(a node that runs one of its graphs, these graphs): `while` its handle is not 0, or the one that a `switch` says."""
        p = self.cu.CUgraphNodeParams()
        p.type = self.cu.CUgraphNodeType.CU_GRAPH_NODE_TYPE_CONDITIONAL
        p.conditional.handle, p.conditional.size, p.conditional.ctx = handle, count, context
        p.conditional.type = getattr(self.cu.CUgraphConditionalNodeType, f"CU_GRAPH_COND_TYPE_{kind.upper()}")
        node = self._check("cuGraphAddNode", self.cu.cuGraphAddNode(graph, *self._dependencies(after), p))
        return int(node), [int(body) for body in p.conditional.phGraph_out[:count]]

    @relaxed
    def instantiate(self, graph: int) -> int:
        """A graph that can be launched."""
        return int(self._check("cuGraphInstantiate", self.cu.cuGraphInstantiate(graph, 0)))

    @relaxed
    def update_graph(self, executable: int, graph: int) -> bool:
        """Gives an executable graph what another graph of the same nodes in the same order has; False where that cannot be."""
        answer = self.cu.cuGraphExecUpdate(executable, graph)
        if answer[0] == self.cu.CUresult.CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE:
            return False
        self._check("cuGraphExecUpdate", answer)
        return True

    def launch_graph(self, executable: int, stream: int) -> None:
        (status,) = self.cu.cuGraphLaunch(executable, stream)
        if status:
            raise self._error("cuGraphLaunch", status)

    def set_kernel_node(self, executable: int, node: int, function: int, grid: Sequence[int], block: Sequence[int], shared: int,
                        parameters: int) -> None:
        """Gives a kernel node of an executable graph other parameters, from the next launch on."""
        p = self.cu.CUDA_KERNEL_NODE_PARAMS()
        p.func = self.cu.CUfunction(function)
        p.gridDimX, p.gridDimY, p.gridDimZ = grid
        p.blockDimX, p.blockDimY, p.blockDimZ = block
        p.sharedMemBytes, p.kernelParams, p.extra = shared, parameters, 0
        self._check("cuGraphExecKernelNodeSetParams", self.cu.cuGraphExecKernelNodeSetParams(executable, node, p))

    @relaxed
    def free_graph(self, graph: int) -> None:
        self._check("cuGraphDestroy", self.cu.cuGraphDestroy(graph))

    @relaxed
    def free_executable(self, executable: int) -> None:
        """Frees an executable graph; one that runs is freed when it is done."""
        self._check("cuGraphExecDestroy", self.cu.cuGraphExecDestroy(executable))

    # Compilers

    @functools.cached_property
    def toolchain(self):
        """What makes kernels of loop nests for this driver."""
        from .toolchain import Toolchain

        return Toolchain()

    @relaxed
    def products(self, gpu):
        """The library of matrix products, on a device."""
        from .cublaslt import CublasLt

        return CublasLt(gpu)


_driver = None


def use(driver) -> None:
    """Makes an object the driver of this process; None: the real one, found when it is next asked for."""
    global _driver
    _driver = driver


def driver():
    """The driver in use; DeviceError, which says what was looked for and found, when there is none."""
    global _driver
    if _driver is None:
        _driver = _found()
    if forked():
        raise DeviceError("this process was forked from one that uses a GPU, and CUDA does not live on in it",
                          "start processes by `spawn`: `multiprocessing.set_start_method('spawn')`")
    return _driver


def _found() -> Driver:
    try:
        made = Driver()
    except ImportError:
        raise DeviceError("the package `cuda-bindings`, through which GPUs are reached, is not installed", INSTALL) from None
    except (DriverError, RuntimeError, OSError) as error:
        raise DeviceError("there is no GPU that jitnet can use", f"{report()}; use `jitnet.cpu()`") from error
    return made


def forked() -> bool:
    """Whether this process was forked from one that uses a GPU."""
    return getattr(_driver, "process", os.getpid()) != os.getpid()
