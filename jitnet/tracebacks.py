"""Tracebacks without jitnet's own frames: an error in a traced function shows the user's lines alone.

    try:
        ...
    except BaseException as error:
        try:
            raise leaving(error)
        except BaseException as left:
            cut(left)      # this frame
            raise          # a bare `raise` does not add the frame it stands in
"""
from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import TracebackType

from . import config
from .errors import JitnetError, Source, TraceBranchError

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def cut(error: BaseException) -> None:
    """Takes jitnet's frames out of the error's traceback, unless JITNET_FULL_TRACEBACK=1."""
    if not config.switched_on("JITNET_FULL_TRACEBACK"):
        error.__traceback__ = _without_own(error.__traceback__)


def cutting(function: Callable) -> Callable:
    """A decorator: errors leave without jitnet's frames, and what a traced value caused inside NumPy in jitnet's words."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            try:
                raise leaving(error)
            except BaseException as left:
                cut(left)
                raise
    return call


def leaving(error: BaseException) -> BaseException:
    """The error, or in its place jitnet's own words for what a traced value caused inside NumPy."""
    own = in_own_words(error)
    if own is None:
        return error
    own.__suppress_context__ = True
    return own.with_traceback(error.__traceback__)


def in_own_words(error: BaseException) -> JitnetError | None:
    """The jitnet error behind one of NumPy's that a traced value caused (`out[0] = traced`); None otherwise."""
    if isinstance(error, JitnetError) or not isinstance(error, TypeError | ValueError):
        return None
    if isinstance(error.__cause__, JitnetError):
        return error.__cause__
    if "Tracer<" not in str(error):
        return None
    last, links = None, error.__traceback__
    while links is not None:
        if not links.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            last = Source(links.tb_frame.f_code.co_filename, links.tb_lineno, links.tb_frame.f_code.co_name)
        links = links.tb_next
    return TraceBranchError(
        f"a traced value where NumPy needs a number that is known now: {error}",
        "sizes and options are fixed when a function is compiled: take them from `x.shape`, or mark the argument static "
        "with `static_argnames`", last)


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
