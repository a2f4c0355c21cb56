"""The number of images inside shape arithmetic: unknown at import, and a factor at most."""

from __future__ import annotations

from typing import Any

from .._errors import UnsupportedError


class Batch:
    """`times` the number of images N, as an element of an array of sizes.

    >>> Batch() * 6 // 3
    2 N
    """

    __slots__ = ("times",)

    def __init__(self, times: int = 1) -> None:
        self.times = times

    def __mul__(self, other: Any) -> Batch | int:
        if isinstance(other, Batch):
            raise _unknown("the square of the number of images")
        if other != int(other):
            raise _unknown(f"{other} times the number of images")
        return Batch(self.times * int(other)) if other else 0

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Batch | int:
        divisor = other.times if isinstance(other, Batch) else other
        if not divisor or self.times % divisor:
            raise _unknown(f"the number of images divided by {other}")
        share = int(self.times // divisor)
        return share if isinstance(other, Batch) else Batch(share)

    __truediv__ = __floordiv__

    def __rfloordiv__(self, other: Any) -> int:
        raise _unknown("a number divided by the number of images")

    __rtruediv__ = __rfloordiv__

    def __add__(self, other: Any) -> Batch | int:
        times = self.times + (other.times if isinstance(other, Batch) else 0)
        if not isinstance(other, Batch) and other:
            raise _unknown(f"the number of images plus {other}")
        return Batch(times) if times else 0

    __radd__ = __add__

    def __neg__(self) -> Batch:
        return Batch(-self.times)

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __eq__(self, other: object) -> bool:
        """Whether it is the same multiple: a file compares with -1, 0 and itself."""
        return isinstance(other, Batch) and other.times == self.times

    def __hash__(self) -> int:
        return hash(("N", self.times))

    def __repr__(self) -> str:
        return "N" if self.times == 1 else f"{self.times} N"

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, Batch):
            return self.times < other.times
        if self.times > 0 and other <= 0:
            return False
        raise _unknown(f"whether the number of images is less than {other}")

    def __gt__(self, other: Any) -> bool:
        return not (self < other or self == other)

    def __le__(self, other: Any) -> bool:
        return bool(self < other or self == other)

    def __ge__(self, other: Any) -> bool:
        return not bool(self < other)

    def __int__(self) -> int:
        raise _unknown("it")

    __float__ = __index__ = __int__


class ImageNumber:
    """``times n + plus``, where n counts the images of the batch, as an element of an array of indices.

    The axis that runs over the images has one element here. PyTorch's newer exporter writes the strides of a tensor
    as such places in all of its elements.

    >>> ImageNumber() * 6 + 2
    6 n + 2
    """

    __slots__ = ("plus", "times")

    def __init__(self, times: int = 1, plus: int = 0) -> None:
        self.times, self.plus = times, plus

    def __mul__(self, other: Any) -> ImageNumber:
        return ImageNumber(self.times * _whole(other), self.plus * _whole(other))

    __rmul__ = __mul__

    def __add__(self, other: Any) -> ImageNumber:
        return ImageNumber(self.times, self.plus + _whole(other))

    __radd__ = __add__

    def __repr__(self) -> str:
        return f"{self.times} n + {self.plus}"


def _whole(number: Any) -> int:
    if isinstance(number, ImageNumber) or number != int(number):
        raise UnsupportedError(
            f"an image's number in the batch may be multiplied by whole numbers and added to, not {number}"
        )
    return int(number)


def _unknown(what: str) -> UnsupportedError:
    return UnsupportedError(f"{what} is not known at import: the number of images is given at the call")
