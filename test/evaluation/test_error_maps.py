"""Error maps against a literal walk over pixels, and by eye on one image whose errors are known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from evaluation_cases import LABELS, Case, cases
from hypothesis import HealthCheck, given, settings

from panoptic_ros.evaluation.error_maps import COLORS, PixelError, draw_errors, error_map, error_pixels
from panoptic_ros.evaluation.panoptic_quality import Rule


def _literal(case: Case, void_in_union: bool) -> np.ndarray:
    """Pixel by pixel, from what `PixelError` says."""
    things = LABELS.thing_ids
    truth, prediction = case.truth, case.prediction
    errors = np.zeros(truth.shape, np.uint8)
    for place, t in np.ndenumerate(truth):
        p = prediction[place]
        shared = np.sum((truth == t) & (prediction == p))
        union = np.sum(((truth == t) | (prediction == p)) & ((truth > 0) | void_in_union))
        if t == 0 or (t in case.crowd and t // 1000 == p // 1000):
            kind = PixelError.VOID
        elif p == 0 or (t // 1000 in things and p // 1000 not in things):
            kind = PixelError.MISSED
        elif t // 1000 not in things and p // 1000 in things:
            kind = PixelError.FALSE
        elif t // 1000 != p // 1000:
            kind = PixelError.WRONG_CLASS
        elif t // 1000 in things and not shared / union > 0.5:
            kind = PixelError.WRONG_INSTANCE
        else:
            kind = PixelError.RIGHT
        errors[place] = kind
    return errors


@pytest.mark.parametrize("rule", ["coco", "cityscapes", "void_in_union"])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a machine that is shared
@given(case=cases())
def test_it_is_what_the_definition_says(rule: Rule, case: Case) -> None:
    overlaps = case.overlaps()
    expected = _literal(case, rule == "void_in_union")
    errors = error_map(overlaps, rule)
    np.testing.assert_array_equal(errors, expected)
    assert errors.dtype == np.uint8
    counts = Counter(expected.ravel().tolist())
    assert error_pixels(overlaps, rule) == {kind: counts[kind] for kind in PixelError}


def test_one_of_each_kind() -> None:
    truth = np.array([[7000, 0, 7000, 26001, 26001, 26001, 26001, 24002, 24002, 7000]])
    found = np.array([[7000, 7000, 23000, 26001, 26001, 26001, 26003, 7000, 0, 24004]])
    expected = [
        "RIGHT",
        "VOID",
        "WRONG_CLASS",
        "RIGHT",
        "RIGHT",
        "RIGHT",
        "WRONG_INSTANCE",
        "MISSED",
        "MISSED",
        "FALSE",
    ]
    errors = error_map(Case(truth, found).overlaps())
    assert [PixelError(error).name for error in errors[0]] == expected


def test_colors_and_the_picture_below_them() -> None:
    errors = np.array([list(PixelError)], np.uint8)
    colored = draw_errors(errors)
    assert [tuple(color[::-1]) for color in colored[0].tolist()] == [COLORS[kind] for kind in PixelError]
    assert len(set(COLORS.values())) == len(PixelError)
    picture = np.zeros((1, len(PixelError), 3), np.uint8)
    picture[0, 0] = 255
    mixed = draw_errors(errors, picture).astype(int)
    assert (mixed[0, 0] > colored[0, 0]).all()
    assert (mixed[0, 1:] <= colored[0, 1:]).all()
    with pytest.raises(ValueError, match=r"\(2, 2, 3\).*\(1, 6\)"):
        draw_errors(errors, np.zeros((2, 2, 3), np.uint8))
