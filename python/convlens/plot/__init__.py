"""Pictures of networks and explanations (extra ``[plot]``).

Every function returns a :class:`Picture`: a Matplotlib figure that no global state knows of, with ``alt_text`` for
those who cannot see it and a caption that names what was reduced, clipped and scaled. Maps with a sign are drawn in
orange (for) and purple (against) around white; maps without one in cividis or viridis.
"""

try:
    import matplotlib as matplotlib
except ImportError:
    raise ImportError('drawing needs Matplotlib: pip install "convlens[plot]"') from None

from ._colours import SIGNED as SIGNED
from ._colours import contrast as contrast
from ._compare import compare as compare
from ._confusion import confusion_matrix as confusion_matrix
from ._curves import loss_curves as loss_curves
from ._gallery import gallery as gallery
from ._grid import feature_maps as feature_maps
from ._grid import kernels as kernels
from ._maps import explanation as explanation
from ._maps import overlay as overlay
from ._maps import signed_map as signed_map
from ._picture import Picture as Picture
