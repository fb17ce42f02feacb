"""What runs compiled code: kernels and their cache, the thread pool, native programs and the call entry."""
