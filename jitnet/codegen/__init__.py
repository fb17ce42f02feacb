"""Code generation: loop nests to kernel source, and the scalar math that kernels are made of."""
