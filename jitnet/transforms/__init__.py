"""Graph -> Graph transforms, and the functions of the user that apply them."""
from .custom import custom_jvp as custom_jvp, custom_vjp as custom_vjp
from .gradient import grad as grad, stop_gradient as stop_gradient, value_and_grad as value_and_grad
from .jacobian import hessian as hessian, jacfwd as jacfwd, jacrev as jacrev
from .products import jvp as jvp, linearize as linearize, vjp as vjp
from .remat import checkpoint as checkpoint
from .vmap import vmap as vmap
