"""`python libcuda.py LIBRARY CUDA`: programs for a GPU go through driver.py and `cuda-bindings`, down to a libcuda.so.1.

That library (libcuda.c) asks here for every function, and gets one that works on the GPU of host memory. What cuda-bindings
makes of arguments, structures and results is what a card would get: a number in the place of a pointer, or one result taken
for another, is found without one.
"""
import ctypes
import inspect
import sys
import threading

import numpy as np

import jitnet
from jitnet.runtime.cuda import driver as cuda_driver
from jitnet.runtime.cuda import stream
from jitnet.runtime.cuda.capture import MOST_GRAPHS
from jitnet.testing_gpu import FakeDriver
from jitnet.testing_gpu_products import FakeProducts

P, Q, Z, U, I, B = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_ubyte
SINCE = {"cuGraphAddNode": 12030, "cuGraphExecUpdate": 12000, "cuStreamGetCaptureInfo": 12030,
         "cuGraphExecKernelNodeSetParams": 12000, "cuStreamBeginCapture": 10010}   # the CUDA that brought this form

REFUSED = {"cuMemHostAlloc", "cuMemFreeHost", "cuEventQuery", "cuEventSynchronize", "cuStreamSynchronize", "cuModuleLoadData",
           "cuMemAllocAsync", "cuMemFreeAsync", "cuMemPoolTrimTo", "cuStreamCreate", "cuEventCreate", "cuGraphDestroy",
           "cuGraphInstantiateWithFlags", "cuGraphExecDestroy", "cuMemGetInfo", "cuFuncSetAttribute"}   # while others capture


