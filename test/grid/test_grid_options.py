"""The options: their file, what they refuse, and which classes they call what."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panoptic_ros.configuration import ConfigurationError, from_mapping, read_yaml
from panoptic_ros.grid.options import ContactLineOptions, GridOptions, load_grid_options
from panoptic_ros.labels import LabelSet
from panoptic_ros.resources import share_directory


def keys(options: object) -> set[str]:
    """The names of all options, those of groups with the group's."""
    found = set()
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        value = getattr(options, field.name)
        parts = keys(value) if dataclasses.is_dataclass(value) else {""}
        found |= {f"{field.name}.{part}".rstrip(".") for part in parts}
    return found


def test_the_file_that_comes_along_names_every_key_and_is_the_defaults() -> None:
    assert load_grid_options("semantic_grid") == GridOptions()
    content = read_yaml(share_directory() / "config" / "grid" / "semantic_grid.yaml")
    written = {
        f"{name}.{part}" if part else name
        for name, value in content.items()
        for part in (value if isinstance(value, dict) else [""])
    }
    assert written == keys(GridOptions())


def test_a_file_may_leave_out_what_it_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("size: 200\nlabelling: {ego_box: [[-1, -1, 0], [3, 1, 2]]}\nocclusion: 1\n")
    with pytest.raises(ConfigurationError, match=r"mine\.yaml: unknown key 'occlusion'"):
        load_grid_options(path)
    path.write_text("size: 200\nlabelling: {ego_box: [[-1, -1, 0], [3, 1, 2]]}\n")
    options = load_grid_options(path)
    assert (options.size, options.resolution) == (200, 0.2)
    assert options.labelling.ego_box == ((-1.0, -1.0, 0.0), (3.0, 1.0, 2.0))


def test_a_name_that_is_none_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="semantic_grid"):
        load_grid_options("none")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"size": 401}, "size must be an even number of cells from 2 to 8192, got 401"),
        ({"size": 0}, "size must be an even number"),
        ({"resolution": 0.0}, "resolution must be a positive number, got 0.0"),
        ({"resolution": float("nan")}, "resolution must be a positive number, got nan"),
        ({"minimum_range": 70.0}, "minimum_range must be below maximum_range, got 70.0 and 60.0"),
        ({"minimum_range": -1.0}, "minimum_range must be at least 0"),
        ({"obstacle_height": [2.0, 1.0]}, "obstacle_height must be a lower and an upper height"),
        ({"fixed_frame": "base_link"}, "fixed_frame and base_frame must be two names"),
        ({"fixed_frame": ""}, "fixed_frame and base_frame must be two names"),
        ({"occupancy": {"hit": -1.0}}, "occupancy: hit must be a positive number"),
        ({"occupancy": {"azimuth_bins": 4}}, "occupancy: azimuth_bins must be 8 to 65536"),
        ({"occupancy": {"bridged_bins": -1}}, "occupancy: bridged_bins must be 0 to"),
        ({"occupancy": {"occupied_above": 0.4}}, "occupancy: free_below must be in"),
        ({"classes": {"smoothing": 0.0}}, r"classes: smoothing must be in \(0, 1\)"),
        ({"classes": {"correlation": 1.5}}, r"classes: correlation must be in \[0, 1\], got 1.5"),
        ({"labelling": {"buffer_scale": 0}}, "labelling: buffer_scale must be at least 1"),
        ({"labelling": {"ego_box": [[0, 0, 0], [0, 1, 1]]}}, "labelling: ego_box must be the least and the greatest"),
        ({"labelling": {"ground_height": "sea"}}, "ground_height: expected one of 'base_plane', 'estimated'"),
        ({"contact_line": {"attitude_sigma": 0.0}}, "contact_line: attitude_sigma must be a positive"),
        ({"contact_line": {"kerb_height": -0.1}}, "contact_line: kerb_height must be at least 0"),
        ({"contact_line": {"body_depth": -1.0}}, "contact_line: body_depth must be at least 0"),
        ({"tracking": {"confirm": 0}}, "tracking: confirm must be at least 1"),
        ({"poses": {"queue": 0}}, "poses: queue must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"f.yaml: {said}|f.yaml: .*{said}"):
        from_mapping(GridOptions, content, "f.yaml")


@pytest.mark.parametrize(
    ("name", "ground", "ignored"),
    [
        ("cityscapes", {"road", "sidewalk", "terrain"}, {"sky"}),
        ("camvid", {"road", "pavement"}, {"sky"}),
        ("voc", set(), {"background"}),
    ],
)
def test_what_lies_flat(name: str, ground: set[str], ignored: set[str]) -> None:
    labels, options = LabelSet.load(name), GridOptions()
    assert {labels.labels[i].name for i in np.flatnonzero(options.is_ground(labels))} == ground
    assert {labels.labels[i].name for i in np.flatnonzero(options.is_ignored(labels))} == ignored


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("cityscapes", {"sidewalk"}),
        ("camvid", {"pavement"}),
        ("coco", {"pavement-merged"}),
        ("mapillary_v2.0", {"sidewalk", "pedestrian area", "traffic island"}),
        ("voc", set()),
    ],
)
def test_what_lies_a_kerb_higher(name: str, raised: set[str]) -> None:
    labels, options = LabelSet.load(name), GridOptions()
    assert {labels.labels[i].name.lower() for i in np.flatnonzero(options.is_raised(labels))} == raised
    everything = replace(options, contact_line=ContactLineOptions(raised=("*",)))
    np.testing.assert_array_equal(everything.is_raised(labels), options.is_ground(labels))


