"""Photographs and arrays as a network takes them, with a record of how they were made."""

from ._load import load as load
from ._recipe import RECIPES as RECIPES
from ._recipe import Recipe as Recipe
