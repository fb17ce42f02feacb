"""Tests on a card: skipped, with what was looked for and found, where there is none."""
import pytest

import jitnet
from jitnet.errors import DeviceError


def pytest_collection_modifyitems(items):
    if jitnet.num_gpus() == 0:
        try:
            jitnet.gpu()
        except DeviceError as error:
            reason = error.hint
        for item in items:
            if "gpu" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=reason))
