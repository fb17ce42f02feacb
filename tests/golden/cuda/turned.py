def kernel(x0: "f32*", out0: "f32*", p0: "i64", w0: "i64", n0: "i64", p1: "i64", w1: "i64", n1: "i64", w2: "i64", n2: "i64", c0: "f32", s0: "i64", s1: "i64", s2: "i64", w3: "i64", w4: "i64", s3: "i64"):
    square0 = shared_f32(1280, 0)
    thread = thread_y() * threads_x() + thread_x()
    down = div_(thread, w1)
    along = thread - down * w1
    g = block_x()
    while g < n2:
        g1 = div_(g, p1)
        block = g - g1 * p1
        block_start = block * w1
        block_stop = min(block_start + w1, n1)
        square = g1
        square_start = square * w0
        square_stop = min(square_start + w0, n0)
        whole = (square_stop - square_start == w0) & (block_stop - block_start == w1)
        j = square_start + thread_x()
        if whole:
            i = block_start + thread_y()
            at = j + i * s0
            a0 = x0[at]
            a1 = x0[at + s1]
            a2 = x0[at + 2 * s1]
            a3 = x0[at + 3 * s1]
        else:
            j = min(j, square_stop - 1)
            i = min(block_start + thread_y(), block_stop - 1)
            a0 = x0[j + i * s0]
            i = min(block_start + thread_y() + threads_y(), block_stop - 1)
            a1 = x0[j + i * s0]
            i = min(block_start + thread_y() + 2 * threads_y(), block_stop - 1)
            a2 = x0[j + i * s0]
            i = min(block_start + thread_y() + 3 * threads_y(), block_stop - 1)
            a3 = x0[j + i * s0]
        square0[thread_x() * w2 + thread_y()] = a0
        square0[thread_x() * w2 + thread_y() + threads_y()] = a1
        square0[thread_x() * w2 + thread_y() + 2 * threads_y()] = a2
        square0[thread_x() * w2 + thread_y() + 3 * threads_y()] = a3
        sync()
        i = block_start + along
        j = square_start + down
        row = down * w2 + along
        far0 = j * s2
        for _ in range(4):
            if (i < block_stop) & (j < square_stop):
                t0 = square0[row]
                t1 = t0 * c0
                out0[far0 + i] = t1
            j += w3
            row += w4
            far0 += s3
        sync()
        g += blocks_x()
# 4 blocks of 32x8 threads
