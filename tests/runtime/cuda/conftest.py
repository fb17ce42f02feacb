"""GPUs made of host memory."""
import pytest

from jitnet.testing_gpu import fake_gpus


@pytest.fixture
def driver():
    """The driver of a machine with one GPU."""
    with fake_gpus() as made:
        yield made


@pytest.fixture
def drivers():
    """The driver of a machine with two GPUs."""
    with fake_gpus(2) as made:
        yield made
