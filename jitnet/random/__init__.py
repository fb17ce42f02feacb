"""Random numbers: `Generator`, whose state is explicit and can be traced, split and batched."""
from .generator import Generator as Generator
