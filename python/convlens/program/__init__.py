"""Lowering: any graph becomes a Program, a list of instructions over one arena, run by the C++ runtime."""

from .._core import ReplayTable as ReplayTable
from ._compile import compile as compile
from ._flow import Entry as Entry
from ._program import Program as Program
from ._program import Workspace as Workspace
from ._program import aligned_room as aligned_room
from ._replay import Replay as Replay
from ._replay import replayed_by as replayed_by
from ._state import State as State
from ._weights import Weights as Weights