class KernelNode(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2"""

    _fields_ = [("function", P), ("grid", U * 3), ("block", U * 3), ("shared", U), ("parameters", P), ("extra", P),
                ("kernel", P), ("context", P)]


class ConditionalNode(ctypes.Structure):
    """CUgraphNodeParams of a conditional node: its type, 12 bytes that are 0, CUDA_CONDITIONAL_NODE_PARAMS"""

    _fields_ = [("type", I), ("reserved", I * 3), ("handle", Q), ("kind", I), ("size", U), ("graphs", P), ("context", P)]


def put(where, value, kind=P):
    kind.from_address(where).value = value


def listed(address, count):
    return [v or 0 for v in (P * count).from_address(address)] if address and count else []


class Library:
    """The functions of cuda.h that driver.py uses, each with the types of its parameters, on a FakeDriver."""

    def __init__(self, fake, cuda):
        self.fake, self.cuda, self.kept, self.asked = fake, cuda, [], {}
        self.mode, self.captured_elsewhere, self.pools = threading.local(), False, 1

    def find(self, name, version):
        """The address of a function, for C; None for what is not here."""
        name = name.decode()
        function = getattr(self, name, None)
        if not name.startswith("cu") or function is None or not SINCE.get(name, 0) <= version <= self.cuda:
            return None
        if name not in self.asked:
            kinds = [p.annotation for p in inspect.signature(function).parameters.values()]
            self.asked[name] = ctypes.CFUNCTYPE(I, *kinds)(lambda *args: self.status(function, args))
        return ctypes.cast(self.asked[name], P).value

    def status(self, function, args):
        from cuda.bindings.driver import CUresult
        try:
            if self.captured_elsewhere and function.__name__ in REFUSED and self.now() != 2:
                return 900   # CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
            return function(*[0 if a is None else a for a in args]) or 0
        except cuda_driver.DriverError as error:
            return int(getattr(CUresult, f"CUDA_ERROR_{error.name}"))
        except Exception as error:
            print(f"{function.__name__}{args}: {error!r}", file=sys.stderr, flush=True)
            return 999

    def cuInit(self, flags: U): assert flags == 0
    def cuDriverGetVersion(self, out: P): put(out, self.cuda, I)
    def cuDeviceGetCount(self, out: P): put(out, self.fake.device_count(), I)
    def cuDeviceGet(self, out: P, ordinal: I): put(out, ordinal, I)
    def cuDeviceGetName(self, name: P, length: I, device: I): ctypes.memmove(name, b"Fake GPU\0", 9)
    def cuDeviceTotalMem(self, out: P, device: I): put(out, self.fake.properties(device).total_memory, Z)
    def cuDevicePrimaryCtxRetain(self, out: P, device: I): put(out, self.fake.open(device))
    def cuDevicePrimaryCtxReset(self, device: I): self.fake.reset(device)
    def cuCtxGetCurrent(self, out: P): put(out, getattr(self.fake.current, "context", 0))
    def cuCtxSetCurrent(self, context: P): self.fake.make_current(context)
    def cuStreamCreate(self, out: P, flags: U): put(out, self.fake.new_stream() if flags == 1 else 0)
    def cuStreamSynchronize(self, stream: P): self.fake.synchronize(stream)
    def cuEventCreate(self, out: P, flags: U): put(out, self.fake.new_event() if flags == 2 else 0)
    def cuEventRecord(self, event: P, stream: P): self.fake.record(event, stream)
    def cuEventQuery(self, event: P): return 0 if self.fake.is_done(event) else 600
    def cuEventSynchronize(self, event: P): self.fake.wait_for(event)
    def cuStreamWaitEvent(self, stream: P, event: P, flags: U): self.fake.stream_waits(stream, event)
    def cuDeviceGetDefaultMemPool(self, out: P, device: I): put(out, 0x9001 + device)
    def cuMemPoolTrimTo(self, pool: P, keep: Z): self.fake.trim_pool(pool - 0x9001)
    def cuMemAllocAsync(self, out: P, nbytes: Z, stream: P): put(out, self.fake.allocate(nbytes, stream), Q)
    def cuMemFreeAsync(self, pointer: Q, stream: P): self.fake.free(pointer, stream)
    def cuMemHostAlloc(self, out: P, nbytes: Z, flags: U): put(out, self.fake.allocate_pinned(nbytes) if flags == 1 else 0)
    def cuMemFreeHost(self, pointer: P): self.fake.free_pinned(pointer)
    def cuMemcpyAsync(self, target: Q, source: Q, nbytes: Z, stream: P): self.fake.copy(target, source, nbytes, stream)
    def cuMemcpyPeerAsync(self, target: Q, there: P, source: Q, here: P, nbytes: Z, stream: P):
        self.fake.copy_peer(target, there, source, here, nbytes, stream)

    def cuMemsetD8Async(self, target: Q, byte: B, nbytes: Z, stream: P): self.fake.fill(target, byte, nbytes, stream)
    def cuModuleLoadData(self, out: P, image: P): put(out, self.fake.load_module(ctypes.string_at(image)))
    def cuModuleGetFunction(self, out: P, module: P, name: P):
        put(out, self.fake.function(module, ctypes.string_at(name).decode()))
    def cuStreamBeginCapture(self, stream: P, mode: I): self.fake.begin_capture(stream) if mode == 2 else 1 / 0
    def cuThreadExchangeStreamCaptureMode(self, mode: P):
        before, self.mode.now = self.now(), I.from_address(mode).value
        put(mode, before, I)

    def now(self):
        """The mode of this thread: what it may do while others capture."""
        return getattr(self.mode, "now", 0)

    def cuStreamEndCapture(self, stream: P, out: P): put(out, self.fake.end_capture(stream))
    def cuGraphCreate(self, out: P, flags: U): put(out, self.fake.new_graph())
    def cuGraphInstantiateWithFlags(self, out: P, graph: P, flags: Q): put(out, self.fake.instantiate(graph))
    def cuGraphLaunch(self, executable: P, stream: P): self.fake.launch_graph(executable, stream)
    def cuGraphExecUpdate(self, executable: P, graph: P, result: P):
        return 0 if self.fake.update_graph(executable, graph) else 910   # CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE

    def cuGraphDestroy(self, graph: P): self.fake.free_graph(graph)
    def cuGraphExecDestroy(self, executable: P): self.fake.free_executable(executable)

    def cuDeviceGetAttribute(self, out: P, attribute: I, device: I):
        properties = self.fake.properties(device)
        major, minor = properties.compute_capability
        known = {75: major, 76: minor, 16: properties.multiprocessors, 1: properties.max_threads_per_block, 10: 32,
                 39: properties.max_threads_per_multiprocessor, 97: properties.max_shared_memory_per_block,
                 38: properties.l2_bytes, 115: self.pools}   # CUdevice_attribute
        put(out, known[attribute], I)

    def cuMemGetInfo(self, free: P, total: P):
        for where, value in zip((free, total), self.fake.memory_info()):
            put(where, value, Z)

    def cuMemPoolSetAttribute(self, pool: P, attribute: I, value: P):
        assert (attribute, Q.from_address(value).value) == (4, 2 ** 64 - 1)   # CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        self.fake.use_pool(pool - 0x9001)

    def cuPointerGetAttribute(self, out: P, attribute: I, pointer: Q):
        assert attribute == 9   # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        put(out, self.fake.device_of(pointer), I)

    def cuFuncSetAttribute(self, function: P, attribute: I, value: I):
        assert attribute == 8   # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self.fake.allow_shared(function, value)

    def cuLaunchKernel(self, function: P, gx: U, gy: U, gz: U, x: U, y: U, z: U, shared: U, stream: P, parameters: P, extra: P):
        assert not extra
        self.fake.launch(function, (gx, gy, gz), (x, y, z), shared, stream, parameters)

    def cuStreamGetCaptureInfo(self, stream: P, status: P, number: P, graph: P, nodes: P, edges: P, count: P):
        last = self.fake.last_nodes(stream)
        put(status, 1, I)
        self.kept += (P * max(1, len(last)))(*last), (Q * max(1, len(last)))()
        put(nodes, ctypes.addressof(self.kept[-2]))
        put(edges, ctypes.addressof(self.kept[-1]))
        put(count, len(last), Z)

    def cuStreamBeginCaptureToGraph(self, stream: P, graph: P, after: P, edges: P, count: Z, mode: I):
        assert mode == 2 and not any(listed(edges, count))   # CU_STREAM_CAPTURE_MODE_RELAXED; nothing special
        self.fake.begin_capture_to(stream, graph, listed(after, count))

    def cuGraphConditionalHandleCreate(self, out: P, graph: P, context: P, first: U, flags: U):
        assert context == 1000 and not flags
        put(out, self.fake.new_condition(graph, context), Q)

    def cuGraphAddNode(self, out: P, graph: P, after: P, edges: P, count: Z, parameters: P):
        node = ConditionalNode.from_address(parameters)
        assert node.type == 13 and not any(node.reserved) and node.context == 1000   # CU_GRAPH_NODE_TYPE_CONDITIONAL
        assert not any(listed(edges, count))
        kind = {1: "while", 2: "switch"}[node.kind]
        made, graphs = self.fake.add_conditional(graph, listed(after, count), node.handle, kind, node.size, node.context)
        self.kept.append((P * len(graphs))(*graphs))
        node.graphs = ctypes.addressof(self.kept[-1])
        put(out, made)

    def cuGraphExecKernelNodeSetParams(self, executable: P, node: P, parameters: P):
        p = KernelNode.from_address(parameters)
        assert not p.extra
        self.fake.set_kernel_node(executable, node, p.function, tuple(p.grid), tuple(p.block), p.shared, p.parameters)

    def cuGetErrorString(self, error: I, out: P):
        self.kept.append(ctypes.create_string_buffer(f"error {error}".encode()))
        put(out, ctypes.addressof(self.kept[-1]))


def check(name, function, *arrays, calls=2):
    f = jitnet.jit(function)
    want = f(*arrays)
    for _ in range(calls):
        got = f(*[jitnet.asarray(a, device="gpu") for a in arrays])
    for g, w in zip(jitnet.tree.leaves(got), jitnet.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g.numpy(), w, rtol=2e-6, atol=1e-6, err_msg=name)


def several(x):
    """Three kernels and a product: a graph."""
    return np.sum(x, axis=0) * 2, np.max(x, axis=1), np.tanh(x @ x.T) + 1


def first_line(call):
    """What an error says first."""
    try:
        call()
    except jitnet.errors.DeviceError as error:
        return str(error).splitlines()[0]
    raise AssertionError("no error")


def open_driver(path, cuda):
    """(the driver, over cuda-bindings; the GPU under it)"""
    library, fake = ctypes.CDLL(path, ctypes.RTLD_GLOBAL), FakeDriver(2)   # cuda-bindings finds it loaded, by its name
    known = fake.library = Library(fake, cuda)
    known.kept.append(ctypes.CFUNCTYPE(P, ctypes.c_char_p, I)(known.find))
    library.find_with(ctypes.cast(known.kept[0], P))
    driver = cuda_driver.Driver()
    driver.toolchain, driver.products = fake.toolchain, lambda gpu: FakeProducts(fake, gpu)
    cuda_driver.use(driver)
    assert driver.properties(0) == fake.properties(0) and driver.version() == (cuda // 1000, cuda % 1000 // 10)
    return driver, fake


def main(path, cuda):
    _, fake = open_driver(path, cuda)
    x = np.linspace(-2, 2, 20, dtype=np.float32).reshape(4, 5)
    if cuda < 13000:   # some of what is called is not there
        there = jitnet.asarray(x, device="gpu")
        print(first_line(lambda: jitnet.jit(several)(there)))
        return
    check("a kernel", lambda x: x[::2] + 1, x)
    check("a graph", several, x)
    f = jitnet.jit(lambda x: np.sum(x, axis=0) + np.max(x, axis=1)[:, None])
    kept = [f(jitnet.asarray(x + k, device="gpu")) for k in range(MOST_GRAPHS + 3)]   # more addresses than graphs
    np.testing.assert_allclose(kept[6].numpy(), np.sum(x + 6, axis=0) + np.max(x + 6, axis=1)[:, None], rtol=1e-6)
    assert fake.calls["set_kernel_node"] and fake.calls["launch_graph"]
    f = jitnet.jit(several)
    inputs = [jitnet.asarray(x + k, device="gpu") for k in range(MOST_GRAPHS + 3)]
    kept = [f(x) for x in inputs]   # the product has others
    np.testing.assert_allclose(kept[-1][2].numpy(), several(x + MOST_GRAPHS + 2)[2], rtol=1e-5)
    assert fake.calls["update_graph"] == 3
    check("while", lambda x: jitnet.while_loop(lambda s: np.max(s) > 0.1, lambda s: s / 2, x), x)
    check("switch", lambda k, x: jitnet.switch(k, [np.exp, lambda x: x * 2], x), np.int64(1), x)
    assert fake.calls["add_conditional"] == 4
    check("a switch in a loop", lambda x: jitnet.fori_loop(0, x.shape[0], lambda i, c: jitnet.cond(
        np.sum(c) > 1, lambda c: c / 2 @ c.T @ c, lambda c: c + i, c), x), x)
    check("an index", lambda x, i: x[i], x, np.array([3, 0]))
    gpu = stream.open_gpu(0)
    fake.library.captured_elsewhere = True   # in the mode that is usual, which refuses much in all threads
    check("while another library captures", several, x + 1)
    check("new sizes meanwhile", several, x[1:])
    gpu.give_back()
    fake.library.captured_elsewhere = False
    assert fake.library.now() == 0
    assert first_line(lambda: jitnet.asarray(np.zeros(1 << 28), device="gpu")).startswith("gpu(0): copying float64[268435456]")
    gpu.give_back()
    fake.plant("synchronize", 1, "ILLEGAL_ADDRESS")
    assert first_line(gpu.give_back).startswith("gpu(0) is lost: ")
    assert float(jitnet.asarray(np.ones(3), device="gpu").sum()) == 3   # opened anew
    np.testing.assert_array_equal(jitnet.asarray(x, device="gpu").to("gpu:1").numpy(), x)
    assert fake.calls["copy_peer"] == 1
    fake.library.pools = 0
    fake.plant("synchronize", 1, "ILLEGAL_ADDRESS")
    first_line(gpu.give_back if not gpu.lost else stream.open_gpu(0).give_back)
    assert first_line(lambda: stream.open_gpu(0)).endswith("(its driver gives it no stream-ordered memory)")
    print("all agree")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
