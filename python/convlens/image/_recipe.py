"""How pixels become a network's input, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

#: How a picture is resized; Pillow's names.
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_FORMS = {"size": "(height, width)", "mean": "one number per channel", "std": "one number per channel"}


@dataclass(frozen=True)
class Recipe:
    """Resize, crop, scale and normalise: ``(scale * pixel - mean) / std``.

    Attributes
    ----------
    size : tuple of int
        Height and width of the input: what is cropped from the centre.
    resize : int or None
        Length of the shorter side before the centre is cropped; None resizes to `size` at once, whatever the shape.
    filter : {"nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"}
        How it is resized. All but "nearest" average over what a smaller picture leaves out.
    channels : {"RGB", "BGR", "grey"}
        Order of the channels.
    scale : float
        Pixels of 0 to 255 are multiplied by it first.
    mean, std : tuple of float
        Subtracted and divided by then, one number per channel; left out, 0 and 1.
    layout : {"NCHW", "NHWC"}
        Whether the channels of the input come before height and width, or after them as in Keras.
    source : str
        Where the numbers are from.
    notes : tuple of str
        What :func:`convlens.image.load` had to convert, such as a transparent picture; not part of equality.
    """

    size: tuple[int, int]
    resize: int | None = None
    filter: str = "bilinear"
    channels: str = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = "NCHW"
    source: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR", "grey"):
            raise ValueError(f'`channels` (={self.channels!r}) must be "RGB", "BGR" or "grey"')
        if self.layout not in ("NCHW", "NHWC"):
            raise ValueError(f'`layout` (={self.layout!r}) must be "NCHW" or "NHWC"')
        if self.filter not in FILTERS:
            raise ValueError(f"`filter` (={self.filter!r}) must be one of {', '.join(map(repr, FILTERS))}")
        count = 1 if self.channels == "grey" else 3
        for name, value in {
            "size": self.size,
            "mean": self.mean or (0.0,) * count,
            "std": self.std or (1.0,) * count,
        }.items():
            # Lists are tuples that somebody typed; a frozen dataclass lets itself be completed this way alone.
            if not isinstance(value, (tuple, list)):
                raise TypeError(f"`{name}` (={value!r}) must be a tuple, {_FORMS[name]}")
            object.__setattr__(self, name, tuple(value))
        if len(self.mean) != count or len(self.std) != count:
            raise ValueError(
                f"`mean` (={self.mean}) and `std` (={self.std}) must have {count} number(s) each for {self.channels}"
            )
        if 0 in self.std or not np.isfinite([*self.mean, *self.std, self.scale]).all():
            raise ValueError(f"`std` (={self.std}) must not be 0; it, `mean` (={self.mean}) and `scale` be finite")
        if self.scale == 0:
            raise ValueError(f"`scale` (={self.scale}) must not be 0: every picture would be the same")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"`size` (={self.size}) must be (height, width), each at least 1")
        if self.resize is not None and self.resize < max(self.size):
            raise ValueError(f"`resize` (={self.resize}) must be at least the larger side of `size` (={self.size})")

    def prepare(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Normalise pixels (H, W, 3) or (H, W), 0 to 255, of the right size: (C, H, W) or (H, W, C), float32."""
        planes = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
        if self.channels == "BGR":
            planes = planes[..., ::-1]
        scaled = (planes.astype(np.float64) * self.scale - self.mean) / self.std
        turned = scaled if self.layout == "NHWC" else np.moveaxis(scaled, -1, 0)
        return np.ascontiguousarray(turned, dtype=np.float32)

    def colour(self, level: float) -> npt.NDArray[Any]:
        """The input value (C, 1, 1), or (1, 1, C), of a grey `level`: 0 is black, 1 is white."""
        return self._per_channel((255 * level * self.scale - np.array(self.mean)) / np.array(self.std))

    def average(self) -> npt.NDArray[Any]:
        """The input value (C, 1, 1), or (1, 1, C), of the mean colour: 0, black where the recipe subtracts no mean."""
        return self._per_channel(np.zeros(len(self.mean)))

    def _per_channel(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(value.reshape((1, 1, -1) if self.layout == "NHWC" else (-1, 1, 1)))

    def describe(self) -> dict[str, Any]:
        """The recipe as JSON can hold it."""
        return asdict(self)

    def __str__(self) -> str:
        """The recipe in a line for people."""
        height, width = self.size
        if self.resize is None:
            fitted = f"resize to {height} x {width} ({self.filter})"
        else:
            fitted = f"shorter side to {self.resize} ({self.filter}), {height} x {width} from the centre"
        scale = f"pixel / {1 / self.scale:.6g}" if self.scale != 1 else "pixel"
        value = scale
        if any(self.mean):
            value = f"{scale} - {_numbers(self.mean)}"
        if set(self.std) != {1.0}:
            value = f"({value}) / {_numbers(self.std)}" if any(self.mean) else f"{scale} / {_numbers(self.std)}"
        return f"{fitted}, {self.channels}{' last' if self.layout == 'NHWC' else ''}, {value}"


def _numbers(values: tuple[float, ...]) -> str:
    """One number where all are equal, else all."""
    shown = [f"{value:.8g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else f"({', '.join(shown)})"


def _torchvision(size: int, resize: int, weights: str, filter: str = "bilinear") -> Recipe:
    return Recipe(
        size=(size, size),
        resize=resize,
        filter=filter,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        source=f"torchvision, {weights}, transforms/_presets.py: ImageClassification",
    )


def _keras(mode: str, channels: str, scale: float, mean: tuple[float, ...]) -> Recipe:
    return Recipe(
        size=(224, 224),
        filter="nearest",
        channels=channels,
        scale=scale,
        mean=mean,
        source=f'keras.applications.imagenet_utils.preprocess_input(mode="{mode}") after keras.utils.load_img',
    )


#: Recipes by name. Where a model's weights came in several versions, the row is of the one that its source names.
RECIPES: dict[str, Recipe] = {
    "imagenet": _torchvision(224, 256, "most classification models"),
    "resnet18": _torchvision(224, 256, "ResNet18_Weights.IMAGENET1K_V1"),
    "resnet50": _torchvision(224, 232, "ResNet50_Weights.IMAGENET1K_V2"),
    "vgg16": _torchvision(224, 256, "VGG16_Weights.IMAGENET1K_V1"),
    "mobilenet_v2": _torchvision(224, 232, "MobileNet_V2_Weights.IMAGENET1K_V2"),
    "inception_v3": _torchvision(299, 342, "Inception_V3_Weights.IMAGENET1K_V1"),
    "efficientnet_b0": _torchvision(224, 256, "EfficientNet_B0_Weights.IMAGENET1K_V1", "bicubic"),
    "efficientnet_lite0": Recipe(
        size=(224, 224),
        resize=256,
        filter="bicubic",
        scale=1.0,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        # TensorFlow crops 0.875 of the shorter side and resizes that; resizing first keeps the filter's reach.
        source="github.com/tensorflow/tpu, models/official/efficientnet: lite/efficientnet_lite_builder.py (mean, "
        "std), preprocessing.py (crop 0.875, bicubic)",
    ),
    "clip": Recipe(
        size=(224, 224),
        resize=224,
        filter="bicubic",
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        source="github.com/openai/CLIP, clip/clip.py: _transform",
    ),
    "keras_caffe": _keras("caffe", "BGR", 1.0, (103.939, 116.779, 123.68)),
    "keras_tf": _keras("tf", "RGB", 1 / 127.5, (1.0, 1.0, 1.0)),
    "unit": Recipe(size=(224, 224), resize=256, source="0 to 1, nothing subtracted"),
    "digits": Recipe(size=(28, 28), channels="grey", source="0 to 1, white digits on black, as MNIST's"),
}
