"""Reading Darknet cfgs: what is accepted, what it comes to, and what is said of a bad one."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig
from panoptic_ros.models.backbones.darknet_layers import Convolutional, DarknetConfigError, MaxPool, Route, Yolo

NET = "[net]\nwidth=32\nheight=64\n"
CONV = "[convolutional]\nfilters=4\n"


def load(tmp_path: Path, text: str) -> DarknetConfig:
    path = tmp_path / "some.cfg"
    path.write_bytes(text.encode())
    return DarknetConfig.load(path)


def test_spacing_comments_order_and_defaults(tmp_path: Path) -> None:
    text = (
        "# a comment\r\n ; another\r\n\r\n[network]\r\nwidth = 32 \r\nheight=64\r\nhue=.1\r\n"
        "[conv]   \r\n  Filters =8 # of our own\r\nsize=5\r\nstride=2\r\npad=1\r\npadding=7\r\nbatch_normalize=1\r\n"
        "activation = leaky\t\r\n[convolutional]\r\nfilters=6\r\npadding=1\r\nsize=3\r\ngroups = 2\r\n"
        "[max]\r\nsize=2\r\nstride=2\r\n[route]\r\nlayers = -1, 2\r\n"
        "[convolutional]\r\nfilters=14\r\n"
        "[yolo]\r\nmask = 0,2\r\nanchors = 10,14,  23.5,27,  37,58,\r\nclasses=2\r\nnum=3\r\nscale_x_y = 1.05\r\n"
    )
    config = load(tmp_path, text)
    assert (config.net.width, config.net.height, config.net.channels) == (32, 64, 3)
    first, second, pool, route, _, yolo = config.layers
    assert first == Convolutional(
        line=8, filters=8, size=5, stride=2, padding=2, batch_normalize=True, activation="leaky"
    )
    assert isinstance(second, Convolutional)
    assert (second.padding, second.groups, second.batch_normalize, second.activation) == (1, 2, False, "logistic")
    assert isinstance(pool, MaxPool)
    assert pool.padding == 1  # Darknet's default: size - 1
    assert isinstance(route, Route)
    assert route.layers == (2, 2)
    assert isinstance(yolo, Yolo)
    assert yolo.anchors == ((10, 14), (37, 58))
    assert (yolo.classes, yolo.scale_x_y, yolo.new_coords) == (2, 1.05, False)
    assert config.out_channels == (8, 6, 6, 12, 14, 14)
    assert config.strides == (2, 2, 4, 4, 4, 4)
    # 8·(4 + 3·25), 6·(1 + 8/2·9), 14·(1 + 12)
    assert config.parameter_counts == (632, 222, 0, 0, 182, 0)
    assert config.num_parameters == 1036
    assert config.yolo_layers == (5,)
    assert config.input_multiple == 4


def test_shipped_cfg_is_yolov3() -> None:
    config = DarknetConfig.load("darknet53_yolov3")
    assert config.num_parameters == 62_001_757  # the official yolov3.weights: 248,007,048 bytes
    assert sum(config.parameter_counts[:75]) == 40_620_640  # darknet53.conv.74: 162,482,580 bytes
    assert config.yolo_layers == (82, 94, 106)
    assert [stride for stride, _ in config.heads] == [32, 16, 8]
    assert config.heads[0][1].anchors == ((116, 90), (156, 198), (373, 326))
    assert config.heads[2][1].anchors == ((10, 13), (16, 30), (33, 23))
    assert config.feature_taps("before_stride") == (11, 36, 61)
    assert config.feature_taps("after_stride") == (5, 12, 37)
    assert (config.out_channels[4], config.strides[4]) == (64, 2)  # the thesis' "5th, 64×H/2"


def test_quarter_cfg_is_the_same_network_with_a_quarter_of_the_channels() -> None:
    full, quarter = DarknetConfig.load("darknet53_yolov3"), DarknetConfig.load("darknet53_yolov3_quarter")
    assert quarter.strides == full.strides
    for index, (wide, narrow) in enumerate(zip(full.layers, quarter.layers, strict=True)):
        expected = replace(wide, line=0)
        if isinstance(expected, Convolutional) and index + 1 not in full.yolo_layers:
            expected = replace(expected, filters=expected.filters // 4)
        assert replace(narrow, line=0) == expected
    assert 3_500_000 < quarter.num_parameters < 4_500_000


def test_shipped_cfg_has_the_layers_of_the_official_one(shared_data: Path) -> None:
    ours = DarknetConfig.load("darknet53_yolov3")
    official = DarknetConfig.load(shared_data / "darknet_cfg_and_images" / "cfg" / "yolov3.cfg")
    assert [replace(layer, line=0) for layer in ours.layers] == [replace(layer, line=0) for layer in official.layers]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("yolov3-tiny", 8_858_734), ("yolov3-spp", 63_052_381), ("yolov3-voc", 61_678_657)],
)
def test_official_cfgs(shared_data: Path, name: str, parameters: int) -> None:
    config = DarknetConfig.load(shared_data / "darknet_cfg_and_images" / "cfg" / f"{name}.cfg")
    assert config.num_parameters == parameters


def test_published_small_networks(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfgs = sorted((shared_data / "yolo_fastest_darknet").glob("*/*.cfg"))
    assert len(cfgs) == 5
    for cfg in cfgs:
        config = DarknetConfig.load(cfg)
        assert config.num_parameters * 4 + 20 == cfg.with_suffix(".weights").stat().st_size
        for kind in ("before_stride", "after_stride"):
            taps = config.feature_taps(kind)
            assert [config.strides[tap] for tap in taps] == [4, 8, 16]
            neighbour = 1 if kind == "before_stride" else -1
            factor = 2.0 if kind == "before_stride" else 0.5
            assert [config.strides[tap + neighbour] / config.strides[tap] for tap in taps] == [factor] * 3
    assert not caplog.records  # every key of theirs is known


def test_with_classes_changes_the_heads_alone() -> None:
    full = DarknetConfig.load("darknet53_yolov3")
    voc = full.with_classes(20)
    assert voc.num_parameters == 61_678_657  # the official yolov3-voc
    changed = [index for index, pair in enumerate(zip(full.layers, voc.layers, strict=True)) if pair[0] != pair[1]]
    assert changed == [81, 82, 93, 94, 105, 106]
    assert voc.out_channels[81] == 75
    assert voc.with_classes(80).layers == full.layers
    with pytest.raises(ValueError, match="must be positive, got 0"):
        full.with_classes(0)


def test_with_classes_needs_a_head_after_a_convolution(tmp_path: Path) -> None:
    with pytest.raises(DarknetConfigError, match=r"has no \[yolo\] layer"):
        load(tmp_path, NET + CONV).with_classes(3)
    text = NET + "[convolutional]\nfilters=12\n[dropout]\n[yolo]\nanchors=1,2,3,4\nclasses=1\n"
    with pytest.raises(DarknetConfigError, match=r"some\.cfg:7: \[yolo\] the layer before is not \[convolutional\]"):
        load(tmp_path, text).with_classes(3)


def test_no_taps_in_a_network_that_shrinks_too_little(tmp_path: Path) -> None:
    config = load(tmp_path, NET + 4 * (CONV + "stride=2\n"))
    assert config.feature_taps("after_stride") == (1, 2, 3)
    with pytest.raises(DarknetConfigError, match="no layer that halves a map of stride 16"):
        config.feature_taps("before_stride")


def test_a_key_given_twice_and_an_unknown_key_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load(tmp_path, NET + "[convolutional]\nfilters=4\nfilters=8\nfitlers=2\nstopbackward=1\n")
    assert config.out_channels == (4,)
    messages = sorted(record.getMessage() for record in caplog.records)
    assert len(messages) == 2
    assert messages[0].endswith("some.cfg:6: [convolutional] filters: given twice; the first counts")
    assert messages[1].endswith("some.cfg:7: [convolutional] fitlers: not a key we know; ignored")


def test_no_such_cfg() -> None:
    with pytest.raises(FileNotFoundError, match="darknet53_yolov3"):
        DarknetConfig.load("darknet52")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"some\.cfg: not a Darknet cfg: expected \[net\] as its first section"),
        ("\x00\x01binary", r"some\.cfg:1: expected \[net\], got "),
        (CONV, r"expected \[net\] as its first section"),
        (NET, r"some\.cfg: has no layers"),
        ("[net]\nwidth=32\n" + CONV, r"some\.cfg:1: \[net\] height: is missing; expected a whole number"),
        (NET + "channels=0\n" + CONV, r"some\.cfg:4: \[net\] channels: expected a whole number of at least 1, got 0"),
        (NET + "[convolutional\n", r"some\.cfg:4: expected key = value, got '\[convolutional'"),
        (NET + CONV + "size\n", r"some\.cfg:6: expected key = value, got 'size'"),
        (NET + "[convolutional]\nsize=3\n", r":4: \[convolutional\] filters: is missing; expected a whole number"),
        (NET + CONV + "size=3.5\n", r":6: \[convolutional\] size: expected a whole number, got '3\.5'"),
        (NET + CONV + "size=1,2\n", r":6: \[convolutional\] size: expected one whole number, got 2"),
        (NET + CONV + "stride=0\n", r":6: \[convolutional\] stride: expected a whole number of at least 1, got 0"),
        (NET + CONV + "activation=lekay\n", r":6: \[convolutional\] activation: expected one of leaky, .* got 'lekay'"),
        (NET + CONV + "groups=3\n", r":4: \[convolutional\] groups: 3 does not divide the 4 filters"),
        (NET + CONV + "groups=2\n", r":4: \[convolutional\] groups: 2 does not divide the 3 input channels"),
        (NET + CONV + "dilation=2\n", r":6: \[convolutional\] dilation: only 1 is supported, got '2'"),
        (NET + CONV + "stride=2\nstride_x=1\n", r":4: \[convolutional\] stride_x: only the same stride"),
        (NET + CONV + "size=3\n", r":4: \[convolutional\] padding: size 3 and stride 1 with 0 cells of padding"),
        (NET + CONV + "[maxpool]\nsize=3\nstride=1\npadding=0\n", r":6: \[maxpool\] padding: size 3 and stride 1"),
        (NET + CONV + "[region]\nclasses=3\n", r":6: \[region\]: is a layer of Darknet's that is not supported"),
        (NET + CONV + "[convolutoinal]\n", r":6: \[convolutoinal\]: unknown layer \(layer 1\); expected one of conv"),
        (NET + CONV + "[shortcut]\n", r":6: \[shortcut\] from: is missing"),
        (NET + CONV + "[shortcut]\nfrom=-2\n", r":6: \[shortcut\] from: layer -2 does not exist before this one"),
        (
            NET + CONV + CONV.replace("4", "8") + "[shortcut]\nfrom=-2\n",
            r":8: \[shortcut\] from: adds 4 channels to 8; expected equal numbers",
        ),
        (NET + CONV + CONV + "stride=2\n[shortcut]\nfrom=0\n", r":9: \[shortcut\] joins maps of different strides"),
        (NET + CONV + "[shortcut]\nfrom=0\nalpha=2\n", r":8: \[shortcut\] alpha: only 1 is supported, got '2'"),
        (NET + CONV + "[route]\nlayers=0,1\n", r":6: \[route\] layers: layer 1 does not exist .* which is layer 1"),
        (NET + CONV + CONV + "stride=2\n[route]\nlayers=0,1\n", r":9: \[route\] joins maps of different strides"),
        (NET + CONV + "[route]\nlayers=0\ngroups=3\n", r":6: \[route\] groups: 3 does not divide the 4 channels"),
        (NET + CONV + "[route]\nlayers=0\ngroups=2\ngroup_id=2\n", r":6: \[route\] group_id: expected a number below"),
        (NET + CONV + "[upsample]\n", r":6: \[upsample\] stride: a map of stride 1 cannot be upsampled by 2"),
        (NET + CONV + "[avgpool]\n[upsample]\n", r":7: \[upsample\] stride: a map of stride 0 cannot be upsampled"),
        (NET + CONV + "[dropout]\nprobability=1\n", r":6: \[dropout\] probability: expected a number below 1"),
        (NET + CONV + "[dropout]\nprobability=nan\n", r":7: \[dropout\] probability: expected a number of at least 0"),
        (NET + CONV + "[yolo]\n", r":6: \[yolo\] anchors: is missing; expected a number"),
        (NET + CONV + "[yolo]\nanchors=1,2,3\n", r":6: \[yolo\] anchors: expected pairs of positive .*, got 3 numbers"),
        (NET + CONV + "[yolo]\nanchors=1,2\nmask=0,1\n", r":6: \[yolo\] mask: anchor 1 does not exist; there are 1"),
        (
            NET + CONV + "[yolo]\nanchors=1,2,3,4\nclasses=1\n",
            r":6: \[yolo\] 2 anchors and 1 classes need 12 channels \(filters of the layer before\), got 4",
        ),
        (
            NET + "[convolutional]\nfilters=6\n[yolo]\nanchors=1,2\nclasses=1\n" + CONV,
            r":9: \[convolutional\] takes layer 1, a \[yolo\] layer, which has no features",
        ),
    ],
)  # fmt: skip
def test_errors_name_file_line_section_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DarknetConfigError, match=message):
        load(tmp_path, text)
