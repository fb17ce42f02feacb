"""The driver: every name of CUDA's that it uses is in the package, and the stand-in of the tests has all its methods."""
import ast
import inspect
import os
import pathlib

import numpy as np
import pytest

import jitnet
from jitnet.errors import DeviceError
from jitnet.runtime.cuda import driver as cuda_driver
from jitnet.testing_gpu import FakeDriver, fake_gpus


def test_every_name_is_in_the_package():
    cu = pytest.importorskip("cuda.bindings.driver")
    tree = ast.parse(pathlib.Path(cuda_driver.__file__).read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.lower().startswith("cu")
             and node.attr not in ("cu", "current")}
    assert len(names) > 40
    missing = []
    for name in names:
        holders = [cu, *(getattr(cu, kind) for kind in dir(cu) if kind.startswith("CU") and kind.endswith(
            ("_flags", "_attribute", "Mode", "Type", "CUresult")))]
        if not any(hasattr(holder, name) for holder in holders):
            missing.append(name)
    assert missing == []
    for attribute in (*cuda_driver.ATTRIBUTES.values(), "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR"):
        assert hasattr(cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{attribute}")
    for name in cuda_driver.LOST | cuda_driver.OLD_DRIVER | {"OUT_OF_MEMORY"}:
        assert hasattr(cu.CUresult, f"CUDA_ERROR_{name}"), name


def test_the_stand_in_has_the_same_methods():
    for name, method in vars(cuda_driver.Driver).items():
        if not name.startswith("_") and inspect.isfunction(method):
            wanted, found = (list(inspect.signature(f).parameters) for f in (method, getattr(FakeDriver, name)))
            assert wanted == found, name


def test_a_forked_process_is_told():
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    with fake_gpus() as driver:
        driver.process = os.getpid()
        x = jitnet.asarray(np.arange(3.0), device="gpu")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:   # nothing of pytest's may run here
            texts = []
            for use in (x.numpy, lambda: jitnet.asarray(1.0, device="gpu"), jitnet.num_gpus):
                try:
                    use()
                except DeviceError as error:
                    texts.append(str(error).split("\n")[0])
            os.write(write, "|".join(texts).encode())
            os._exit(0)
        os.waitpid(child, 0)
        first, second, third = os.read(read, 4000).decode().split("|")
        assert "gpu(0) was lost" in first and "forked" in first and "forked" in second and "forked" in third
        assert float(x[1]) == 1
