"""The text of a Darknet cfg, read into layers.

The format is that of ``parser.c`` and ``option_list.c`` in Darknet: sections in square brackets, ``key = value``,
comments after ``#`` or ``;``.  Keys that matter only to Darknet's own training are accepted and dropped.  Keys that
would change the network in a way that we do not implement are errors unless they have their default value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from panoptic_ros.models.backbones.darknet_layers import (
    ACTIVATIONS,
    AvgPool,
    Convolutional,
    DarknetConfigError,
    Dropout,
    Layer,
    MaxPool,
    Net,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)

_logger = logging.getLogger(__name__)

ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool"}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NOT_RUN = _words(
    "activation batchnorm batch_normalization connected contrastive conv_lstm cost crnn crop deconv deconvolutional "
    "detection empty gaussian_yolo gru history implicit_add implicit_mul iseg l2norm local local_avgpool logistic "
    "logxent lstm normalization region reorg reorg3d reorg_old rnn sam scale_channels silence soft softmax"
)
"""Kinds of layers that Darknet has and we do not."""

_TRAINING = _words("burnin_update clip learning_rate onlyforward smooth stopbackward train_only_bn truth")

TRAINING_KEYS: Mapping[str, frozenset[str]] = {
    "net": _words(
        "adam adversarial_lr angle aspect attention augment_speed b1 b2 badlabels_rejection_percentage batch blur "
        "burn_in center cutmix decay dynamic_minibatch ema_alpha eps equidistant_point exposure flip gamma "
        "gaussian_noise hue init_sequential_subdivisions label_smooth_eps learning_rate letter_box loss_scale "
        "max_batches max_crop min_crop mixup momentum mosaic mosaic_bound notruth num_sigmas_reject_badlabels "
        "optimized_memory policy power random resize_step saturation scale scales seq_scales sequential_subdivisions "
        "sgdr_cycle sgdr_mult step steps subdivisions time_steps track try_fix_nan use_cuda_graph weights_reject_freq "
        "workspace_size_limit_mb"
    ),
    "convolutional": _TRAINING | frozenset({"decay", "grad_centr", "time_normalizer"}),
    "dropout": _TRAINING | frozenset({"dropblock", "dropblock_size_abs", "dropblock_size_rel"}),
    "yolo": _TRAINING
    | _words(
        "absolute beta_nms cls_normalizer counters_per_class delta_normalizer focal_loss ignore_thresh iou_loss "
        "iou_normalizer iou_thresh iou_thresh_kind jitter label_smooth_eps map max max_delta nms_kind num "
        "obj_normalizer objectness_smooth random resize show_details total truth_thresh"
    ),
}

_DEFAULTS = {"dontload": 0, "dontloadscales": 0, "dontsave": 0, "numload": 0}

DEFAULT_ONLY: Mapping[str, Mapping[str, float | str]] = {
    "convolutional": {
        **_DEFAULTS,
        **dict.fromkeys(("antialiasing", "binary", "cbn", "coordconv", "deform", "flipped", "reverse", "xnor"), 0),
        **dict.fromkeys(("rotate", "stretch", "stretch_sway", "sway"), 0),
        "dilation": 1,
    },
    "maxpool": {**_DEFAULTS, "antialiasing": 0, "maxpool_depth": 0},
    "shortcut": {**_DEFAULTS, "alpha": 1, "beta": 1, "weights_type": "none"},
    "upsample": {**_DEFAULTS, "scale": 1},
}
"""Keys whose other values would make another network than the one we build."""


@dataclass
class Section:
    """A section of a cfg, whose keys are taken one by one with the type that is expected."""

    source: str
    name: str
    line: int
    entries: dict[str, tuple[str, int]] = field(default_factory=dict)

    def error(self, message: str, key: str = "", line: int | None = None) -> DarknetConfigError:
        where = f"{self.source}:{line or self.line}: [{self.name}]"
        return DarknetConfigError(f"{where} {key}: {message}" if key else f"{where}: {message}")

    def _numbers(
        self, key: str, kind: type[int] | type[float], default: str | None, minimum: float | None
    ) -> list[float]:
        text, line = self.entries.pop(key, (default, self.line))
        noun = "a whole number" if kind is int else "a number"
        if text is None:
            raise self.error(f"is missing; expected {noun}", key)
        try:
            values = [kind(part) for part in text.rstrip(", ").split(",")]
        except ValueError:
            raise self.error(f"expected {noun}, got {text!r}", key, line) from None
        for value in values:
            if minimum is not None and not value >= minimum:
                raise self.error(f"expected {noun} of at least {minimum}, got {value}", key, line)
        return values

    def integers(self, key: str, default: str | None = None, minimum: int | None = None) -> list[int]:
        """A list of whole numbers, separated by commas; without a default the key must be there."""
        return [int(value) for value in self._numbers(key, int, default, minimum)]

    def integer(self, key: str, default: int | None = None, minimum: int | None = None) -> int:
        line = self.entries.get(key, ("", self.line))[1]
        values = self.integers(key, None if default is None else str(default), minimum)
        if len(values) != 1:
            raise self.error(f"expected one whole number, got {len(values)}", key, line)
        return values[0]

    def numbers(self, key: str) -> list[float]:
        """A list of numbers, separated by commas; the key must be there."""
        return self._numbers(key, float, None, None)

    def number(self, key: str, default: float, minimum: float) -> float:
        return self._numbers(key, float, str(default), minimum)[0]

    def word(self, key: str, default: str, choices: Sequence[str]) -> str:
        value, line = self.entries.pop(key, (default, self.line))
        if value not in choices:
            raise self.error(f"expected one of {', '.join(choices)}, got {value!r}", key, line)
        return value

    def finish(self) -> None:
        """Look at the keys that are left over: see the head of this file."""
        for key, default in DEFAULT_ONLY.get(self.name, _DEFAULTS).items():
            value, line = self.entries.pop(key, (str(default), self.line))
            if value != str(default):
                raise self.error(f"only {default} is supported, got {value!r}", key, line)
        for key in self.entries.keys() - TRAINING_KEYS.get(self.name, _TRAINING):
            _logger.warning(
                "%s:%d: [%s] %s: not a key we know; ignored", self.source, self.entries[key][1], self.name, key
            )


def parse(text: str, source: str) -> tuple[Net, tuple[Layer, ...]]:
    """The input and the layers that a cfg describes; `source` names it in messages.

    Raises
    ------
    DarknetConfigError
        If a line, section or value is not what the format or our layers allow.
    """
    sections = _sections(text, source)
    if not sections or sections[0].name != "net":
        raise DarknetConfigError(f"{source}: not a Darknet cfg: expected [net] as its first section")
    first, *rest = sections
    net = Net(
        line=first.line,
        width=first.integer("width", minimum=1),
        height=first.integer("height", minimum=1),
        channels=first.integer("channels", 3, minimum=1),
    )
    first.finish()
    layers = []
    for index, section in enumerate(rest):
        if section.name not in _KINDS:
            names = ", ".join(_KINDS)
            known = "is a layer of Darknet's that is not supported" if section.name in NOT_RUN else "unknown layer"
            raise section.error(f"{known} (layer {index}); expected one of {names}")
        layers.append(_KINDS[section.name](section, index))
        section.finish()
    return net, tuple(layers)


def _sections(text: str, source: str) -> list[Section]:
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].split(";")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1].strip().lower()
            sections.append(Section(source, ALIASES.get(name, name), number))
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not (key and equals and value) or not sections:
            expected = "key = value" if sections else "[net]"
            raise DarknetConfigError(f"{source}:{number}: expected {expected}, got {line[:60]!r}")
        key = key.lower()
        section = sections[-1]
        if key in section.entries:  # Darknet takes the first as well
            _logger.warning("%s:%d: [%s] %s: given twice; the first counts", source, number, section.name, key)
        section.entries.setdefault(key, (value, number))
    return sections


def _strides(section: Section, default: int) -> int:
    stride = section.integer("stride", default, minimum=1)
    for key in ("stride_x", "stride_y"):
        if section.integer(key, stride) != stride:
            raise section.error(f"only the same stride in both directions is supported ({stride})", key)
    return stride


def _layer_index(section: Section, key: str, value: int, index: int) -> int:
    """A layer's number as cfgs write it, negative ones counting back from layer `index`, made absolute."""
    absolute = index + value if value < 0 else value
    if not 0 <= absolute < index:
        raise section.error(f"layer {value} does not exist before this one, which is layer {index}", key)
    return absolute


