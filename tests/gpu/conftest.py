"""Tests on a card: skipped, with what was looked for and found, where there is none; failures are shown as they come.

A machine with a card may be lent for minutes: what a run that is cut off has found must be on the screen by then.
"""
import os
import pathlib
import sys

import pytest

import jitnet
from jitnet.errors import DeviceError

HERE = pathlib.Path(__file__).resolve().parent


def pytest_collection_modifyitems(items):
    if jitnet.num_gpus() == 0:
        try:
            jitnet.gpu()
        except DeviceError as error:
            reason = error.hint
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report):
    if "PYTEST_XDIST_WORKER" not in os.environ and report.failed and report.nodeid.startswith("tests/gpu/"):
        print(f"\n{report.nodeid}\n{report.longreprtext[-1500:]}", file=sys.__stderr__, flush=True)
