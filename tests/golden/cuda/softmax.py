def kernel(x0: "f32*", out0: "f32*", n0: "i64", n1: "i64", k0: "i64", s0: "i64", s1: "i64", n2: "i64", e0: "f32"):
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
        stop = i32(n2 if live else 0)
        acc0 = e0
        whole = i32(stop & -4)
        vectors = whole if aligned_(x0, at0) else i32(0)
        q = i32(thread_x() * 4)
        while i32(q + 4 * threads_x()) < vectors:
            t0, t1, t2, t3 = load_vector_(x0, at0 + q, 4)
            t4, t5, t6, t7 = load_vector_(x0, at0 + (q + 4 * threads_x()), 4)
            if keep:
                store_vector_(kept0, kept0_at + q, (t0, t1, t2, t3))
                store_vector_(kept0, kept0_at + (q + 4 * threads_x()), (t4, t5, t6, t7))
            acc0 = max_reduce_(acc0, t0)
            acc0 = max_reduce_(acc0, t1)
            acc0 = max_reduce_(acc0, t2)
            acc0 = max_reduce_(acc0, t3)
            acc0 = max_reduce_(acc0, t4)
            acc0 = max_reduce_(acc0, t5)
            acc0 = max_reduce_(acc0, t6)
            acc0 = max_reduce_(acc0, t7)
            q = i32(q + 8 * threads_x())
        while q < vectors:
            t8, t9, t10, t11 = load_vector_(x0, at0 + q, 4)
            if keep:
                store_vector_(kept0, kept0_at + q, (t8, t9, t10, t11))
            acc0 = max_reduce_(acc0, t8)
            acc0 = max_reduce_(acc0, t9)
            acc0 = max_reduce_(acc0, t10)
            acc0 = max_reduce_(acc0, t11)
            q = i32(q + 4 * threads_x())
        # the same elements one by one, where vectors are not aligned
        while q < whole:
            for p in range(q, q + 4):
                t12 = x0[at0 + p]
                if keep:
                    kept0[kept0_at + p] = t12
                acc0 = max_reduce_(acc0, t12)
            q = i32(q + 4 * threads_x())
        # what is left of the row
        q = i32(whole + thread_x())
        while q < stop:
            t13 = x0[at0 + q]
            if keep:
                kept0[kept0_at + q] = t13
            acc0 = max_reduce_(acc0, t13)
            q = i32(q + threads_x())
        acc0 = row_max_(acc0)
        total_acc1 = f64(0)
        whole = i32(stop & -4)
        vectors = whole if aligned_(kept0, kept0_at) & aligned_(kept1, kept1_at) else i32(0)
        q = i32(thread_x() * 4)
        while q < vectors:
            acc1 = f32(0)
            end = i32(min(q + 256 * threads_x(), vectors))
            while q < end:
                t14, t15, t16, t17 = load_vector_(kept0, kept0_at + q, 4)
                t18 = t14 - acc0
                t19 = t15 - acc0
                t20 = t16 - acc0
                t21 = t17 - acc0
                t22 = exp_nonpositive_(t18)
                t23 = exp_nonpositive_(t19)
                t24 = exp_nonpositive_(t20)
                t25 = exp_nonpositive_(t21)
                store_vector_(kept1, kept1_at + q, (t22, t23, t24, t25))
                acc1 = add_reduce_(acc1, t22)
                acc1 = add_reduce_(acc1, t23)
                acc1 = add_reduce_(acc1, t24)
                acc1 = add_reduce_(acc1, t25)
                q = i32(q + 4 * threads_x())
            total_acc1 = total_acc1 + f64(acc1)
        # the same elements one by one, where vectors are not aligned
        while q < whole:
            acc1 = f32(0)
            end = i32(min(q + 256 * threads_x(), whole))
            while q < end:
                for p in range(q, q + 4):
                    t26 = kept0[kept0_at + p]
                    t27 = t26 - acc0
                    t28 = exp_nonpositive_(t27)
                    kept1[kept1_at + p] = t28
                    acc1 = add_reduce_(acc1, t28)
                q = i32(q + 4 * threads_x())
            total_acc1 = total_acc1 + f64(acc1)
        # what is left of the row
        q = i32(whole + thread_x())
        acc1 = f32(0)
        while q < stop:
            t29 = kept0[kept0_at + q]
            t30 = t29 - acc0
            t31 = exp_nonpositive_(t30)
            kept1[kept1_at + q] = t31
            acc1 = add_reduce_(acc1, t31)
            q = i32(q + threads_x())
        total_acc1 = total_acc1 + f64(acc1)
        acc1 = f32(row_add_(total_acc1))
        inverse0 = inverse_(acc1)
        whole = i32(stop & -4)
        vectors = whole if aligned_(kept1, kept1_at) & aligned_(out0, at1) else i32(0)
        q = i32(thread_x() * 4)
        while q < vectors:
            t32, t33, t34, t35 = load_vector_(kept1, kept1_at + q, 4)
            t36, t37, t38, t39 = quotients_((t32, t33, t34, t35), acc1, inverse0)
            store_vector_(out0, at1 + q, (t36, t37, t38, t39))
            q = i32(q + 4 * threads_x())
        # the same elements one by one, where vectors are not aligned
        while q < whole:
            for p in range(q, q + 4):
                t40 = kept1[kept1_at + p]
                t41 = t40 / acc1
                out0[at1 + p] = t41
            q = i32(q + 4 * threads_x())
        # what is left of the row
        q = i32(whole + thread_x())
        while q < stop:
            t42 = kept1[kept1_at + q]
            t43 = t42 / acc1
            out0[at1 + q] = t43
            q = i32(q + threads_x())
        first += blocks_x() * threads_y()
# 5 blocks of 16x8 threads with 1536 B of shared memory
