"""Lowering: any graph becomes a Program, a list of instructions over one arena, run by the C++ runtime."""

from ._compile import compile as compile
from ._flow import Entry as Entry
from ._program import Program as Program
from ._program import Workspace as Workspace
from ._state import State as State
from ._weights import Weights as Weights
