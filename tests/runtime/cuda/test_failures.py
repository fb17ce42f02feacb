"""What goes wrong on a GPU: who is told when, and that memory comes back, other devices and the CPU go on."""
import contextlib
import gc
import itertools

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.runtime.cuda import stream, transfer
from jitnet.testing_gpu import fake_gpus

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def on_gpu(x, index=0):
    return jitnet.asarray(x, device=jitnet.gpu(index))


def first_line(error):
    return str(error.value).split("\n")[0]


def pick(x, i):
    return x[i] * 2


def test_an_index_out_of_bounds_is_told_at_the_next_wait(driver):
    f = jitnet.jit(pick)
    x = on_gpu(X)
    bad, good = f(x, on_gpu(np.array([0, 7]))), f(x, on_gpu(np.array([0, 2])))
    with pytest.raises(errors.TraceIndexError) as error:
        good.numpy()
    assert first_line(error) == "an index is out of bounds for the axis it picks from"
    assert "return x[i] * 2" in str(error.value)
    np.testing.assert_array_equal(good.numpy(), X[[0, 2]] * 2)   # told once; what is right stays right
    bad.block_until_ready()
    f(x, on_gpu(np.array([9])))
    with pytest.raises(errors.TraceIndexError):
        jitnet.gpu(0).synchronize()


def test_out_of_memory():
    with fake_gpus(memory=1 << 20) as driver:
        x = on_gpu(np.zeros(100_000))
        with pytest.raises(errors.DeviceMemoryError) as error:
            x + 1
        assert first_line(error).startswith("gpu(0): running add: out of memory; jitnet holds 8")
        assert isinstance(error.value, MemoryError) and "x + 1" in str(error.value)
        assert float(x[5]) == 0   # everything else goes on
        del x, error   # its traceback refers to x, too
        gc.collect()
        assert float((on_gpu(np.zeros(50_000)) + 1)[3]) == 1   # what waited for reuse in other sizes was given back
        assert driver.calls["trim_pool"] == 2


def test_idle_arenas_are_given_back_when_memory_runs_out():
    with fake_gpus(memory=6 << 20) as driver:
        f = jitnet.jit(lambda x: (np.cumsum(x) + np.sort(x), np.sum(x)))
        x = on_gpu(np.ones(100_000))
        assert float(f(x)[0][10]) == 12
        assert not driver.calls["trim_pool"]
        assert float(jitnet.jit(lambda x: np.sum(np.sort(x) + 1))(on_gpu(np.ones(150_000)))) == 300_000
        assert driver.calls["trim_pool"]
        assert float(f(x)[0][10]) == 12


@pytest.mark.parametrize("nth", range(1, 7))
def test_memory_comes_back_after_a_failed_allocation(nth):
    with fake_gpus() as driver:
        f = jitnet.jit(lambda x, w: (np.tanh(x @ w), np.sum(x)))
        x, w = on_gpu(X), on_gpu(X.T.copy())
        gpu = stream.open_gpu(0)
        driver.planted["allocate"] = driver.calls["allocate"] + nth, "OUT_OF_MEMORY"
        out = f(x, w)   # the second try, after idle memory went back, succeeds
        np.testing.assert_allclose(out[0].numpy(), np.tanh(X @ X.T), rtol=1e-6)
        del x, w, out, f
        gc.collect()
        jitnet.jit(lambda x: x)(1)
        gpu.give_back()
        assert gpu.pool.waiting == 0


@pytest.mark.parametrize("call", ["load_module", "instantiate", "launch_graph"])
def test_memory_for_code_and_graphs_comes_from_what_is_idle(driver, call):
    x = on_gpu(X)
    driver.plant(call, 1, "OUT_OF_MEMORY")
    f = jitnet.jit(lambda x: (np.sum(x, axis=0) * 3, np.max(x, axis=1)))
    np.testing.assert_array_equal(f(x)[0].numpy(), X.sum(0) * 3)
    assert driver.calls["trim_pool"] == 1 and driver.calls[call] >= 2
    driver.plant("launch", 1, "OUT_OF_MEMORY")   # code is brought there when it is first launched
    np.testing.assert_array_equal(jitnet.jit(lambda x: x * 5)(x).numpy(), X * 5)
    assert driver.calls["trim_pool"] == 2


def test_an_interrupted_wait_leaves_its_errors_to_the_next_one(driver, monkeypatch):
    f = jitnet.jit(pick)
    f(on_gpu(X), on_gpu(np.array([0, 7])))
    wait_for = driver.wait_for

    def interrupted(event):
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jitnet.gpu(0).synchronize()
    monkeypatch.setattr(driver, "wait_for", wait_for)
    with pytest.raises(errors.TraceIndexError):
        jitnet.gpu(0).synchronize()


