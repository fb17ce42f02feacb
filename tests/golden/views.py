def views(x):                                                # f32[8,4]
    a = transpose(x, axes=(1, 0))                            # f32[4,8]
    b = slice(a, start=(1, 0), size=(3, 4), step=(1, 2))     # f32[3,4]
    c = reshape(b, shape=(12,))                              # f32[12]
    d = update_slice(x, const_0, start=(1, 0), step=(1, 1))  # f32[8,4]
    e = slice(c, start=(11,), size=(12,), step=(-1,))        # f32[12]
    f = concatenate(c, e, axis=0)                            # f32[24]
    g = add(d, const_1)                                      # f32[8,4]
    return f, g, d