def _convolutional(section: Section, index: int) -> Layer:
    size = section.integer("size", 1, minimum=1)
    padding = section.integer("padding", 0, minimum=0)
    return Convolutional(
        line=section.line,
        filters=section.integer("filters", minimum=1),
        size=size,
        stride=_strides(section, 1),
        padding=size // 2 if section.integer("pad", 0) else padding,
        groups=section.integer("groups", 1, minimum=1),
        batch_normalize=section.integer("batch_normalize", 0) != 0,
        activation=section.word("activation", "logistic", ACTIVATIONS),
    )


def _shortcut(section: Section, index: int) -> Layer:
    return Shortcut(
        line=section.line,
        source=_layer_index(section, "from", section.integer("from"), index),
        activation=section.word("activation", "linear", ACTIVATIONS),
    )


def _route(section: Section, index: int) -> Layer:
    groups = section.integer("groups", 1, minimum=1)
    group_id = section.integer("group_id", 0, minimum=0)
    if group_id >= groups:
        raise section.error(f"expected a number below groups = {groups}, got {group_id}", "group_id")
    layers = tuple(_layer_index(section, "layers", value, index) for value in section.integers("layers"))
    return Route(line=section.line, layers=layers, groups=groups, group_id=group_id)


def _upsample(section: Section, index: int) -> Layer:
    return Upsample(line=section.line, stride=section.integer("stride", 2, minimum=1))


