"""Iterators over files: comma separated values, and MNIST's own format."""
from __future__ import annotations

import gzip
import struct

import numpy as np

from ..nd.creation import array
from ..nd.ndarray import NDArray
from .arrays import NDArrayIter


class _FileIter(NDArrayIter):
    """What reads files has one array of data and one of labels; `getdata` and `getlabel` give them alone, as in MXNet."""

    def getdata(self) -> NDArray:
        return super().getdata()[0]

    def getlabel(self) -> NDArray:
        return super().getlabel()[0]


class CSVIter(_FileIter):
    """Batches of the rows of a file of comma separated numbers, each reshaped to `data_shape`. Labels likewise, 0 without one.

    A last batch that is not full is filled up from the start; its `pad` says with how many rows. round_batch: the next epoch
    begins after these rows.
    """

    def __init__(self, data_csv, data_shape, batch_size, label_csv=None, label_shape=(1,), round_batch=True, data_name="data",
                 label_name="label", dtype="float32"):
        data = _table(data_csv, data_shape, dtype)
        labels = np.zeros((len(data), *label_shape), dtype) if label_csv is None else _table(label_csv, label_shape, dtype)
        if tuple(label_shape) == (1,):
            labels = labels.reshape(-1)
        self.round_batch = round_batch
        super().__init__({data_name: array(data, dtype=dtype)}, {label_name: array(labels, dtype=dtype)}, batch_size)

    def reset(self) -> None:
        """Starts the next epoch: after the rows that filled up the last batch under `round_batch`, else at the first row."""
        end = self.cursor if self.cursor >= self.num_data else self.cursor + self.batch_size
        super().reset()
        if self.round_batch and end > self.num_data:
            self.cursor += end - self.num_data


def _table(path, shape, dtype) -> np.ndarray:
    rows = np.loadtxt(path, delimiter=",", dtype=dtype, ndmin=2)
    if rows.shape[1] != int(np.prod(shape)):
        raise ValueError(f"{path}: a row has {rows.shape[1]} numbers, the shape {tuple(shape)} takes {int(np.prod(shape))}")
    return rows.reshape(len(rows), *shape)


class MNISTIter(_FileIter):
    """Batches of images (1, 28, 28), or (784,) under `flat`, from 0 to 1, and their labels, from files in MNIST's format, as
    they are or with gzip. The last batch is left out where it is not full. seed: of the order under `shuffle`."""

    def __init__(self, image, label, batch_size=128, shuffle=True, flat=False, seed=0, silent=True, data_name="data",
                 label_name="softmax_label"):
        images, labels = _read_idx(image), _read_idx(label)
        images = images.astype(np.float32) / 256
        if shuffle:
            order = np.random.default_rng(seed).permutation(len(images))
            images, labels = images[order], labels[order]
        images = images.reshape(len(images), -1) if flat else images[:, None]
        super().__init__({data_name: images}, {label_name: labels.astype(np.float32)}, batch_size, last_batch_handle="discard")


def _read_idx(path) -> np.ndarray:
    """The bytes of a file in the IDX format: two zeros, type, number of axes, sizes as big-endian integers, values."""
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
        head = file.read(4)
        if len(head) != 4 or head[:3] != b"\x00\x00\x08":
            raise ValueError(f"{path} is no file of bytes in MNIST's format")
        shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
        return np.frombuffer(file.read(), np.uint8).reshape(shape)
