"""Batches, and iterators over them; iterators made of other iterators."""
from __future__ import annotations

import queue
import threading
from collections import namedtuple

import numpy as np


class DataDesc(namedtuple("DataDesc", ["name", "shape"])):
    """Name and shape of an input, equal to the tuple of both; with `dtype` and `layout`, in which N is the batch's axis."""

    def __new__(cls, name, shape, dtype=np.float32, layout="NCHW"):
        desc = super().__new__(cls, name, tuple(shape))
        desc.dtype, desc.layout = dtype, layout
        return desc

    def __repr__(self) -> str:
        return f"DataDesc[{self.name},{self.shape},{self.dtype},{self.layout}]"

    def __reduce__(self):
        return DataDesc, (self.name, self.shape, self.dtype, self.layout)

    @staticmethod
    def get_batch_axis(layout: str | None) -> int:
        """The axis of the batch in a layout, 0 where there is none, -1 where it has no N."""
        return 0 if layout is None else layout.find("N")

    @staticmethod
    def get_list(shapes, types) -> list[DataDesc]:
        """Descriptions from [(name, shape), ...] and [(name, dtype), ...] (or None)."""
        kinds = dict(types or ())
        return [DataDesc(name, shape, kinds[name]) if types is not None else DataDesc(name, shape) for name, shape in shapes]


class DataBatch:
    """One batch: lists of NDArrays. `pad`: how many rows at the end only fill it up; `index`: numbers of its rows."""

    def __init__(self, data, label=None, pad=None, index=None, bucket_key=None, provide_data=None, provide_label=None):
        for name, value in (("Data", data), ("Label", label)):
            if value is not None and not isinstance(value, (list, tuple)):
                raise TypeError(f"{name} must be list of NDArrays, got {type(value).__name__}")
        self.data, self.label, self.pad, self.index = data, label, pad, index
        self.bucket_key, self.provide_data, self.provide_label = bucket_key, provide_data, provide_label

    def __str__(self) -> str:
        labels = [x.shape for x in self.label] if self.label else None
        return f"{type(self).__name__}: data shapes: {[x.shape for x in self.data]} label shapes: {labels}"


class DataIter:
    """The base of iterators over batches: a class defines `iter_next`, `getdata`, `getlabel` and `getpad`, or `next`."""

    def __init__(self, batch_size: int = 0):
        self.batch_size = batch_size

    def __iter__(self):
        return self

    def __next__(self) -> DataBatch:
        return self.next()

    def reset(self) -> None:
        """Starts again from the first batch; an iterator of one pass has nothing to do."""

    def next(self) -> DataBatch:
        """The next batch; StopIteration at the end."""
        if not self.iter_next():
            raise StopIteration
        return DataBatch(self.getdata(), self.getlabel(), self.getpad(), self.getindex())

    def iter_next(self) -> bool:
        """Goes to the next batch; False at the end."""
        return False

    def getdata(self) -> list:
        """Data of the current batch."""
        return self.current_batch.data

    def getlabel(self) -> list:
        """Labels of the current batch."""
        return self.current_batch.label

    def getpad(self) -> int:
        """How many rows of the current batch only fill it up."""
        return self.current_batch.pad

    def getindex(self):
        """Numbers of the rows of the current batch, where they are known."""
        return getattr(getattr(self, "current_batch", None), "index", None)


class ResizeIter(DataIter):
    """`size` batches per epoch of another iterator, which starts again as often as that takes."""

    def __init__(self, data_iter: DataIter, size: int, reset_internal: bool = True):
        super().__init__(data_iter.batch_size)
        self.data_iter, self.size, self.reset_internal, self.cur = data_iter, size, reset_internal, 0
        self.current_batch: DataBatch | None = None
        self.provide_data, self.provide_label = data_iter.provide_data, data_iter.provide_label
        if hasattr(data_iter, "default_bucket_key"):
            self.default_bucket_key = data_iter.default_bucket_key

    def reset(self) -> None:
        self.cur = 0
        if self.reset_internal:
            self.data_iter.reset()

    def iter_next(self) -> bool:
        if self.cur == self.size:
            return False
        try:
            self.current_batch = self.data_iter.next()
        except StopIteration:
            self.data_iter.reset()
            self.current_batch = self.data_iter.next()
        self.cur += 1
        return True


class PrefetchingIter(DataIter):
    """The batches of one or several iterators, side by side, read ahead by a thread.

    rename_data, rename_label: a dict per iterator from its names to new ones.
    """

    def __init__(self, iters, rename_data=None, rename_label=None):
        self.iters = iters if isinstance(iters, list) else [iters]
        if not self.iters:
            raise ValueError("PrefetchingIter needs at least one iterator")
        self.rename_data, self.rename_label = rename_data, rename_label
        super().__init__(self.provide_data[0].shape[0])
        self.current_batch: DataBatch | None = None
        self._ready: queue.Queue = queue.Queue(maxsize=1)
        self._wanted: queue.Queue = queue.Queue()
        self._ended = False
        # the thread holds the iterators and queues, not this object, which can so be collected and end it
        threading.Thread(target=_read_ahead, args=(self.iters, self._wanted, self._ready), daemon=True).start()
        self._wanted.put("next")

    def __del__(self):
        if hasattr(self, "_wanted"):
            self._wanted.put("stop")

    @property
    def provide_data(self) -> list[DataDesc]:
        """Descriptions of all iterators' data."""
        return self._described("provide_data", self.rename_data)

    @property
    def provide_label(self) -> list[DataDesc]:
        """Descriptions of all iterators' labels."""
        return self._described("provide_label", self.rename_label)

    def _described(self, what: str, renamed) -> list[DataDesc]:
        found = [[x if isinstance(x, DataDesc) else DataDesc(*x) for x in getattr(one, what)] for one in self.iters]
        if renamed is not None:
            found = [[DataDesc(names[x.name], x.shape, x.dtype, x.layout) for x in part] for names, part in zip(renamed, found)]
        return [x for part in found for x in part]

    def reset(self) -> None:
        if not self._ended:
            self._ready.get()  # what was read ahead belongs to the epoch that is given up
        self._ended = False
        for one in self.iters:
            one.reset()
        self._wanted.put("next")

    def iter_next(self) -> bool:
        if self._ended:
            return False
        batches = self._ready.get()
        if isinstance(batches, BaseException):
            self._ended = True
            raise batches
        if all(batch is None for batch in batches):
            self._ended = True
            return False
        if any(batch is None or batch.pad != batches[0].pad for batch in batches):
            raise ValueError("Number of entry mismatches between iterators")
        self._wanted.put("next")
        self.current_batch = DataBatch([x for b in batches for x in b.data], [x for b in batches for x in b.label or ()],
                                       batches[0].pad, batches[0].index, provide_data=self.provide_data,
                                       provide_label=self.provide_label)
        return True

    def next(self) -> DataBatch:
        if not self.iter_next():
            raise StopIteration
        return self.current_batch


def _read_ahead(iters, wanted: queue.Queue, ready: queue.Queue) -> None:
    """Puts a list of batches (None: that iterator has ended), or an error, for every "next"."""
    while wanted.get() == "next":
        try:
            found = [next(one, None) for one in iters]
        except Exception as error:  # comes up where the batch is asked for
            found = error
        ready.put(found)
