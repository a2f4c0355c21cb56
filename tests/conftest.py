from __future__ import annotations

from convlens import _core

# Small shapes too run on as many threads as a call has: that their bits are the same is what tests are for.
_core.set_spares_threads(False)
