"""What a card's libraries are given: through `cuda-bindings` down to a libcuda.so.1, and what the headers say of it."""
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from jitnet.runtime.cuda import cublaslt, driver

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("libcuda", HERE / "libcuda.py")
libcuda = importlib.util.module_from_spec(spec)
spec.loader.exec_module(libcuda)
KINDS = {"CUdeviceptr": libcuda.Q, "cuuint64_t": libcuda.Q, "unsigned long long": libcuda.Q, "size_t": libcuda.Z,
         "unsigned int": libcuda.U, "unsigned char": libcuda.B, "int": libcuda.I, "CUdevice": libcuda.I, "CUresult": libcuda.I}
NUMBERS = {"TRANSA": "MATMUL_DESC_TRANSA", "TRANSB": "MATMUL_DESC_TRANSB", "EPILOGUE": "MATMUL_DESC_EPILOGUE",
           "BIAS_POINTER": "MATMUL_DESC_BIAS_POINTER", "AUX_POINTER": "MATMUL_DESC_EPILOGUE_AUX_POINTER",
           "AUX_LEADING": "MATMUL_DESC_EPILOGUE_AUX_LD", "BATCH_COUNT": "MATRIX_LAYOUT_BATCH_COUNT",
           "STRIDED_BATCH_OFFSET": "MATRIX_LAYOUT_STRIDED_BATCH_OFFSET",
           "MAX_WORKSPACE_BYTES": "MATMUL_PREF_MAX_WORKSPACE_BYTES",
           "REDUCTIONS": "MATMUL_PREF_REDUCTION_SCHEME_MASK", "MIN_ALIGNMENT": "MATMUL_PREF_MIN_ALIGNMENT_A_BYTES",
           "SUMS_WIDE": "REDUCTION_SCHEME_COMPUTE_TYPE"}   # cublaslt.py's names -> those of cublasLt.h


def header(name):
    """The text of a header of CUDA's, from a wheel or a toolkit."""
    folders = [*pathlib.Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/include"),
               pathlib.Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "include")]
    for folder in folders:
        if (folder / name).exists():
            return (folder / name).read_text()
    pytest.skip(f"no {name} here")


def through_cuda_bindings(tmp_path, cuda):
    """The last line that libcuda.py prints, with a driver for that CUDA."""
    pytest.importorskip("cuda.bindings.driver")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler here")
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, HERE / "libcuda.c"], check=True)
    path = os.pathsep.join([str(HERE.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, HERE / "libcuda.py", library, str(cuda)], capture_output=True, text=True,
                          timeout=600, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def test_programs_through_cuda_bindings(tmp_path):
    """Values, loops that the device decides, patched graphs and errors, as driver.py passes them on."""
    assert through_cuda_bindings(tmp_path, 13000) == "all agree"


def test_a_driver_without_some_function(tmp_path):
    assert "the driver, for CUDA 12.0, is older than" in through_cuda_bindings(tmp_path, 12000)


def kind(argument):
    """How C passes an argument."""
    if "*" in argument:
        return libcuda.P
    name = argument.replace("const ", "").rsplit(" ", 1)[0].strip()
    return KINDS.get(name) or (libcuda.I if name.endswith(("_attribute", "Mode")) else libcuda.P)


def test_the_functions_are_those_of_cuda_h():
    text = header("cuda.h")
    for name, function in vars(libcuda.Library).items():
        if name.startswith("cu"):
            written = re.search(rf"#define (\w+) +{name}\n", text)   # under another name, whose present form it is
            found = re.search(rf"CUDAAPI {written.group(1) if written else name}\s*\(([^)]*)\)", text)
            wanted = [kind(" ".join(argument.split())) for argument in found.group(1).split(",")]
            assert [t for k, t in function.__annotations__.items()] == wanted, name


def test_every_function_of_the_driver_is_here():
    names = set(re.findall(r"self\.cu\.(cu[A-Z]\w+)\(|\bcu\.(cu[A-Z]\w+)\(", pathlib.Path(driver.__file__).read_text()))
    for name in (a or b for a, b in names):
        assert any(hasattr(libcuda.Library, n) for n in (name, name + "WithFlags")), name


def test_numbers_of_cublaslt_h():
    text = header("cublasLt.h")
    numbers = {}
    for name, value in re.findall(r"^ +(CUBLASLT_\w+) = ([^,/]+?),?$", text, re.MULTILINE):
        try:
            numbers[name] = eval(value, {}, numbers)
        except (NameError, SyntaxError):   # not of the enumerations that are used here
            continue
    for ours, theirs in NUMBERS.items():
        assert getattr(cublaslt, ours) == numbers[f"CUBLASLT_{theirs}"], ours
    swapped = {"": "DEFAULT", "bgrad_a": "BGRADB", "bgrad_b": "BGRADA"}   # a and b of row-major products are B and A there
    for name, number in cublaslt.EPILOGUES.items():
        assert number == numbers[f"CUBLASLT_EPILOGUE_{swapped.get(name, name.upper())}"], name
