"""Iterators: what batches hold, how epochs end and start."""
import gzip
import struct

import numpy as np
import pytest

import jitnet as mx

X = np.arange(20, dtype=np.float32).reshape(10, 2)


def first_column(batches):
    return [b.data[0].asnumpy()[:, 0].astype(int).tolist() for b in batches]


def test_pad_fills_up_from_the_start():
    it = mx.io.NDArrayIter(X, np.arange(10), batch_size=4)
    for _ in range(2):
        batches = list(it)
        assert first_column(batches) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18, 0, 2]]
        assert [b.pad for b in batches] == [0, 0, 2]
        assert batches[2].label[0].asnumpy().tolist() == [8, 9, 0, 1]
        it.reset()
    wide = mx.io.NDArrayIter(X[:3], batch_size=8)
    assert first_column(wide) == [[0, 2, 4, 0, 2, 4, 0, 2]]


def test_discard_and_roll_over():
    it = mx.io.NDArrayIter(X, batch_size=4, last_batch_handle="discard")
    assert first_column(it) == [[0, 2, 4, 6], [8, 10, 12, 14]]
    it = mx.io.NDArrayIter(X, batch_size=4, last_batch_handle="roll_over")
    assert first_column(it) == [[0, 2, 4, 6], [8, 10, 12, 14]]
    it.reset()
    assert first_column(it) == [[16, 18, 0, 2], [4, 6, 8, 10], [12, 14, 16, 18]]
    it.reset()
    assert first_column(it)[0] == [0, 2, 4, 6]
    list(it)
    it.hard_reset()
    assert first_column(it)[0] == [0, 2, 4, 6]


def test_shuffle_keeps_rows_together_and_follows_the_seed():
    np.random.seed(4)
    it = mx.io.NDArrayIter(X, np.arange(10), batch_size=5, shuffle=True)
    first = list(it)
    for b in first:
        np.testing.assert_array_equal(b.data[0].asnumpy()[:, 0], 2 * b.label[0].asnumpy())
    it.reset()
    second = first_column(it)
    assert sorted(x for part in second for x in part) == list(range(0, 20, 2)) and second != first_column(first)
    np.random.seed(4)
    assert first_column(mx.io.NDArrayIter(X, batch_size=5, shuffle=True)) == first_column(first)


def test_names_shapes_and_dtypes():
    it = mx.io.NDArrayIter({"b": X, "a": X.astype(np.float64)}, [np.arange(10), np.arange(10)], batch_size=5)
    assert it.provide_data == [("a", (5, 2)), ("b", (5, 2))]
    assert [d.name for d in it.provide_label] == ["_0_softmax_label", "_1_softmax_label"]
    assert it.provide_data[0].dtype == np.float32
    assert repr(it.provide_data[0]) == "DataDesc[a,(5, 2),<class 'numpy.float32'>,NCHW]"
    time_major = mx.io.NDArrayIter(X.T, batch_size=5, layout="TN")
    assert time_major.provide_data == [("data", (2, 5))]
    assert next(time_major).data[0].asnumpy().tolist() == X.T[:, :5].tolist()
    batch = next(it)
    assert str(batch) == "DataBatch: data shapes: [(5, 2), (5, 2)] label shapes: [(5,), (5,)]"


def test_batches_are_copies():
    source = mx.nd.array(X)
    batch = next(mx.io.NDArrayIter(source, batch_size=5))
    batch.data[0][:] = 0
    assert source.asnumpy().sum() == X.sum()


@pytest.mark.parametrize("make, kind, message", [
    (lambda: mx.io.NDArrayIter(None), ValueError, "needs data"),
    (lambda: mx.io.NDArrayIter(X, np.arange(9)), ValueError, "softmax_label has 9 rows, data 10"),
    (lambda: mx.io.NDArrayIter(X, last_batch_handle="odd"), ValueError, "none of pad, discard, roll_over"),
    (lambda: mx.io.NDArrayIter(7), TypeError, "Input must be NDArray"),
    (lambda: mx.io.DataBatch(X), TypeError, "Data must be list of NDArrays")])
def test_what_makes_no_sense_is_an_error(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_resize():
    it = mx.io.ResizeIter(mx.io.NDArrayIter(X, batch_size=5), 3)
    assert first_column(it) == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18], [0, 2, 4, 6, 8]]
    it.reset()
    assert len(list(it)) == 3 and it.provide_data == [("data", (5, 2))]


def test_prefetching_reads_the_same_batches():
    plain = mx.io.NDArrayIter(X, np.arange(10), batch_size=4)
    ahead = mx.io.PrefetchingIter([mx.io.NDArrayIter(X, np.arange(10), batch_size=4), mx.io.NDArrayIter(X + 1, batch_size=4)],
                                  rename_data=[{"data": "x"}, {"data": "y"}])
    assert [d.name for d in ahead.provide_data] == ["x", "y"]
    expected = first_column(plain)
    for _ in range(2):
        batches = list(ahead)
        assert first_column(batches) == expected and len(batches[0].data) == 2
        assert batches[0].data[1].asnumpy()[0, 0] == 1
        with pytest.raises(StopIteration):
            next(ahead)
        ahead.reset()
    next(ahead)
    ahead.reset()  # in the middle of an epoch
    assert first_column(ahead) == expected


def test_errors_while_reading_ahead_come_up():
    class Broken(mx.io.NDArrayIter):
        def next(self):
            raise OSError("disk")
    with pytest.raises(OSError, match="disk"):
        next(mx.io.PrefetchingIter(Broken(X)))


def test_files(tmp_path):
    np.savetxt(tmp_path / "x.csv", X, delimiter=",")
    np.savetxt(tmp_path / "y.csv", np.arange(10), delimiter=",")
    it = mx.io.CSVIter(tmp_path / "x.csv", (2, 1), 4, label_csv=tmp_path / "y.csv")
    batches = list(it)
    assert batches[0].data[0].shape == (4, 2, 1) and batches[0].label[0].asnumpy().tolist() == [0, 1, 2, 3]
    assert [(first_column(batches)[2], batches[2].pad)] == [([[16], [18], [0], [2]], 2)]
    it.reset()
    assert first_column(it) == [[[4], [6], [8], [10]], [[12], [14], [16], [18]]]
    it = mx.io.CSVIter(tmp_path / "x.csv", (2,), 4, round_batch=False)
    for _ in range(2):
        assert [b.pad for b in it] == [0, 0, 2]
        it.reset()
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    with gzip.open(tmp_path / "images.gz", "wb") as file:
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, 3, 2, 2) + images.tobytes())
    (tmp_path / "labels").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes([7, 8, 9]))
    it = mx.io.MNISTIter(image=tmp_path / "images.gz", label=tmp_path / "labels", batch_size=3, shuffle=False)
    batch = next(it)
    np.testing.assert_array_equal(batch.data[0].asnumpy()[:, 0] * 256, images)
    assert batch.label[0].asnumpy().tolist() == [7, 8, 9]


def test_file_iterators_give_single_arrays_and_keep_integers(tmp_path):
    (tmp_path / "x.csv").write_text("200000001,3\n5,6\n")
    it = mx.io.CSVIter(tmp_path / "x.csv", (2,), 2, dtype="int32")
    batch = next(it)
    assert it.getdata().dtype == np.int32 and it.getdata().asnumpy().tolist() == [[200000001, 3], [5, 6]]
    assert batch.data[0].asnumpy().tolist() == it.getdata().asnumpy().tolist() and it.getlabel().shape == (2,)
