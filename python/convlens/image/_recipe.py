"""How pixels become a network's input, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Recipe:
    """Resize, crop, scale and normalise.

    Attributes
    ----------
    size : tuple of int
        Height and width of the input.
    resize : int or None
        Length of the shorter side before the centre is cropped; None resizes to `size` at once, whatever the shape.
    channels : {"RGB", "BGR", "grey"}
        Order of the channels.
    scale : float
        Pixels of 0 to 255 are multiplied by it first.
    mean, std : tuple of float
        Subtracted and divided by then, one number per channel.
    """

    size: tuple[int, int]
    resize: int | None = None
    channels: str = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR", "grey"):
            raise ValueError(f'`channels` (={self.channels!r}) must be "RGB", "BGR" or "grey"')
        count = 1 if self.channels == "grey" else 3
        if len(self.mean) != count or len(self.std) != count:
            raise ValueError(
                f"`mean` (={self.mean}) and `std` (={self.std}) must have {count} number(s) each for {self.channels}"
            )
        if min(self.size) < 1 or (self.resize is not None and self.resize < max(self.size)):
            raise ValueError(f"`resize` (={self.resize}) must be at least the larger side of `size` (={self.size})")

    def prepare(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Normalise pixels (H, W, 3) or (H, W), 0 to 255, of the right size: (C, H, W), float32."""
        planes = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
        if self.channels == "BGR":
            planes = planes[..., ::-1]
        scaled = (planes.astype(np.float64) * self.scale - self.mean) / self.std
        return np.ascontiguousarray(np.moveaxis(scaled, -1, 0), dtype=np.float32)

    def colour(self, level: float) -> npt.NDArray[Any]:
        """The input value (C, 1, 1) of a grey `level`: 0 is black, 1 is white."""
        value = (255 * level * self.scale - np.array(self.mean)) / np.array(self.std)
        return np.asarray(value.reshape(-1, 1, 1))

    def average(self) -> npt.NDArray[Any]:
        """The input value (C, 1, 1) of the mean colour."""
        return np.zeros((len(self.mean), 1, 1))

    def describe(self) -> dict[str, Any]:
        """The recipe as JSON can hold it."""
        return asdict(self)


#: Recipes by name. "imagenet" is that of torchvision's classification models (bilinear, antialiased).
RECIPES: dict[str, Recipe] = {
    "imagenet": Recipe(size=(224, 224), resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "unit": Recipe(size=(224, 224), resize=256),
    "digits": Recipe(size=(28, 28), channels="grey", mean=(0.0,), std=(1.0,)),
}
