"""Modules: symbols with parameters, trained by `fit`, used by `score` and `predict`. Public as `jitnet.mod` too."""
from .base import BaseModule as BaseModule
from .bucketing import BucketingModule as BucketingModule
from .module import Module as Module
