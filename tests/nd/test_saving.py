"""Files of arrays: MXNet's bytes, lists and dicts, old layouts, damaged files."""
import struct

import numpy as np
import pytest

import jitnet as mx
from jitnet import nd

# What MXNet 1.9.1 writes for {"w": ones((1, 2)), "i": array([3], dtype="int32")}
MXNET_FILE = bytes.fromhex(
    "1201000000000000" "0000000000000000" "0200000000000000"
    "c9fa93f9" "00000000" "02000000" "0100000000000000" "0200000000000000" "01000000" "00000000" "00000000" "0000803f0000803f"
    "c9fa93f9" "00000000" "01000000" "0100000000000000" "01000000" "00000000" "04000000" "03000000"
    "0200000000000000" "0100000000000000" "77" "0100000000000000" "69")


def test_bytes_are_those_of_mxnet(tmp_path):
    path = tmp_path / "a.params"
    nd.save(path, {"w": nd.ones((1, 2)), "i": nd.array([3], dtype="int32")})
    assert path.read_bytes() == MXNET_FILE
    loaded = nd.load(path)
    assert list(loaded) == ["w", "i"] and loaded["i"].dtype is np.int32 and loaded["i"].asscalar() == 3


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64"])
def test_what_is_written_is_read(tmp_path, dtype, rng):
    arrays = [nd.array(rng.integers(0, 100, shape), dtype=dtype) for shape in ((2, 3), (4,), (), (0, 2), (1, 1, 2))]
    nd.save(str(tmp_path / "a"), arrays)
    for array, again in zip(arrays, nd.load(str(tmp_path / "a")), strict=True):
        assert again.dtype is array.dtype and again.shape == array.shape
        np.testing.assert_array_equal(again.asnumpy(), array.asnumpy())


def test_layouts_from_before_are_read():
    body = struct.pack("<iii", 1, 0, 0) + np.float32([5, 6]).tobytes()
    v1 = struct.pack("<Iiq", 0xF993FAC8, 1, 2) + body
    oldest = struct.pack("<II", 1, 2) + body
    content = struct.pack("<QQQ", 0x112, 0, 2) + v1 + oldest + struct.pack("<Q", 0)
    for array in nd.load_frombuffer(content):
        np.testing.assert_array_equal(array.asnumpy(), [5, 6])


def test_damaged_files_are_refused(tmp_path):
    for content in (b"", b"no file of arrays at all....", MXNET_FILE[:60], MXNET_FILE[:-1]):
        with pytest.raises(mx.errors.MXNetError, match="is no file of arrays, or a damaged one"):
            nd.load_frombuffer(content)
    with pytest.raises(TypeError, match="only accepts NDArrays"):
        nd.save(tmp_path / "a", [np.ones(2)])
    assert not list(tmp_path.iterdir())
