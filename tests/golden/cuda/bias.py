def kernel(x0: "f32*", x1: "f32*", out0: "f32*", n0: "i64", n1: "i64", c0: "f32", s0: "i64", s1: "i64"):
    thread = i32(block_x() * threads_x() + thread_x())
    threads = i32(blocks_x() * threads_x())
    whole = i32(n0 & -4)
    d0 = block_y() * threads_y() + thread_y()
    while d0 < n1:
        at0 = d0 * s0
        at1 = d0 * s1
        i = thread
        if aligned_(x0, at0) & aligned_(x1, 0) & aligned_(out0, at1):
            i = i32(thread * 4)
            while i32(i + 4 * threads) < whole:
                t0, t1, t2, t3 = load_vector_(x0, at0 + i, 4)
                t4, t5, t6, t7 = load_vector_(x1, i, 4)
                t8, t9, t10, t11 = load_vector_(x0, at0 + (i + 4 * threads), 4)
                t12, t13, t14, t15 = load_vector_(x1, (i + 4 * threads), 4)
                t16 = t0 + t4
                t17 = t1 + t5
                t18 = t2 + t6
                t19 = t3 + t7
                t20 = t8 + t12
                t21 = t9 + t13
                t22 = t10 + t14
                t23 = t11 + t15
                t24 = maximum_(t16, c0)
                t25 = maximum_(t17, c0)
                t26 = maximum_(t18, c0)
                t27 = maximum_(t19, c0)
                t28 = maximum_(t20, c0)
                t29 = maximum_(t21, c0)
                t30 = maximum_(t22, c0)
                t31 = maximum_(t23, c0)
                store_vector_(out0, at1 + i, (t24, t25, t26, t27))
                store_vector_(out0, at1 + (i + 4 * threads), (t28, t29, t30, t31))
                i = i32(i + 8 * threads)
            while i < whole:
                t32, t33, t34, t35 = load_vector_(x0, at0 + i, 4)
                t36, t37, t38, t39 = load_vector_(x1, i, 4)
                t40 = t32 + t36
                t41 = t33 + t37
                t42 = t34 + t38
                t43 = t35 + t39
                t44 = maximum_(t40, c0)
                t45 = maximum_(t41, c0)
                t46 = maximum_(t42, c0)
                t47 = maximum_(t43, c0)
                store_vector_(out0, at1 + i, (t44, t45, t46, t47))
                i = i32(i + 4 * threads)
            i = i32(whole + thread)
        while i < n0:
            t48 = x0[at0 + i]
            t49 = x1[i]
            t50 = t48 + t49
            t51 = maximum_(t50, c0)
            out0[at1 + i] = t51
            i = i32(i + threads)
        d0 += blocks_y() * threads_y()
# 1x3 blocks of 16x16 threads
