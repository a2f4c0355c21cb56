"""The oracle: one plain, slow NumPy function per operation, from its formula, with sums in a wider type.

Kernels, lowering and benchmarks are checked against it. :func:`run` interprets any graph with the same functions.
"""

from ._conv import conv2d as conv2d
from ._conv import conv2d_grad_bias as conv2d_grad_bias
from ._conv import conv2d_grad_input as conv2d_grad_input
from ._conv import conv2d_grad_weight as conv2d_grad_weight
from ._dense import batch_norm as batch_norm
from ._dense import cross_entropy as cross_entropy
from ._dense import cross_entropy_grad as cross_entropy_grad
from ._dense import linear as linear
from ._dense import linear_grad_bias as linear_grad_bias
from ._dense import linear_grad_input as linear_grad_input
from ._dense import linear_grad_weight as linear_grad_weight
from ._dense import log_softmax as log_softmax
from ._dense import softmax as softmax
from ._elementwise import add as add
from ._elementwise import clip as clip
from ._elementwise import flatten as flatten
from ._elementwise import pad as pad
from ._elementwise import relu as relu
from ._elementwise import reshape as reshape
from ._elementwise import resize as resize
from ._elementwise import sigmoid as sigmoid
from ._elementwise import tanh as tanh
from ._pool import avg_pool2d as avg_pool2d
from ._pool import avg_pool2d_grad as avg_pool2d_grad
from ._pool import max_pool2d as max_pool2d
from ._pool import max_pool2d_grad as max_pool2d_grad
from ._pool import max_pool2d_offset as max_pool2d_offset
from ._run import run as run
