"""Arrays of other libraries, in and out without a copy."""
import gc
import weakref

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.runtime.cuda import interop, stream
from jitnet.runtime.cuda.driver import DriverError
from jitnet.types import BF16

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def mx_array(x):
    return jitnet.nd.array(x)


class Foreign:
    """An array of another library: a jitnet array behind the protocols alone."""

    def __init__(self, array, protocols=("dlpack",), old=False, **changes):
        self.array, self.protocols, self.old, self.changes, self.streams = array, protocols, old, changes, []

    def __getattr__(self, name):
        if name == "__dlpack__" and "dlpack" in self.protocols:
            return self.dlpack
        if name == "__dlpack_device__" and "dlpack" in self.protocols:
            return self.array.__dlpack_device__
        if name == "__cuda_array_interface__" and "cai" in self.protocols:
            return self.array.__cuda_array_interface__ | self.changes
        raise AttributeError(name)

    def dlpack(self, *, stream=None, **options):
        if self.old and options:
            raise TypeError("unexpected keyword")
        self.streams.append(stream)
        return self.array.__dlpack__(stream=stream, **options)


@pytest.mark.parametrize("protocols", [("dlpack",), ("cai",)])
@pytest.mark.parametrize("x", [X, np.zeros((0, 2)), np.float64(3), np.array([True, False]), np.arange(3, dtype=np.int8)],
                         ids=["matrix", "empty", "scalar", "bools", "bytes"])
def test_in_and_out_share_memory(driver, protocols, x):
    a = jitnet.asarray(x, device="gpu")
    foreign = Foreign(a, protocols)
    b = jitnet.asarray(foreign)
    assert b.device == jitnet.gpu(0) and (b.shape, b.dtype) == (a.shape, a.dtype)
    assert b._data.pointer == a._data.pointer or a.size == 0
    np.testing.assert_array_equal(b.numpy(), x)
    if a.size:
        a.fill(1)
        np.testing.assert_array_equal(b.numpy(), np.ones_like(x))
    if protocols == ("dlpack",):
        assert foreign.streams == [stream.open_gpu(0).stream]


def test_producers_older_than_versions(driver):
    b = jitnet.asarray(Foreign(jitnet.asarray(X, device="gpu"), old=True))
    np.testing.assert_array_equal(b.numpy(), X)


def test_an_array_on_the_cpu_when_asked(driver):
    foreign = Foreign(jitnet.asarray(X, device="gpu"))
    got = jitnet.asarray(foreign, device="cpu")
    assert got.device == jitnet.cpu()
    np.testing.assert_array_equal(got.numpy(), X)


def test_the_array_interface(driver):
    a = jitnet.asarray(X, device="gpu")
    table = a.__cuda_array_interface__
    assert table == {"shape": (3, 4), "typestr": "<f4", "data": (a._data.pointer, False), "version": 3, "strides": None,
                     "stream": stream.open_gpu(0).stream}
    assert jitnet.asarray(np.zeros((0, 3)), device="gpu").__cuda_array_interface__["data"] == (0, False)
    with pytest.raises(AttributeError):
        _ = jitnet.asarray(X).__cuda_array_interface__


def test_memory_lives_as_long_as_its_taker(driver):
    a = jitnet.asarray(X, device="gpu")
    block = weakref.ref(a._data.block)
    b = jitnet.asarray(Foreign(a))
    del a
    gc.collect()
    np.testing.assert_array_equal(b.numpy(), X)
    assert block() is not None and len(interop._exported) == 1
    del b
    gc.collect()
    assert block() is not None   # until the device is known to be done with it
    jitnet.gpu(0).synchronize()
    jitnet.gpu(0).synchronize()
    gc.collect()
    assert block() is None and not interop._exported


@pytest.mark.parametrize("array", [jitnet.asarray, mx_array], ids=["Array", "NDArray"])
def test_a_taker_that_refuses_says_why(driver, array):
    """Its error is on its way while the capsule dies: found by MXNet's tests with arrays on a GPU, as a SystemError."""
    with jitnet.gpu(0):
        a = array(X)
    with pytest.raises((RuntimeError, BufferError), match="Unsupported device"):
        np.from_dlpack(a)
    assert not interop._exported


def test_a_capsule_that_nobody_takes(driver):
    for options in ({}, {"max_version": (1, 0)}, {"copy": True}, {"stream": -1}):
        a = jitnet.asarray(X, device="gpu")
        block, capsule = weakref.ref(a._data.block), a.__dlpack__(**options)
        del a
        assert len(interop._exported) == 1
        del capsule
        gc.collect()
        assert block() is None and not interop._exported


def test_what_is_refused(driver):
    a = jitnet.asarray(X, device="gpu")
    with pytest.raises(errors.TraceValueError, match=r"a Foreign of shape \[3, 4\] on a GPU is not contiguous"):
        jitnet.asarray(Foreign(a, ("cai",), strides=(4, 12)))
    with pytest.raises(errors.TraceTypeError, match="with a mask"):
        jitnet.asarray(Foreign(a, ("cai",), mask=a))
    with pytest.raises(errors.TraceTypeError, match="float128"):
        jitnet.asarray(Foreign(a, ("cai",), typestr="<f16"))
    with pytest.raises(BufferError, match=r"the array is on gpu\(0\)"):
        a.__dlpack__(dl_device=(2, 1))


