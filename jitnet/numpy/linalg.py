"""Linear algebra that is sums of products: norms, products, traces and powers of matrices."""
from . import products
from .products import cross as cross
from .products import matmul as matmul
from .products import matrix_norm as matrix_norm
from .products import matrix_power as matrix_power
from .products import multi_dot as multi_dot
from .products import norm as norm
from .products import tensordot as tensordot
from .products import vecdot as vecdot
from .products import vector_norm as vector_norm
from .shapes import matrix_transpose as matrix_transpose

diagonal, outer, trace = products.linalg_diagonal, products.linalg_outer, products.linalg_trace
