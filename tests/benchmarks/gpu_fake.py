"""A process that imports this has a GPU made of its memory (testing_gpu.py): `gpu.py --rehearse` runs on it, and tests/gpu."""
from jitnet.testing_gpu import fake_gpus

opened = fake_gpus(memory=1 << 32)
driver = opened.__enter__()
