"""A package that brings a system of its own, as a user would write one: its files, installed into a folder."""

from __future__ import annotations

from pathlib import Path

CODE = '''
"""Brightness as a panoptic segmentation: dark is road, and what is bright is one car."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from panoptic_ros import fusion
from panoptic_ros.models.model import PanopticModel, System


@dataclass(frozen=True)
class ToyConfig:
    channels: int = 2

    def self_contained(self):
        return self


@dataclass(frozen=True)
class ToyDecode:
    score_threshold: float = 0.5
    brightness: float = 0.5


class Toy(PanopticModel):
    output_names = ("semantic_logits",)
    input_multiple = 8

    def __init__(self, labels, config):
        super().__init__(labels)
        self.backbone = nn.Conv2d(3, config.channels, 1)
        self.semantic_head = nn.Conv2d(config.channels, len(labels), 1)
        self.register_buffer("class_ids", torch.tensor(labels.class_ids.tolist()), persistent=False)
        self.register_buffer("is_thing", torch.tensor([l.is_thing for l in labels.labels]), persistent=False)

    def forward(self, images):
        logits = self.semantic_head(self.backbone(images)) * 0.0
        names = [label.name for label in self.labels.labels]
        logits[:, names.index("road")] += 1.0 - images.mean(dim=1)
        logits[:, names.index("car")] += images.mean(dim=1)
        return {"semantic_logits": logits}

    def decode(self, outputs, letterboxes, options, confidence=False):
        return [self._value(logits, box, options) for logits, box in zip(outputs["semantic_logits"], letterboxes)]

    def _value(self, logits, box, options):
        names = [label.name for label in self.labels.labels]
        logits = logits[:, box.top : box.top + box.height, box.left : box.left + box.width].float()
        classes, best = fusion.upsample_max(logits, box.frame_height, box.frame_width)
        car = (classes == names.index("car")) & (best > options.brightness)
        return fusion.merge(
            torch.full_like(classes, names.index("road")),
            torch.where(car, 0, 1).to(torch.int16),
            class_ids=self.class_ids,
            class_scores=torch.ones(len(names)),
            is_thing=self.is_thing,
            instance_classes=torch.tensor([names.index("car")]),
            instance_scores=torch.tensor([1.0]),
            minimum_stuff_area=0,
        )


SYSTEM = System(Toy, ToyConfig, ToyDecode, configurations=Path(__file__).parent / "models")
'''

LOSS = '''
"""What the toy learns by: the semantic loss alone."""

from dataclasses import dataclass, field

from torch import nn

from panoptic_training.losses.semantic import SemanticLoss, SemanticLossOptions
from panoptic_training.losses.system import SystemLoss


@dataclass(frozen=True)
class ToyLossOptions:
    semantic: SemanticLossOptions = field(default_factory=SemanticLossOptions)


class ToyLoss(nn.Module):
    def __init__(self, model, options):
        super().__init__()
        self.model = model
        self.semantic = SemanticLoss(len(model.labels), options.semantic)

    def forward(self, images, targets):
        return self.evaluate(images, targets)[0]

    def evaluate(self, images, targets):
        if self.training:
            self.model.untrained = frozenset()
        outputs = {"semantic_logits": self.model.semantic_head(self.model.backbone(images))}
        term = self.semantic(outputs["semantic_logits"], targets.semantic, targets.instances)
        return {"semantic": term, "loss": term}, outputs


LOSS = SystemLoss(ToyLoss, ToyLossOptions)
'''

MODEL = """
system: toy
labels: cityscapes
input_height: 32
input_width: 48
decode: {brightness: 0.6}
"""

ENTRIES = """
[panoptic_ros.models]
toy = toy_panoptic:SYSTEM
toy_of_nothing = toy_panoptic.missing:SYSTEM
toy_of_another_kind = toy_panoptic:ToyConfig

[panoptic_ros.losses]
toy = toy_panoptic.loss:LOSS
"""


def install(folder: Path, name: str = "toy-panoptic") -> Path:
    """Put the package into a folder, as pip does; returns the folder, which is to be on ``sys.path``."""
    package, information = folder / "toy_panoptic", folder / f"{name.replace('-', '_')}-1.0.dist-info"
    (package / "models").mkdir(parents=True)
    information.mkdir()
    (package / "__init__.py").write_text(CODE)
    (package / "loss.py").write_text(LOSS)
    (package / "models" / "toy_small.yaml").write_text(MODEL)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRIES)
    return folder
