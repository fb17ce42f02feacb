def kernel(x0: "i64*", x1: "f32*", out0: "f32*", status: "i64*", n0: "i64", n1: "i64", c0: "i64", c1: "i64", m0: "i64", s0: "i64", s1: "i64"):
    bad = b1(0)
    thread = i32(block_x() * threads_x() + thread_x())
    threads = i32(blocks_x() * threads_x())
    whole = i32(n0 & -4)
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
        i = thread
        if aligned_(x1, at0) & aligned_(out0, at1):
            i = i32(thread * 4)
            while i32(i + 12 * threads) < whole:
                t4, t5, t6, t7 = load_vector_(x1, at0 + i, 4)
                t8, t9, t10, t11 = load_vector_(x1, at0 + (i + 4 * threads), 4)
                t12, t13, t14, t15 = load_vector_(x1, at0 + (i + 8 * threads), 4)
                t16, t17, t18, t19 = load_vector_(x1, at0 + (i + 12 * threads), 4)
                store_vector_(out0, at1 + i, (t4, t5, t6, t7))
                store_vector_(out0, at1 + (i + 4 * threads), (t8, t9, t10, t11))
                store_vector_(out0, at1 + (i + 8 * threads), (t12, t13, t14, t15))
                store_vector_(out0, at1 + (i + 12 * threads), (t16, t17, t18, t19))
                i = i32(i + 16 * threads)
            while i < whole:
                t20, t21, t22, t23 = load_vector_(x1, at0 + i, 4)
                store_vector_(out0, at1 + i, (t20, t21, t22, t23))
                i = i32(i + 4 * threads)
            i = i32(whole + thread)
        while i < n0:
            t24 = x1[at0 + i]
            out0[at1 + i] = t24
            i = i32(i + threads)
        d0 += blocks_y() * threads_y()
    if bad:
        status[0] = i64(1)
# 1 blocks of 16x16 threads
