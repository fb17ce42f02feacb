"""Iterators over batches of training data."""
from .base import DataBatch as DataBatch, DataDesc as DataDesc, DataIter as DataIter
from .base import PrefetchingIter as PrefetchingIter, ResizeIter as ResizeIter
from .arrays import NDArrayIter as NDArrayIter
from .files import CSVIter as CSVIter, MNISTIter as MNISTIter
