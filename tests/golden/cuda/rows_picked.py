def kernel(x0: "i64*", x1: "f32*", out0: "f32*", status: "i64*", n0: "i64", n1: "i64", c0: "i64", c1: "i64", m0: "i64", s0: "i64", s1: "i64"):
    bad = b1(0)
    thread = block_x() * threads_x() + thread_x()
    threads = blocks_x() * threads_x()
    d0 = block_y() * threads_y() + thread_y()
    while d0 < n1:
        t0 = x0[d0]
        t1 = t0 < c0
        t2 = i64(u64(t0) + u64(c1))
        t3 = select_(t1, t2, t0)
        bad = bad | (t3 < 0) | (t3 >= m0)
        k0 = maximum_(minimum_(t3, m0 - 1), i64(0))
        at0 = k0 * s0
        at1 = d0 * s1
        whole = n0 // 4 * 4
        if not (aligned_(x1, at0) & aligned_(out0, at1)):
            whole = 0
        i = thread * 4
        while i < whole:
            t4, t5, t6, t7 = load_vector_(x1, at0 + i, 4)
            store_vector_(out0, at1 + i, (t4, t5, t6, t7))
            i += threads * 4
        i = whole + thread
        while i < n0:
            t8 = x1[at0 + i]
            out0[at1 + i] = t8
            i += threads
        d0 += blocks_y() * threads_y()
    if bad:
        status[0] = i64(1)
# 1 blocks of 16x16 threads
