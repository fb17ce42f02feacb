"""Modules: symbols with parameters, trained by `fit`, used by `score` and `predict`. Public as `jitnet.mod` too."""
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .base import BaseModule as BaseModule
from .bucketing import BucketingModule as BucketingModule
from .module import Module as Module
from ..later import module_getattr as _module_getattr

if not _TYPE_CHECKING:
    __getattr__ = _module_getattr(__name__)