@pytest.mark.parametrize(
    ("name", "bodies"),
    [
        ("cityscapes", {"building", "car", "truck", "bus", "train"}),
        ("camvid", {"building", "car"}),
        ("coco", {"building-other-merged", "house", "car", "bus", "train", "truck"}),
        ("voc", {"car", "bus", "train"}),
    ],
)
def test_what_has_a_body(name: str, bodies: set[str]) -> None:
    labels, options = LabelSet.load(name), GridOptions()
    assert {labels.labels[i].name.lower() for i in np.flatnonzero(options.is_body(labels))} >= bodies
    everything = replace(options, contact_line=ContactLineOptions(bodies=("*",)))
    np.testing.assert_array_equal(everything.is_body(labels), options.is_obstacle(labels))


@pytest.mark.parametrize(
    "name", ["cityscapes", "camvid", "camvid_32", "coco", "mapillary_v1.2", "mapillary_v2.0", "voc"]
)
def test_every_class_is_one_of_three_and_what_lies_flat_does_not_move(name: str) -> None:
    labels, options = LabelSet.load(name), GridOptions()
    kinds = np.stack([options.is_ground(labels), options.is_obstacle(labels), options.is_ignored(labels)])
    assert (kinds.sum(axis=0) == 1).all()
    dynamic = options.is_dynamic(labels)
    assert not (dynamic & ~options.is_obstacle(labels)).any()
    names = {label.name.lower() for label, moves in zip(labels.labels, dynamic, strict=True) if moves}
    assert not any(name.startswith(("lane marking", "crosswalk")) for name in names)


@pytest.mark.parametrize("name", ["cityscapes", "coco", "mapillary_v1.2", "mapillary_v2.0", "voc"])
def test_what_may_move(name: str) -> None:
    labels = LabelSet.load(name)
    dynamic = {labels.labels[i].name.lower() for i in np.flatnonzero(GridOptions().is_dynamic(labels))}
    assert {"person", "car", "bus", "bicycle"} <= dynamic
    assert not {"pole", "traffic light", "traffic sign (front)", "bench", "chair", "sofa"} & dynamic


def test_every_label_set_of_a_street_has_a_road() -> None:
    for name in ("cityscapes", "camvid", "camvid_32", "coco", "mapillary_v1.2", "mapillary_v2.0"):
        labels = LabelSet.load(name)
        flat = {labels.labels[i].name.lower() for i in np.flatnonzero(GridOptions().is_ground(labels))}
        assert "road" in flat, name


def test_a_pattern_takes_every_name_that_it_matches() -> None:
    labels = LabelSet.load("mapillary_v2.0")
    options = GridOptions(ground=("Lane Marking - Arrow*",), ignored=())
    found = [labels.labels[i].name for i in np.flatnonzero(options.is_ground(labels))]
    assert len(found) > 3
    assert all(name.startswith("Lane Marking - Arrow") for name in found)
