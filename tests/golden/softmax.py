def softmax(x):                   # f32[8,4]
    a = max(x, axis=(1,))         # f32[8]
    b = reshape(a, shape=(8, 1))  # f32[8,1]
    c = subtract(x, b)            # f32[8,4]
    d = exp(c)                    # f32[8,4]
    e = sum(d, axis=(1,))         # f32[8]
    f = reshape(e, shape=(8, 1))  # f32[8,1]
    g = divide(d, f)              # f32[8,4]
    return g
