"""Seeded changes of images: noise and blur."""

from ._blur import gaussian_blur as gaussian_blur
from ._noise import check_seed as check_seed
from ._noise import normal as normal
