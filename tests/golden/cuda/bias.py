def kernel(x0: "f32*", x1: "f32*", out0: "f32*", n0: "i64", n1: "i64", c0: "f32", s0: "i64", s1: "i64"):
    thread = block_x() * threads_x() + thread_x()
    threads = blocks_x() * threads_x()
    d0 = block_y() * threads_y() + thread_y()
    while d0 < n1:
        at0 = d0 * s0
        at1 = d0 * s1
        whole = n0 // 4 * 4
        if not (aligned_(x0, at0) & aligned_(x1, 0) & aligned_(out0, at1)):
            whole = 0
        i = thread * 4
        while i < whole:
            t0, t1, t2, t3 = load_vector_(x0, at0 + i, 4)
            t4, t5, t6, t7 = load_vector_(x1, i, 4)
            t8 = t0 + t4
            t9 = t1 + t5
            t10 = t2 + t6
            t11 = t3 + t7
            t12 = maximum_(t8, c0)
            t13 = maximum_(t9, c0)
            t14 = maximum_(t10, c0)
            t15 = maximum_(t11, c0)
            store_vector_(out0, at1 + i, (t12, t13, t14, t15))
            i += threads * 4
        i = whole + thread
        while i < n0:
            t16 = x0[at0 + i]
            t17 = x1[i]
            t18 = t16 + t17
            t19 = maximum_(t18, c0)
            out0[at1 + i] = t19
            i += threads
        d0 += blocks_y() * threads_y()
# 1x3 blocks of 16x16 threads
