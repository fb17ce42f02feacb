"""Tracebacks without jitnet's own frames: an error in a traced function shows the user's lines alone.

    try:
        ...
    except BaseException as error:
        cut(error)
        raise              # a bare `raise` does not add the frame it stands in
"""
from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import TracebackType

from . import config

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def cut(error: BaseException) -> None:
    """Takes jitnet's frames out of the error's traceback, unless JITNET_FULL_TRACEBACK=1."""
    if not config.switched_on("JITNET_FULL_TRACEBACK"):
        error.__traceback__ = _without_own(error.__traceback__)


def cutting(function: Callable) -> Callable:
    """A decorator: errors leave the function without jitnet's frames."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            cut(error)
            raise
    return call


def _without_own(traceback: TracebackType | None) -> TracebackType | None:
    links = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            links.append(traceback)
        traceback = traceback.tb_next
    kept = None
    for link in reversed(links):
        kept = TracebackType(kept, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return kept
