"""Iterators over batches of training data."""
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .base import DataBatch as DataBatch, DataDesc as DataDesc, DataIter as DataIter
from .base import PrefetchingIter as PrefetchingIter, ResizeIter as ResizeIter
from .arrays import NDArrayIter as NDArrayIter
from .files import CSVIter as CSVIter, MNISTIter as MNISTIter
from ..later import module_getattr as _module_getattr

if not _TYPE_CHECKING:
    __getattr__ = _module_getattr(__name__)
