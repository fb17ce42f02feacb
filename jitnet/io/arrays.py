"""NDArrayIter: batches of arrays in memory."""
from __future__ import annotations

import numpy as np

from ..nd import late, memory
from ..nd.creation import array
from ..nd.ndarray import NDArray
from .base import DataBatch, DataDesc, DataIter

LAST = ("pad", "discard", "roll_over")


def named(data, empty: bool, name: str) -> list[tuple[str, NDArray]]:
    """[(name, NDArray), ...] in the order of names, of an array, a list or a dict of them."""
    if data is None:
        if not empty:
            raise ValueError("NDArrayIter needs data")
        return []
    if isinstance(data, (np.ndarray, NDArray)):
        data = [data]
    if isinstance(data, (list, tuple)):
        if not data and not empty:
            raise ValueError("NDArrayIter needs data: the list is empty")
        data = {name: data[0]} if len(data) == 1 else {f"_{k}_{name}": x for k, x in enumerate(data)}
    if not isinstance(data, dict):
        raise TypeError(f"Input must be NDArray, numpy.ndarray, a list of them or dict with them as values: got "
                        f"{type(data).__name__}")
    found = []
    for key, value in sorted(data.items()):
        try:
            found.append((key, value if isinstance(value, NDArray) else array(value)))
        except TypeError:
            raise TypeError(f"Invalid type '{type(value)}' for {key}, should be NDArray or numpy.ndarray") from None
    return found


class NDArrayIter(DataIter):
    """Batches of one or several arrays, and of their labels, along the axis that `layout` calls N.

    shuffle: the order of rows is drawn anew by every `reset`, from NumPy's global generator (`numpy.random.seed`).
    last_batch_handle: a last batch that is not full is filled up from the start ("pad"), left out ("discard"), or kept for the
    next epoch ("roll_over").

    >>> import jitnet as mx
    >>> batches = mx.io.NDArrayIter(np.arange(5), np.arange(5), batch_size=2)
    >>> [(batch.data[0].asnumpy().tolist(), batch.pad) for batch in batches]
    [([0.0, 1.0], 0), ([2.0, 3.0], 0), ([4.0, 0.0], 1)]
    """

    def __init__(self, data, label=None, batch_size=1, shuffle=False, last_batch_handle="pad", data_name="data",
                 label_name="softmax_label", layout="NCHW"):
        super().__init__(batch_size)
        self.data, self.label = named(data, False, data_name), named(label, True, label_name)
        self.layout, self._axis = layout, layout.find("N")
        self.num_data = self.data[0][1].shape[self._axis]
        for name, value in (*self.data, *self.label):
            if value.shape[self._axis] != self.num_data:
                raise ValueError(f"NDArrayIter: {name} has {value.shape[self._axis]} rows, {self.data[0][0]} {self.num_data}")
        if last_batch_handle not in LAST:
            raise ValueError(f"last_batch_handle {last_batch_handle!r} is none of {', '.join(LAST)}")
        if self.num_data < batch_size and last_batch_handle == "discard":
            raise ValueError(f"batch_size {batch_size} is more than there are rows: {self.num_data}")
        self.shuffle, self.last_batch_handle = shuffle, last_batch_handle
        self.idx = np.arange(self.num_data)
        self._order: np.ndarray | None = None   # rows in the order of this epoch; None: as they lie
        self._carried: np.ndarray | None = None  # rows that roll over into the next epoch
        self.cursor = -batch_size
        self.reset()

    @property
    def data_list(self) -> list[NDArray]:
        """The arrays of data, then of labels."""
        return [value for _, value in (*self.data, *self.label)]

    @property
    def provide_data(self) -> list[DataDesc]:
        """Names, shapes and dtypes of the data of a batch."""
        return self._described(self.data)

    @property
    def provide_label(self) -> list[DataDesc]:
        """Names, shapes and dtypes of the labels of a batch."""
        return self._described(self.label)

    def _described(self, parts) -> list[DataDesc]:
        k = self._axis
        return [DataDesc(name, (*x.shape[:k], self.batch_size, *x.shape[k + 1:]), x.dtype, self.layout) for name, x in parts]

    def hard_reset(self) -> None:
        """Starts again, without what rolled over."""
        self._draw_order()
        self.cursor, self._carried = -self.batch_size, None

    def reset(self) -> None:
        """Starts the next epoch, in a new order under `shuffle`."""
        kept = self.last_batch_handle == "roll_over" and self.num_data - self.batch_size < self.cursor < self.num_data
        if kept and self._carried is None:
            kept = False  # the last batch was never asked for
        self._draw_order()
        self.cursor = self.cursor - self.num_data - self.batch_size if kept else -self.batch_size
        if not kept:
            self._carried = None

    def _draw_order(self) -> None:
        if self.shuffle:
            np.random.shuffle(self.idx)
            self._order = self.idx.copy() if self._order is None else self._order[self.idx]

    def iter_next(self) -> bool:
        self.cursor += self.batch_size
        return self.cursor < self.num_data

    def next(self) -> DataBatch:
        if not self.iter_next():
            raise StopIteration
        if self.cursor + self.batch_size > self.num_data and self.last_batch_handle != "pad":
            self._carried = self._rows(np.arange(self.cursor, self.num_data))
            raise StopIteration
        data, label = ([x] if isinstance(x, NDArray) else x for x in (self.getdata(), self.getlabel()))
        return DataBatch(data, label, self.getpad(), None)

    def getdata(self) -> list[NDArray]:
        return self._batch(self.data)

    def getlabel(self) -> list[NDArray]:
        return self._batch(self.label)

    def getpad(self) -> int:
        if self.last_batch_handle == "pad" and self.cursor + self.batch_size > self.num_data:
            return self.cursor + self.batch_size - self.num_data
        return -self.cursor if self.last_batch_handle == "roll_over" and -self.batch_size < self.cursor < 0 else 0

    def _rows(self, places: np.ndarray) -> np.ndarray:
        return places if self._order is None else self._order[places]

    def _batch(self, parts) -> list[NDArray]:
        """The current batch of the arrays, in new memory; rows that lie side by side are copied when somebody looks."""
        if self.cursor >= self.num_data:
            raise StopIteration("DataIter needs reset.")
        first, last = self.cursor, self.cursor + self.batch_size
        if self._order is None and first >= 0 and last <= self.num_data:
            rows = slice(first, last)
        elif first < 0:
            rows = np.concatenate([self._carried, self._rows(np.arange(last))])
        else:
            rows = self._rows(np.arange(first, last) % self.num_data)
        return [self._picked(x, rows) for _, x in parts]

    def _picked(self, x: NDArray, rows) -> NDArray:
        data = memory.host(x._data)
        picked = data[(slice(None),) * self._axis + (rows,)]
        if isinstance(rows, slice) and picked.flags.c_contiguous and x.context.kind != "gpu":
            found = late.copy_of(x, picked)
            if found is not None:
                return found
        return NDArray(memory.placed(np.array(picked, order="C") if isinstance(rows, slice) else np.ascontiguousarray(picked),
                                     x.context), x.context)
