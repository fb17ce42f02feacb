"""CUDA: devices in use, their memory, and programs that run on them."""
