def kernel(x0: "f32*", out0: "f32*", n0: "i64", n1: "i64", k0: "i64", s0: "i64", s1: "i64", e0: "f32"):
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
        q = thread_x()
        while q + 3 * threads_x() < n1:
            t0 = x0[at0 + q]
            t1 = x0[at0 + (q + threads_x())]
            t2 = x0[at0 + (q + 2 * threads_x())]
            t3 = x0[at0 + (q + 3 * threads_x())]
            if keep:
                kept0[kept0_at + q] = t0
                kept0[kept0_at + (q + threads_x())] = t1
                kept0[kept0_at + (q + 2 * threads_x())] = t2
                kept0[kept0_at + (q + 3 * threads_x())] = t3
            acc0 = max_reduce_(acc0, t0)
            acc0 = max_reduce_(acc0, t1)
            acc0 = max_reduce_(acc0, t2)
            acc0 = max_reduce_(acc0, t3)
            q += 4 * threads_x()
        while q < n1:
            t4 = x0[at0 + q]
            if keep:
                kept0[kept0_at + q] = t4
            acc0 = max_reduce_(acc0, t4)
            q += threads_x()
        acc0 = row_max_(acc0)
        total_acc1 = f64(0)
        q = thread_x()
        while q < n1:
            acc1 = f32(0)
            end = min(q + 256 * threads_x(), n1)
            while q + 3 * threads_x() < end:
                t5 = kept0[kept0_at + q]
                t6 = kept0[kept0_at + (q + threads_x())]
                t7 = kept0[kept0_at + (q + 2 * threads_x())]
                t8 = kept0[kept0_at + (q + 3 * threads_x())]
                t9 = t5 - acc0
                t10 = t6 - acc0
                t11 = t7 - acc0
                t12 = t8 - acc0
                t13 = exp_(t9)
                t14 = exp_(t10)
                t15 = exp_(t11)
                t16 = exp_(t12)
                if live:
                    kept1[kept1_at + q] = t13
                    kept1[kept1_at + (q + threads_x())] = t14
                    kept1[kept1_at + (q + 2 * threads_x())] = t15
                    kept1[kept1_at + (q + 3 * threads_x())] = t16
                acc1 = add_reduce_(acc1, t13)
                acc1 = add_reduce_(acc1, t14)
                acc1 = add_reduce_(acc1, t15)
                acc1 = add_reduce_(acc1, t16)
                q += 4 * threads_x()
            while q < end:
                t17 = kept0[kept0_at + q]
                t18 = t17 - acc0
                t19 = exp_(t18)
                if live:
                    kept1[kept1_at + q] = t19
                acc1 = add_reduce_(acc1, t19)
                q += threads_x()
            total_acc1 = total_acc1 + f64(acc1)
        acc1 = f32(row_add_(total_acc1))
        q = thread_x()
        while q + 3 * threads_x() < n1:
            t20 = kept1[kept1_at + q]
            t21 = kept1[kept1_at + (q + threads_x())]
            t22 = kept1[kept1_at + (q + 2 * threads_x())]
            t23 = kept1[kept1_at + (q + 3 * threads_x())]
            t24 = t20 / acc1
            t25 = t21 / acc1
            t26 = t22 / acc1
            t27 = t23 / acc1
            if live:
                out0[at1 + q] = t24
                out0[at1 + (q + threads_x())] = t25
                out0[at1 + (q + 2 * threads_x())] = t26
                out0[at1 + (q + 3 * threads_x())] = t27
            q += 4 * threads_x()
        while q < n1:
            t28 = kept1[kept1_at + q]
            t29 = t28 / acc1
            if live:
                out0[at1 + q] = t29
            q += threads_x()
        first += blocks_x() * threads_y()
# 3 blocks of 16x16 threads with 2880 B of shared memory
