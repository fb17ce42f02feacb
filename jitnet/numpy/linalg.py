"""Linear algebra that is sums of products: norms, products, traces and powers of matrices."""
from .products import cross as cross, linalg_diagonal as diagonal, linalg_outer as outer, linalg_trace as trace, matmul as matmul
from .products import matrix_norm as matrix_norm, matrix_power as matrix_power, multi_dot as multi_dot, norm as norm
from .products import tensordot as tensordot, vecdot as vecdot, vector_norm as vector_norm
from .shapes import matrix_transpose as matrix_transpose
