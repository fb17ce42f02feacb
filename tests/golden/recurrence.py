@graph("f32[4], f32[4]")
def cell(in_0, in_1):
    a = multiply(in_0, f32(0.5))  # f32[4]
    b = add(a, in_1)              # f32[4]
    c = tanh(b)                   # f32[4]
    d = sum(in_0, axis=(0,))      # f32[]
    return c, d

def recurrence(x):                                        # f32[8,4]
    a = slice(x, start=(0, 0), size=(1, 4), step=(1, 1))  # f32[1,4]
    b = reshape(a, shape=(4,))                            # f32[4]
    c, d = scan(b, x, body=cell, num_consts=0, num_carry=1, length=8, reverse=False)  # f32[4], f32[8]
    return c, d
