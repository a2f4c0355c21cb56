"""The kernels on NumPy arrays, with PyTorch's names and semantics; forward and backward, float32 and float64.

Sizes and strides are keywords. Results have the same bits for any batch size and any number of threads.
:mod:`convlens.reference` holds the plain NumPy oracle of each.
"""

from ._adaptive import adaptive_avg_pool2d as adaptive_avg_pool2d
from ._adaptive import adaptive_avg_pool2d_grad as adaptive_avg_pool2d_grad
from ._adaptive import adaptive_max_pool2d as adaptive_max_pool2d
from ._adaptive import adaptive_max_pool2d_grad as adaptive_max_pool2d_grad
from ._conv import conv2d as conv2d
from ._conv import conv2d_grad_bias as conv2d_grad_bias
from ._conv import conv2d_grad_input as conv2d_grad_input
from ._conv import conv2d_grad_weight as conv2d_grad_weight
from ._conv_transpose import conv_transpose2d as conv_transpose2d
from ._conv_transpose import conv_transpose2d_grad_input as conv_transpose2d_grad_input
from ._conv_transpose import conv_transpose2d_grad_weight as conv_transpose2d_grad_weight
from ._dense import cross_entropy as cross_entropy
from ._dense import cross_entropy_grad as cross_entropy_grad
from ._dense import linear as linear
from ._dense import linear_grad_bias as linear_grad_bias
from ._dense import linear_grad_input as linear_grad_input
from ._dense import linear_grad_weight as linear_grad_weight
from ._dense import log_softmax as log_softmax
from ._dense import log_softmax_grad as log_softmax_grad
from ._dense import softmax as softmax
from ._dense import softmax_grad as softmax_grad
from ._elementwise import add as add
from ._elementwise import flatten as flatten
from ._elementwise import pad as pad
from ._elementwise import relu as relu
from ._elementwise import relu_grad as relu_grad
from ._elementwise import reshape as reshape
from ._elementwise import sigmoid as sigmoid
from ._elementwise import sigmoid_grad as sigmoid_grad
from ._elementwise import tanh as tanh
from ._elementwise import tanh_grad as tanh_grad
from ._norm import batch_norm as batch_norm
from ._norm import batch_norm_grad as batch_norm_grad
from ._pool import avg_pool2d as avg_pool2d
from ._pool import avg_pool2d_grad as avg_pool2d_grad
from ._pool import max_pool2d as max_pool2d
from ._pool import max_pool2d_grad as max_pool2d_grad
from ._resize import interpolate as interpolate
from ._resize import interpolate_grad as interpolate_grad
from ._signal import adaptive_avg_pool1d as adaptive_avg_pool1d
from ._signal import adaptive_max_pool1d as adaptive_max_pool1d
from ._signal import avg_pool1d as avg_pool1d
from ._signal import avg_pool1d_grad as avg_pool1d_grad
from ._signal import conv1d as conv1d
from ._signal import conv1d_grad_bias as conv1d_grad_bias
from ._signal import conv1d_grad_input as conv1d_grad_input
from ._signal import conv1d_grad_weight as conv1d_grad_weight
from ._signal import conv_transpose1d as conv_transpose1d
from ._signal import conv_transpose1d_grad_input as conv_transpose1d_grad_input
from ._signal import conv_transpose1d_grad_weight as conv_transpose1d_grad_weight
from ._signal import max_pool1d as max_pool1d
from ._signal import max_pool1d_grad as max_pool1d_grad
from ._threads import get_num_threads as get_num_threads
from ._threads import set_num_threads as set_num_threads