def test_memory_in_use_on_another_stream_is_reused_after_it(driver):
    a = jitnet.asarray(X, device="gpu")
    gpu = stream.open_gpu(0)
    other = gpu.driver.new_stream()
    pointer = a._data.pointer
    capsule = a.__dlpack__(stream=other)
    host = np.empty_like(X)
    gpu.driver.pinned[host.ctypes.data] = host.view(np.uint8).reshape(-1)
    gpu.driver.copy(host.ctypes.data, pointer, X.nbytes, other)   # what the taker does, later than everything here
    del a, capsule
    gc.collect()
    b = jitnet.asarray(X + 100, device="gpu")
    assert b._data.pointer == pointer
    np.testing.assert_array_equal(b.numpy(), X + 100)
    np.testing.assert_array_equal(host, X)


def test_bfloat16(driver):
    x = np.array([1.5, -2.0], BF16)
    a = jitnet.asarray(x, device="gpu")
    b = jitnet.asarray(Foreign(a))
    assert b.dtype == BF16 and b._data.pointer == a._data.pointer
    np.testing.assert_array_equal((b + a).numpy(), x + x)
    assert not hasattr(a, "__cuda_array_interface__")


def test_a_copy_for_the_cpu_when_the_taker_asks(driver):
    a = jitnet.asarray(X, device="gpu")
    for options in ({}, {"copy": True}, {"max_version": (1, 0)}):
        assert np.from_dlpack(Capsule(a, options)).tolist() == X.tolist()
    with pytest.raises(BufferError, match=r"the array is on gpu\(0\)"):
        a.__dlpack__(dl_device=(1, 0), copy=False)


class Capsule:
    """What NumPy takes: an array's capsule for the CPU."""

    def __init__(self, array, options):
        self.array, self.options = array, options

    def __dlpack__(self, **_):
        return self.array.__dlpack__(dl_device=(1, 0), **self.options)

    def __dlpack_device__(self):
        return 1, 0


def test_the_default_stream_waits_for_what_goes_out_by_the_array_interface(driver):
    """torch takes an array by it and does not look at its stream."""
    gpu = stream.open_gpu(0)
    a = jitnet.asarray(X, device="gpu") + 1
    pointer, host = a.__cuda_array_interface__["data"][0], np.empty_like(X)
    driver.pinned[host.ctypes.data] = host.view(np.uint8).reshape(-1)
    with gpu.lock, gpu.doing("copying"):
        driver.copy(host.ctypes.data, pointer, X.nbytes, 1)
        driver.synchronize(1)
    np.testing.assert_array_equal(host, X + 1)


def test_an_address_that_is_on_no_gpu(driver, monkeypatch):
    def nowhere(pointer):
        raise DriverError("INVALID_VALUE", "invalid argument", "cuPointerGetAttribute")

    a = jitnet.asarray(X, device="gpu")
    monkeypatch.setattr(driver, "device_of", nowhere)
    with pytest.raises(errors.TraceValueError, match="a Foreign at an address that is on no GPU of this process"):
        jitnet.asarray(Foreign(a, ("cai",)))


def test_memory_of_others_waits_for_all_who_had_it_from_here(driver):
    """What came in and went out again is let go of after the stream of who took it last."""
    a = jitnet.asarray(X, device="gpu")
    gpu = stream.open_gpu(0)
    other = driver.new_stream()
    b = jitnet.asarray(Foreign(a))
    capsule = b.__dlpack__(stream=other)
    later = []
    driver._enqueue(other, lambda: later.append(True))
    del b, capsule
    gc.collect()
    gpu.wait()
    gpu.wait()
    assert later and not gpu.kept and not gpu.dying


def test_arrays_that_are_read_only(driver):
    """What another library marks so is never written, and goes on as such."""
    a = jitnet.asarray(X, device="gpu")
    first = jitnet.asarray(Foreign(a, ("cai",), data=(a._data.pointer, True)))
    second = jitnet.asarray(Foreign(first))   # by DLPack, whose versions know it, too
    add = jitnet.jit(lambda x: x.__iadd__(1))
    for b in (first, second, second.reshape(-1)):
        with pytest.raises(errors.TraceValueError, match="read-only"):
            b[0] = 1
        with pytest.raises(errors.TraceValueError, match="read-only"):
            b += 1
        with pytest.raises(errors.TraceValueError, match="`x` is read-only, and the function writes into it"):
            add(b)
        with pytest.raises(BufferError, match="read-only"):
            b.__dlpack__()
        assert b.__cuda_array_interface__["data"] == (a._data.pointer, True)
        c = b.copy()
        c += 1
        c.__dlpack__()
        np.testing.assert_array_equal(c.numpy().reshape(X.shape), X + 1)
    jitnet.nd.array(second.numpy(), ctx=jitnet.gpu(0))[:] = 0
    np.testing.assert_array_equal(a.numpy(), X)
    assert second._data.copy().writeable and jitnet.asarray(Foreign(a)).__cuda_array_interface__["data"][1] is False


def test_bfloat16_to_the_cpu(driver):
    a = jitnet.asarray(np.arange(3), dtype="bfloat16", device="gpu")
    capsule = a.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    assert "dltensor_versioned" in repr(capsule)
