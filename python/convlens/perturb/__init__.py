"""Seeded changes of images: noise, blur and masks."""

from ._blur import gaussian_blur as gaussian_blur
from ._masks import grid_masks as grid_masks
from ._noise import check_seed as check_seed
from ._noise import normal as normal