@pytest.mark.parametrize("call", ["copy", "record", "is_done", "wait_for", "new_event", "allocate_pinned"])
def test_an_interrupted_copy_to_the_host_gives_everything_back(driver, monkeypatch, call):
    monkeypatch.setattr(transfer, "CHUNK", 1024)
    x = np.arange(1000.0)   # in eight pieces
    array, gpu, method = on_gpu(x), stream.open_gpu(0), getattr(driver, call)
    blocks = lambda: sum(size * len(free) for size, free in gpu.pinned.free.items())   # bytes
    array.numpy()
    for nth in range(12):
        count = itertools.count()

        def interrupted(*args, count=count, nth=nth):
            result = method(*args)
            if next(count) == nth:
                raise KeyboardInterrupt
            return result

        gpu.pinned.collect()
        gpu.pinned.give_back()
        gpu.events.clear()
        monkeypatch.setattr(driver, call, interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            array.numpy()
        monkeypatch.setattr(driver, call, method)
        gpu.wait()
        gpu.pinned.collect()
        missing = 1024 if call == "allocate_pinned" and next(count) > nth else 0   # it was interrupted before it returned
        assert gpu.pinned.allocated - blocks() <= missing and not gpu.pinned.busy
        assert len(set(gpu.events)) == len(gpu.events) <= 4
        gpu.pinned.allocated = blocks()
        np.testing.assert_array_equal(array.numpy(), x)


def test_a_kernel_that_crashes_loses_its_device_alone(drivers):
    f = jitnet.jit(lambda x: np.exp(x) + 1)
    x, y = on_gpu(X), on_gpu(X, 1)
    drivers.crash_in = 0
    out = f(x)
    with pytest.raises(errors.DeviceError) as error:
        out.numpy()
    assert first_line(error) == "gpu(0) is lost: illegal address; run since the last wait: <lambda>"
    assert "np.exp(x) + 1" in str(error.value)
    for use in (out.numpy, lambda: f(x), lambda: x + 1, x.block_until_ready):
        with pytest.raises(errors.DeviceError, match=r"gpu\(0\) was lost, and with it the arrays there: illegal address"):
            use()
    np.testing.assert_allclose(f(y).numpy(), np.exp(X) + 1, rtol=1e-6)
    np.testing.assert_allclose(f(X), np.exp(X) + 1, rtol=1e-6)
    assert drivers.calls["reset"] == 1 and drivers.devices[0].used == 0
    np.testing.assert_allclose(f(on_gpu(X)).numpy(), np.exp(X) + 1, rtol=1e-6)   # opened anew


def test_a_launch_that_fails_names_kernel_and_line(driver):
    f = jitnet.jit(lambda x: np.exp(x) * 3)
    x = on_gpu(X)
    driver.plant("launch", 1, "LAUNCH_OUT_OF_RESOURCES")
    with pytest.raises(errors.DeviceError) as error:
        f(x)
    lines = str(error.value).split("\n")
    assert lines[0] == "gpu(0): kernel_0: CUDA says launch out of resources (launch out of resources)"
    assert "np.exp(x) * 3" in lines[1]
    np.testing.assert_allclose(f(x).numpy(), np.exp(X) * 3, rtol=1e-6)


def test_a_capture_that_fails_is_given_up(driver):
    f = jitnet.jit(lambda x: (np.sum(x, axis=0), np.max(x, axis=1)))
    x = on_gpu(X)
    driver.plant("launch", 2, "INVALID_VALUE")
    with pytest.raises(errors.DeviceError, match="kernel_1: CUDA says invalid value"):
        f(x)
    assert not driver.capturing
    np.testing.assert_array_equal(f(x)[0].numpy(), X.sum(0))


def test_a_kernel_that_does_not_compile(driver, monkeypatch):
    def image(text, name, capability):
        raise RuntimeError("ptxas: error\nmore")

    x = on_gpu(X)
    monkeypatch.setenv("JITNET_CACHE", "0")
    monkeypatch.setattr(driver.toolchain, "image", image)
    with pytest.raises(errors.DeviceError) as error:
        jitnet.jit(lambda x: np.exp(x) * 31 + x)(x)
    lines = str(error.value).split("\n")
    assert lines[0] == "gpu(0): kernel does not compile for compute capability 9.0: ptxas: error"
    assert "np.exp(x) * 31 + x" in lines[1] and "f.source" in lines[2]
    monkeypatch.undo()
    assert float(x[1, 1]) == 5


def test_a_driver_older_than_the_toolkit(driver):
    x = on_gpu(X)
    driver.planted["load_module"] = driver.calls["load_module"] + 1, "UNSUPPORTED_PTX_VERSION"
    f = jitnet.jit(lambda x: np.exp(x) * 37 + x)
    np.testing.assert_allclose(f(x).numpy(), np.exp(X) * 37 + X, rtol=1e-6)   # a stale file is made anew, once
    load = driver.load_module
    driver.load_module = lambda image: driver.plant("load_module", 1, "NO_BINARY_FOR_GPU") or load(image)
    with pytest.raises(errors.DeviceError) as error:
        jitnet.jit(lambda x: np.exp(x) * np.exp2(x) + 1)(x)
    lines = str(error.value).split("\n")
    assert lines[0].endswith("the driver, for CUDA 13.0, is older than the toolkit that compiled the kernel")
    assert lines[2] == "  install a driver for CUDA 13.0 or newer (580 and later; `nvidia-smi` shows which it is)"


@pytest.mark.parametrize("version, old", [((12, 4), True), ((13, 0), False)])
def test_machine_code_that_a_driver_cannot_read(version, old):
    with fake_gpus(version=version) as driver:
        x, load = on_gpu(X), driver.load_module
        driver.load_module = lambda image: driver.plant("load_module", 1, "INVALID_IMAGE") or load(image)
        with pytest.raises(errors.DeviceError) as error:
            jitnet.jit(lambda x: np.exp(x) * np.exp2(x) + 2)(x)
    assert ("the driver, for CUDA 12.4, is older than the toolkit" in str(error.value)) == old


def test_steady_programs_take_no_more_memory(driver):
    f = jitnet.jit(lambda x, w: np.tanh(x @ w) @ w.T)
    x, w = on_gpu(X), on_gpu(np.ones((4, 5), np.float32))
    for _ in range(4):
        x = f(x, w)
    allocated = stream.open_gpu(0).pool.allocated, stream.open_gpu(0).pinned.allocated
    for _ in range(50):
        x = f(x, w)
    float(x[0, 0])
    for _ in range(50):
        x = f(x, w)
    assert (stream.open_gpu(0).pool.allocated, stream.open_gpu(0).pinned.allocated)[0] <= allocated[0] + 4096


def test_release_memory(driver):
    x = on_gpu(np.zeros(1000))
    del x
    gpu = stream.open_gpu(0)
    assert gpu.pool.waiting > 0
    jitnet.gpu(0).release_memory()
    assert gpu.pool.waiting == 0 == gpu.pool.allocated


def test_nothing_is_there_without_a_gpu():
    with fake_gpus(0):
        assert jitnet.num_gpus() == 0
        with pytest.raises(errors.DeviceError) as error:
            jitnet.gpu()
        assert first_line(error) == "gpu(0): there is no GPU that jitnet can use"
        assert "cuda-bindings" in str(error.value) and "CUDA driver" in str(error.value)


def test_the_environment_decides_what_is_seen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with fake_gpus(0), pytest.raises(errors.DeviceError, match=r"\(CUDA_VISIBLE_DEVICES='' decides what it sees\)"):
        jitnet.gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with fake_gpus(1), pytest.raises(errors.DeviceError) as error:
        jitnet.gpu(1)
    assert first_line(error) == "gpu(1): this machine has gpu(0) (CUDA_VISIBLE_DEVICES='1' decides what it sees)"


def test_a_device_that_another_process_has_for_itself(drivers):
    drivers.plant("open", 1, "DEVICE_UNAVAILABLE")
    with pytest.raises(errors.DeviceError, match="not for this process: another one has it for itself"):
        on_gpu(X)
    assert not drivers.calls["reset"]
    np.testing.assert_array_equal(on_gpu(X, 1).numpy(), X)
    np.testing.assert_array_equal(on_gpu(X).numpy(), X)   # it is free again


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:len(b) // 2], lambda b: b[:-1] + b"?", lambda b: b + b"more"])
def test_damaged_machine_code_on_disk_is_made_anew(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("JITNET_CACHE_DIR", str(tmp_path))
    loaded = []
    for _ in range(2):
        with fake_gpus() as driver:
            load = driver.load_module
            driver.load_module = lambda image, load=load: loaded.append(image) or load(image)
            np.testing.assert_array_equal(jitnet.jit(lambda x: x * 3 - x)(on_gpu(X)).numpy(), X * 3 - X)
        files = [path for path in tmp_path.rglob("*") if path.is_file() and loaded[0] in path.read_bytes()]
        assert len(files) == 1
        files[0].write_bytes(damage(files[0].read_bytes()))
    assert loaded[0] == loaded[1]
