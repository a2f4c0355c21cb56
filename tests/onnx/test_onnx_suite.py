"""The node tests of the onnx package, and the files that it ships, over every operator that imports."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import pytest

pytest.importorskip("onnx.helper")

from onnx_suite import Case, cases, run

# What is left out, and why. A case that passes after all fails its test, so that the list stays true.
LEFT_OUT = {
    "a type that convlens does not compute in": [
        *("test_cast*FLOAT8*", "test_cast*INT4*", "test_cast*INT2*", "test_cast*FLOAT4*", "test_cast*_to_BFLOAT16"),
        "test_equal_string*",
    ],
    "quantisation to types other than 8 bits, and one scale a block": [
        *(
            "test_quantizelinear_*e4m3fn*",
            "test_quantizelinear_*e5m2*",
            "test_quantizelinear_*int16",
            "test_quantizelinear_*int4",
        ),
        *("test_quantizelinear_*int2", "test_quantizelinear_*float4*", "test_quantizelinear_blocked_*"),
        *("test_dequantizelinear_*e4m3fn*", "test_dequantizelinear_*e5m2*", "test_dequantizelinear_*int16"),
        *("test_dequantizelinear_*int4", "test_dequantizelinear_*int2", "test_dequantizelinear_*float4*"),
        "test_dequantizelinear_blocked",
    ],
    "bfloat16 is computed as float32, more exactly than the test expects": ["test_celu_bfloat16"],
    "three axes behind the channels": [
        *("test_averagepool_3d_*", "test_maxpool_3d_*", "test_lppool_3d_*", "test_convtranspose_3d"),
        *("test_Conv3d*", "test_AvgPool3d*", "test_MaxPool3d*"),
    ],
    "training": ["test_batchnorm_*training_mode", "test_training_dropout*"],
    "the places of a pool's maxima as an output": ["test_maxpool_with_argmax_*"],
    "a remainder of data: no such operator in the graph": ["test_mod_mixed_sign_*"],
    "tensors without elements": ["test_reduce_*_empty_set*"],
    "opset 1": ["test_not_*"],
    "resampling of a part": ["test_resize_tf_crop_and_resize*"],
    "the test takes an output of 3.6 columns, ONNX Runtime and convlens one of 3": [
        "test_resize_downsample_scales_linear_align_corners",
        "test_resize_downsample_scales_cubic_align_corners",
    ],
}
_CASES = cases()


def _reason(case: Case) -> str | None:
    found = [reason for reason, names in LEFT_OUT.items() if any(fnmatchcase(case.name, name) for name in names)]
    return found[0] if found else None


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case.kind}-{case.name}")
def test_case_of_the_onnx_suite(case):
    reason = _reason(case)
    if reason is None:
        run(case)
        return
    try:
        way = run(case)
    except AssertionError:
        pytest.skip(reason)
    # Some cases of a pattern pass: those that need less than what it is about.
    if case.name in [name for names in LEFT_OUT.values() for name in names]:
        pytest.fail(f"it passes ({way}); take it from the list")


def test_suite_is_there(capsys):
    counts = Counter(case.kind for case in _CASES if _reason(case) is None)
    with capsys.disabled():
        print(f"\nonnx suite: {sum(counts.values())} cases of operators that import, {dict(counts)}")
    assert counts["node"] > 550
    assert counts["pytorch-converted"] > 60
    assert counts["pytorch-operator"] > 30
