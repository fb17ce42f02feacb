"""The names that kernel source may use, with the arity and dtypes of each function."""

FLOATS = ("f32", "f64")
INTS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
DTYPES = FLOATS + INTS + ("b1",)
REDUCTIONS = ("add", "mul", "max", "min")

SCALAR_FUNCTIONS = dict.fromkeys(
    ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus"), (1, FLOATS))
SCALAR_FUNCTIONS |= dict.fromkeys(("logaddexp",), (2, FLOATS))
SCALAR_FUNCTIONS |= dict.fromkeys(("maximum", "minimum"), (2, DTYPES))
SCALAR_FUNCTIONS |= {"fma": (3, FLOATS)}
