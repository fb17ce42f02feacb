def kernel(x0: "f32*", out0: "f32*", n0: "i64", n1: "i64", k0: "i64", s0: "i64", s1: "i64", e0: "f32", n2: "i64"):
    keep = k0 != 0
    kept0 = either_(keep, kept_f32(0), x0)
    kept1 = either_(keep, kept_f32(0), out0)
    first = block_x() * threads_y()
    while first < n0:
        row = first + thread_y()
        live = row < n0
        row = min(row, n0 - 1)
        d0 = row
        at0 = d0 * s0
        kept0_at = thread_y() * n1 if keep else at0
        at1 = d0 * s1
        kept1_at = thread_y() * n1 if keep else at1
        acc0 = e0
        whole = n2 & -4
        wide = aligned_(x0, at0)
        q = thread_x() * 4
        while q + 4 * threads_x() < whole:
            t0, t1, t2, t3 = load_lanes_(x0, at0 + q, 4, wide)
            t4, t5, t6, t7 = load_lanes_(x0, at0 + (q + 4 * threads_x()), 4, wide)
            if keep:
                store_lanes_(kept0, kept0_at + q, (t0, t1, t2, t3), wide)
                store_lanes_(kept0, kept0_at + (q + 4 * threads_x()), (t4, t5, t6, t7), wide)
            acc0 = max_reduce_(acc0, t0)
            acc0 = max_reduce_(acc0, t1)
            acc0 = max_reduce_(acc0, t2)
            acc0 = max_reduce_(acc0, t3)
            acc0 = max_reduce_(acc0, t4)
            acc0 = max_reduce_(acc0, t5)
            acc0 = max_reduce_(acc0, t6)
            acc0 = max_reduce_(acc0, t7)
            q += 8 * threads_x()
        while q < whole:
            t8, t9, t10, t11 = load_lanes_(x0, at0 + q, 4, wide)
            if keep:
                store_lanes_(kept0, kept0_at + q, (t8, t9, t10, t11), wide)
            acc0 = max_reduce_(acc0, t8)
            acc0 = max_reduce_(acc0, t9)
            acc0 = max_reduce_(acc0, t10)
            acc0 = max_reduce_(acc0, t11)
            q += 4 * threads_x()
        # what is left of the row
        q = whole + thread_x()
        while q < n2:
            t12 = x0[at0 + q]
            if keep:
                kept0[kept0_at + q] = t12
            acc0 = max_reduce_(acc0, t12)
            q += threads_x()
        acc0 = row_max_(acc0)
        total_acc1 = f64(0)
        whole = n2 & -4
        wide = aligned_(kept0, kept0_at) & aligned_(kept1, kept1_at)
        q = thread_x() * 4
        while q < whole:
            acc1 = f32(0)
            end = min(q + 256 * threads_x(), whole)
            while q < end:
                t13, t14, t15, t16 = load_lanes_(kept0, kept0_at + q, 4, wide)
                t17 = t13 - acc0
                t18 = t14 - acc0
                t19 = t15 - acc0
                t20 = t16 - acc0
                t21 = exp_(t17)
                t22 = exp_(t18)
                t23 = exp_(t19)
                t24 = exp_(t20)
                if live:
                    store_lanes_(kept1, kept1_at + q, (t21, t22, t23, t24), wide)
                acc1 = add_reduce_(acc1, t21)
                acc1 = add_reduce_(acc1, t22)
                acc1 = add_reduce_(acc1, t23)
                acc1 = add_reduce_(acc1, t24)
                q += 4 * threads_x()
            total_acc1 = total_acc1 + f64(acc1)
        # what is left of the row
        q = whole + thread_x()
        acc1 = f32(0)
        while q < n2:
            t25 = kept0[kept0_at + q]
            t26 = t25 - acc0
            t27 = exp_(t26)
            if live:
                kept1[kept1_at + q] = t27
            acc1 = add_reduce_(acc1, t27)
            q += threads_x()
        total_acc1 = total_acc1 + f64(acc1)
        acc1 = f32(row_add_(total_acc1))
        whole = n2 & -4
        wide = aligned_(kept1, kept1_at) & aligned_(out0, at1)
        q = thread_x() * 4
        while q < whole:
            t28, t29, t30, t31 = load_lanes_(kept1, kept1_at + q, 4, wide)
            t32 = t28 / acc1
            t33 = t29 / acc1
            t34 = t30 / acc1
            t35 = t31 / acc1
            if live:
                store_lanes_(out0, at1 + q, (t32, t33, t34, t35), wide)
            q += 4 * threads_x()
        # what is left of the row
        q = whole + thread_x()
        while q < n2:
            t36 = kept1[kept1_at + q]
            t37 = t36 / acc1
            if live:
                out0[at1 + q] = t37
            q += threads_x()
        first += blocks_x() * threads_y()
# 5 blocks of 16x8 threads with 1536 B of shared memory
