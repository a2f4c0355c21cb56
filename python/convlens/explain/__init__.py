"""Why a network answered as it did.

Every method is a function ``method(net, images, target=None, ...)`` that returns an :class:`Explanation` with raw,
signed values. ``methods()`` lists them; ``graph_of`` gives those that are pure programs as graphs, for compiled files.
"""

from ._explanation import Explanation as Explanation
from ._explanation import load as load
from ._graphs import graph_of as graph_of
from ._registry import Method as Method
from ._registry import method as method
from ._registry import methods as methods
from .activations import activations as activations
from .deconvnet import deconvnet as deconvnet
from .grad_cam import grad_cam as grad_cam
from .guided_backprop import guided_backprop as guided_backprop
from .input_x_gradient import input_x_gradient as input_x_gradient
from .integrated_gradients import integrated_gradients as integrated_gradients
from .occlusion import occlusion as occlusion
from .rise import rise as rise
from .saliency import saliency as saliency
from .smooth_grad import smooth_grad as smooth_grad
