def kernel(x0: "i64*", out0: "i64*", n0: "i64", c0: "i64", c1: "i64"):
    thread = block_x() * threads_x() + thread_x()
    threads = blocks_x() * threads_x()
    whole = n0 // 2048 * 2048
    if not (aligned_(x0, 0) & aligned_(out0, 0)):
        whole = 0
    i = block_x() * 2048 + thread_x() * 2
    while i < whole:
        t0, t1 = load_vector_(x0, i, 2)
        t2, t3 = load_vector_(x0, (i + 512), 2)
        t4, t5 = load_vector_(x0, (i + 1024), 2)
        t6, t7 = load_vector_(x0, (i + 1536), 2)
        t8 = t0 < c0
        t9 = t1 < c0
        t10 = t2 < c0
        t11 = t3 < c0
        t12 = t4 < c0
        t13 = t5 < c0
        t14 = t6 < c0
        t15 = t7 < c0
        t16 = i64(u64(t0) + u64(c1))
        t17 = i64(u64(t1) + u64(c1))
        t18 = i64(u64(t2) + u64(c1))
        t19 = i64(u64(t3) + u64(c1))
        t20 = i64(u64(t4) + u64(c1))
        t21 = i64(u64(t5) + u64(c1))
        t22 = i64(u64(t6) + u64(c1))
        t23 = i64(u64(t7) + u64(c1))
        t24 = select_(t8, t16, t0)
        t25 = select_(t9, t17, t1)
        t26 = select_(t10, t18, t2)
        t27 = select_(t11, t19, t3)
        t28 = select_(t12, t20, t4)
        t29 = select_(t13, t21, t5)
        t30 = select_(t14, t22, t6)
        t31 = select_(t15, t23, t7)
        store_vector_(out0, i, (t24, t25))
        store_vector_(out0, (i + 512), (t26, t27))
        store_vector_(out0, (i + 1024), (t28, t29))
        store_vector_(out0, (i + 1536), (t30, t31))
        i += blocks_x() * 2048
    i = whole + thread
    while i < n0:
        t32 = x0[i]
        t33 = t32 < c0
        t34 = i64(u64(t32) + u64(c1))
        t35 = select_(t33, t34, t32)
        out0[i] = t35
        i += threads
# 1 blocks of 256 threads


def kernel(x0: "f32*", x1: "i64*", out0: "f32*", status: "i64*", n0: "i64", m0: "i64"):
    bad = b1(0)
    owner = block_y() * threads_y() + thread_y()
    owners = blocks_y() * threads_y()
    p = block_x() * threads_x() + thread_x()
    while p < 1:
        q = 0
        while q + 3 < n0:
            t0 = x1[q]
            t1 = x1[(q + 1)]
            t2 = x1[(q + 2)]
            t3 = x1[(q + 3)]
            bad = bad | (t0 < 0) | (t0 >= m0)
            k0 = maximum_(minimum_(t0, m0 - 1), i64(0))
            if (k0 & (owners - 1)) == owner:
                t4 = x0[q]
                out0[k0] = out0[k0] + t4
            bad = bad | (t1 < 0) | (t1 >= m0)
            k1 = maximum_(minimum_(t1, m0 - 1), i64(0))
            if (k1 & (owners - 1)) == owner:
                t5 = x0[(q + 1)]
                out0[k1] = out0[k1] + t5
            bad = bad | (t2 < 0) | (t2 >= m0)
            k2 = maximum_(minimum_(t2, m0 - 1), i64(0))
            if (k2 & (owners - 1)) == owner:
                t6 = x0[(q + 2)]
                out0[k2] = out0[k2] + t6
            bad = bad | (t3 < 0) | (t3 >= m0)
            k3 = maximum_(minimum_(t3, m0 - 1), i64(0))
            if (k3 & (owners - 1)) == owner:
                t7 = x0[(q + 3)]
                out0[k3] = out0[k3] + t7
            q += 4
        while q < n0:
            t8 = x1[q]
            bad = bad | (t8 < 0) | (t8 >= m0)
            k4 = maximum_(minimum_(t8, m0 - 1), i64(0))
            if (k4 & (owners - 1)) == owner:
                t9 = x0[q]
                out0[k4] = out0[k4] + t9
            q += 1
        p += blocks_x() * threads_x()
    if bad:
        status[0] = i64(1)
# 1 blocks of 1x8 threads
