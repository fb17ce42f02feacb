"""The names that kernel source may use, with the arity and dtypes of each function."""

FLOATS = ("f32", "f64")
SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64")
INTS = SIGNED + UNSIGNED
HALVES = ("f16", "bf16")   # loaded, stored, moved and cast, never computed with
DTYPES = FLOATS + HALVES + INTS + ("b1",)
REDUCTIONS = ("add", "mul", "max", "min")


def table(arity, dtypes, names):
    return dict.fromkeys(names.split(), (arity, dtypes))


# name -> (number of arguments, dtypes); the result has the arguments' dtype; bool for the predicates, the other kind of the
# same width for to_bits and from_bits
SCALAR_FUNCTIONS = {
    **table(1, FLOATS, "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt cbrt sin cos tan asin acos atan"),
    **table(1, FLOATS, "sinh cosh tanh asinh acosh atanh sigmoid softplus erf erfc erfinv lgamma digamma"),
    **table(2, FLOATS, "logaddexp atan2 hypot copysign nextafter ldexp"),
    **table(1, FLOATS, "fabs isnan isinf isfinite signbit"),
    **table(1, FLOATS, "exp_nonpositive to_bits"),
    **table(1, ("i32", "i64"), "from_bits"),
    **table(1, FLOATS + INTS, "abs sign floor ceil trunc rint"),
    **table(2, FLOATS + INTS + ("b1",), "maximum minimum"),
    **table(2, FLOATS + INTS, "fmax fmin fmod floor_divide remainder"),
    **table(2, FLOATS + INTS, "pow"),
    **table(2, INTS, "left_shift right_shift gcd lcm"),
    **table(3, FLOATS, "fma"),
    **table(2, ("u64",), "threefry"),
}
