def kernel(x0: "f32*", out0: "f32*", p0: "i64", w0: "i64", n0: "i64", p1: "i64", w1: "i64", n1: "i64", n2: "i64", c0: "f32", s0: "i64", s1: "i64"):
    square0 = shared_f32(1056, 0)
    g = block_x()
    while g < n2:
        g1 = div_(g, p1)
        block = g - g1 * p1
        block_start = block * w1
        block_stop = min(block_start + w1, n1)
        square = g1
        square_start = square * w0
        square_stop = min(square_start + w0, n0)
        j = min(square_start + thread_x(), square_stop - 1)
        i = min(block_start + thread_y() + 0, block_stop - 1)
        a0 = x0[j + i * s0]
        i = min(block_start + thread_y() + 8, block_stop - 1)
        a8 = x0[j + i * s0]
        i = min(block_start + thread_y() + 16, block_stop - 1)
        a16 = x0[j + i * s0]
        i = min(block_start + thread_y() + 24, block_stop - 1)
        a24 = x0[j + i * s0]
        square0[(thread_y() + 0) * 33 + thread_x()] = a0
        square0[(thread_y() + 8) * 33 + thread_x()] = a8
        square0[(thread_y() + 16) * 33 + thread_x()] = a16
        square0[(thread_y() + 24) * 33 + thread_x()] = a24
        sync()
        i = block_start + thread_x()
        for k in range(0, 32, 8):
            j = square_start + thread_y() + k
            if (i < block_stop) & (j < square_stop):
                t0 = square0[thread_x() * 33 + thread_y() + k]
                t1 = t0 * c0
                out0[j * s1 + i] = t1
        sync()
        g += blocks_x()
# 4 blocks of 32x8 threads
