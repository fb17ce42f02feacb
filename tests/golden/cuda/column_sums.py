def kernel(x0: "f32*", out0: "f32*", p0: "i64", w0: "i64", n0: "i64", n1: "i64", s0: "i64", s1: "i64"):
    strips = div_(n1 + threads_x() - 1, threads_x())
    g = block_x()
    while g < p0 * strips:
        g1 = div_(g, strips)
        strip = g - g1 * strips
        chunk = g1
        chunk_start = chunk * w0
        chunk_stop = min(chunk_start + w0, n0)
        j = strip * threads_x() + thread_x()
        live = j < n1
        j = min(j, n1 - 1)
        stop = chunk_stop if live else chunk_start
        total_acc0 = f64(0)
        q = chunk_start + thread_y()
        while q < stop:
            acc0 = f32(0)
            end = min(q + 256 * threads_y(), stop)
            while q + 7 * threads_y() < end:
                t0 = x0[j + q * s0]
                t1 = x0[j + (q + threads_y()) * s0]
                t2 = x0[j + (q + 2 * threads_y()) * s0]
                t3 = x0[j + (q + 3 * threads_y()) * s0]
                t4 = x0[j + (q + 4 * threads_y()) * s0]
                t5 = x0[j + (q + 5 * threads_y()) * s0]
                t6 = x0[j + (q + 6 * threads_y()) * s0]
                t7 = x0[j + (q + 7 * threads_y()) * s0]
                acc0 = add_reduce_(acc0, t0)
                acc0 = add_reduce_(acc0, t1)
                acc0 = add_reduce_(acc0, t2)
                acc0 = add_reduce_(acc0, t3)
                acc0 = add_reduce_(acc0, t4)
                acc0 = add_reduce_(acc0, t5)
                acc0 = add_reduce_(acc0, t6)
                acc0 = add_reduce_(acc0, t7)
                q += 8 * threads_y()
            while q < end:
                t8 = x0[j + q * s0]
                acc0 = add_reduce_(acc0, t8)
                q += threads_y()
            total_acc0 = total_acc0 + f64(acc0)
        acc0 = f32(column_add_(total_acc0))
        at0 = chunk * s1 + j
        if live & (thread_y() == 0):
            out0[at0] = acc0
        g += blocks_x()
# 2 blocks of 32x8 threads


def kernel(x0: "f32*", out0: "f32*", n0: "i64", n1: "i64", s0: "i64"):
    strips = div_(n0 + threads_x() - 1, threads_x())
    g = block_x()
    while g < strips:
        strip = g
        j = strip * threads_x() + thread_x()
        live = j < n0
        j = min(j, n0 - 1)
        stop = n1 if live else 0
        total_acc0 = f64(0)
        q = thread_y()
        while q < stop:
            acc0 = f32(0)
            end = min(q + 256 * threads_y(), stop)
            while q + 7 * threads_y() < end:
                t0 = x0[j + q * s0]
                t1 = x0[j + (q + threads_y()) * s0]
                t2 = x0[j + (q + 2 * threads_y()) * s0]
                t3 = x0[j + (q + 3 * threads_y()) * s0]
                t4 = x0[j + (q + 4 * threads_y()) * s0]
                t5 = x0[j + (q + 5 * threads_y()) * s0]
                t6 = x0[j + (q + 6 * threads_y()) * s0]
                t7 = x0[j + (q + 7 * threads_y()) * s0]
                acc0 = add_reduce_(acc0, t0)
                acc0 = add_reduce_(acc0, t1)
                acc0 = add_reduce_(acc0, t2)
                acc0 = add_reduce_(acc0, t3)
                acc0 = add_reduce_(acc0, t4)
                acc0 = add_reduce_(acc0, t5)
                acc0 = add_reduce_(acc0, t6)
                acc0 = add_reduce_(acc0, t7)
                q += 8 * threads_y()
            while q < end:
                t8 = x0[j + q * s0]
                acc0 = add_reduce_(acc0, t8)
                q += threads_y()
            total_acc0 = total_acc0 + f64(acc0)
        acc0 = f32(column_add_(total_acc0))
        if live & (thread_y() == 0):
            out0[j] = acc0
        g += blocks_x()
# 2 blocks of 32 threads
