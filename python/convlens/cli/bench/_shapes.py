"""What `convlens bench all` times: the distinct convolutions and pools of the usual networks, as problem strings."""

from __future__ import annotations

#: By the first network that has them; a shape that an earlier network has is not repeated.
_CONVOLUTIONS = {
    "resnet50": (
        "c3 h224 w224 k64 r7 s7 st2 p3 d1 g1",
        "c64 h56 w56 k64 r1 s1 st1 p0 d1 g1",
        "c64 h56 w56 k64 r3 s3 st1 p1 d1 g1",
        "c64 h56 w56 k256 r1 s1 st1 p0 d1 g1",
        "c256 h56 w56 k64 r1 s1 st1 p0 d1 g1",
        "c256 h56 w56 k128 r1 s1 st1 p0 d1 g1",
        "c128 h56 w56 k128 r3 s3 st2 p1 d1 g1",
        "c128 h28 w28 k512 r1 s1 st1 p0 d1 g1",
        "c256 h56 w56 k512 r1 s1 st2 p0 d1 g1",
        "c512 h28 w28 k128 r1 s1 st1 p0 d1 g1",
        "c128 h28 w28 k128 r3 s3 st1 p1 d1 g1",
        "c512 h28 w28 k256 r1 s1 st1 p0 d1 g1",
        "c256 h28 w28 k256 r3 s3 st2 p1 d1 g1",
        "c256 h14 w14 k1024 r1 s1 st1 p0 d1 g1",
        "c512 h28 w28 k1024 r1 s1 st2 p0 d1 g1",
        "c1024 h14 w14 k256 r1 s1 st1 p0 d1 g1",
        "c256 h14 w14 k256 r3 s3 st1 p1 d1 g1",
        "c1024 h14 w14 k512 r1 s1 st1 p0 d1 g1",
        "c512 h14 w14 k512 r3 s3 st2 p1 d1 g1",
        "c512 h7 w7 k2048 r1 s1 st1 p0 d1 g1",
        "c1024 h14 w14 k2048 r1 s1 st2 p0 d1 g1",
        "c2048 h7 w7 k512 r1 s1 st1 p0 d1 g1",
        "c512 h7 w7 k512 r3 s3 st1 p1 d1 g1",
    ),
    "vgg16": (
        "c3 h224 w224 k64 r3 s3 st1 p1 d1 g1",
        "c64 h224 w224 k64 r3 s3 st1 p1 d1 g1",
        "c64 h112 w112 k128 r3 s3 st1 p1 d1 g1",
        "c128 h112 w112 k128 r3 s3 st1 p1 d1 g1",
        "c128 h56 w56 k256 r3 s3 st1 p1 d1 g1",
        "c256 h56 w56 k256 r3 s3 st1 p1 d1 g1",
        "c256 h28 w28 k512 r3 s3 st1 p1 d1 g1",
        "c512 h28 w28 k512 r3 s3 st1 p1 d1 g1",
        "c512 h14 w14 k512 r3 s3 st1 p1 d1 g1",
    ),
    "mobilenet_v2": (
        "c3 h224 w224 k32 r3 s3 st2 p1 d1 g1",
        "c32 h112 w112 k32 r3 s3 st1 p1 d1 g32",
        "c32 h112 w112 k16 r1 s1 st1 p0 d1 g1",
        "c16 h112 w112 k96 r1 s1 st1 p0 d1 g1",
        "c96 h112 w112 k96 r3 s3 st2 p1 d1 g96",
        "c96 h56 w56 k24 r1 s1 st1 p0 d1 g1",
        "c24 h56 w56 k144 r1 s1 st1 p0 d1 g1",
        "c144 h56 w56 k144 r3 s3 st1 p1 d1 g144",
        "c144 h56 w56 k24 r1 s1 st1 p0 d1 g1",
        "c144 h56 w56 k144 r3 s3 st2 p1 d1 g144",
        "c144 h28 w28 k32 r1 s1 st1 p0 d1 g1",
        "c32 h28 w28 k192 r1 s1 st1 p0 d1 g1",
        "c192 h28 w28 k192 r3 s3 st1 p1 d1 g192",
        "c192 h28 w28 k32 r1 s1 st1 p0 d1 g1",
        "c192 h28 w28 k192 r3 s3 st2 p1 d1 g192",
        "c192 h14 w14 k64 r1 s1 st1 p0 d1 g1",
        "c64 h14 w14 k384 r1 s1 st1 p0 d1 g1",
        "c384 h14 w14 k384 r3 s3 st1 p1 d1 g384",
        "c384 h14 w14 k64 r1 s1 st1 p0 d1 g1",
        "c384 h14 w14 k96 r1 s1 st1 p0 d1 g1",
        "c96 h14 w14 k576 r1 s1 st1 p0 d1 g1",
        "c576 h14 w14 k576 r3 s3 st1 p1 d1 g576",
        "c576 h14 w14 k96 r1 s1 st1 p0 d1 g1",
        "c576 h14 w14 k576 r3 s3 st2 p1 d1 g576",
        "c576 h7 w7 k160 r1 s1 st1 p0 d1 g1",
        "c160 h7 w7 k960 r1 s1 st1 p0 d1 g1",
        "c960 h7 w7 k960 r3 s3 st1 p1 d1 g960",
        "c960 h7 w7 k160 r1 s1 st1 p0 d1 g1",
        "c960 h7 w7 k320 r1 s1 st1 p0 d1 g1",
        "c320 h7 w7 k1280 r1 s1 st1 p0 d1 g1",
    ),
    "resnet18": (
        "c64 h56 w56 k128 r3 s3 st2 p1 d1 g1",
        "c64 h56 w56 k128 r1 s1 st2 p0 d1 g1",
        "c128 h28 w28 k256 r3 s3 st2 p1 d1 g1",
        "c128 h28 w28 k256 r1 s1 st2 p0 d1 g1",
        "c256 h14 w14 k512 r3 s3 st2 p1 d1 g1",
        "c256 h14 w14 k512 r1 s1 st2 p0 d1 g1",
    ),
    "efficientnet_lite0": (
        "c240 h28 w28 k240 r5 s5 st1 p2 d1 g240",
        "c480 h14 w14 k480 r5 s5 st1 p2 d1 g480",
        "c672 h14 w14 k672 r5 s5 st1 p2 d1 g672",
        "c1152 h7 w7 k1152 r5 s5 st1 p2 d1 g1152",
    ),
    "digits": ("c1 h28 w28 k32 r3 s3 st1 p0 d1 g1",),
}
_POOLS = (
    "c64 h112 w112 r3 s3 st2 p1 max",
    "c64 h224 w224 r2 s2 st2 p0 max",
    "c128 h112 w112 r2 s2 st2 p0 max",
    "c256 h56 w56 r2 s2 st2 p0 max",
    "c512 h28 w28 r2 s2 st2 p0 max",
    "c512 h14 w14 r2 s2 st2 p0 max",
    "c64 h111 w111 r3 s3 st2 p0 max",
    "c32 h26 w26 r2 s2 st2 p0 max",
    "c256 h56 w56 r2 s2 st2 p0 avg",
    "c64 h112 w112 r3 s3 st2 p1 avg",
    "c2048 h7 w7 r7 s7 st7 p0 avg",
)


def convolutions(direction: str, n: int = 1) -> list[str]:
    """Every convolution as a problem of `n` images in one direction."""
    return [f"n{n} {shape} f32 {direction}" for shapes in _CONVOLUTIONS.values() for shape in shapes]


def pools(direction: str, n: int = 1) -> list[str]:
    """Every pool as a problem of `n` images in one direction."""
    return [f"n{n} {shape} f32 {direction}" for shape in _POOLS]
