"""The one exception of our own; everything else is a ValueError or a TypeError."""


class UnsupportedError(NotImplementedError):
    """A right request that convlens does not serve; the message says what it does."""