def _maxpool(section: Section, index: int) -> Layer:
    stride = _strides(section, 1)
    size = section.integer("size", stride, minimum=1)
    return MaxPool(line=section.line, size=size, stride=stride, padding=section.integer("padding", size - 1, minimum=0))


def _avgpool(section: Section, index: int) -> Layer:
    return AvgPool(line=section.line)


def _dropout(section: Section, index: int) -> Layer:
    probability = section.number("probability", 0.5, minimum=0.0)
    if probability >= 1.0:
        raise section.error(f"expected a number below 1, got {probability}", "probability")
    return Dropout(line=section.line, probability=probability)


def _yolo(section: Section, index: int) -> Layer:
    numbers = section.numbers("anchors")
    anchors = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    if len(numbers) % 2 or not all(0 < number < float("inf") for number in numbers):
        raise section.error(f"expected pairs of positive widths and heights, got {len(numbers)} numbers", "anchors")
    mask = section.integers("mask", ",".join(str(number) for number in range(len(anchors))))
    for number in mask:
        if not 0 <= number < len(anchors):
            raise section.error(f"anchor {number} does not exist; there are {len(anchors)}", "mask")
    return Yolo(
        line=section.line,
        anchors=tuple(anchors[number] for number in mask),
        classes=section.integer("classes", 20, minimum=1),
        scale_x_y=section.number("scale_x_y", 1.0, minimum=1.0),
        new_coords=section.integer("new_coords", 0) != 0,
    )


_KINDS: Mapping[str, Callable[[Section, int], Layer]] = {
    "convolutional": _convolutional,
    "shortcut": _shortcut,
    "route": _route,
    "upsample": _upsample,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "dropout": _dropout,
    "yolo": _yolo,
}
