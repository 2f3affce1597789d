"""From a network's outputs to a panoptic segmentation: 1024x2048 frames with 100 instances.

The peer is the usual way: torchvision pastes every mask at full size (`paste_masks_in_image`), and a loop over the
instances gives each the pixels that are still free, as the combination of Panoptic FPN does.
"""

from __future__ import annotations

import numpy as np
import torch
from timing import measure, report
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from panoptic_ros import fusion

HEIGHT, WIDTH, CLASSES, INSTANCES, CROP = 1024, 2048, 19, 100, 20
MINIMUM_STUFF_AREA = 4096


def scene(device: torch.device) -> dict[str, torch.Tensor]:
    """A frame with boxes of 20 to 300 px, blobs for masks and smooth semantic logits."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand((INSTANCES, 2), generator=generator) * torch.tensor([WIDTH, HEIGHT])
    sizes = torch.rand((INSTANCES, 2), generator=generator) * 280 + 20
    boxes = torch.cat((centres - sizes / 2, centres + sizes / 2), dim=1)
    boxes = torch.minimum(boxes.clamp(min=0), torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]))
    axis = torch.linspace(-1, 1, CROP)
    blob = torch.sigmoid(6 * (0.9 - (axis[:, None] ** 2 + axis**2).sqrt()))
    coarse = torch.randn((1, CLASSES, 8, 16), generator=generator) * 4
    logits = F.interpolate(coarse, size=(HEIGHT // 4, WIDTH // 4), mode="bilinear", align_corners=False)[0]
    things = torch.arange(CLASSES) >= 11
    instance_classes = torch.randint(11, CLASSES, (INSTANCES,), generator=generator)
    found = {"boxes": boxes, "masks": blob.repeat(INSTANCES, 1, 1), "classes": instance_classes}
    return {name: value.to(device) for name, value in {**found, "logits": logits, "is_thing": things}.items()}


def ours(scene: dict[str, torch.Tensor]) -> np.ndarray:
    classes, _ = fusion.upsample_argmax(scene["logits"], HEIGHT, WIDTH)
    winners = fusion.paste_by_rank(scene["masks"], scene["boxes"], HEIGHT, WIDTH, 0.5)
    device = classes.device
    return fusion.merge(
        classes,
        winners,
        class_ids=torch.arange(1, CLASSES + 1, device=device),
        class_scores=torch.ones(CLASSES, device=device),
        is_thing=scene["is_thing"],
        instance_classes=scene["classes"],
        instance_scores=torch.ones(INSTANCES, device=device),
        minimum_stuff_area=MINIMUM_STUFF_AREA,
    ).ids


def peer(scene: dict[str, torch.Tensor]) -> np.ndarray:
    logits = F.interpolate(scene["logits"][None], size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    semantic = logits[0].argmax(dim=0)
    masks = paste_masks_in_image(scene["masks"][:, None], scene["boxes"], (HEIGHT, WIDTH))[:, 0] > 0.5
    ids = torch.zeros((HEIGHT, WIDTH), dtype=torch.int32, device=semantic.device)
    for index, mask in enumerate(masks):
        free = mask & (ids == 0)
        if int(free.sum()):
            ids[free] = (int(scene["classes"][index]) + 1) * 1000 + index + 1
    for index in range(CLASSES):
        region = (semantic == index) & (ids == 0)
        if not bool(scene["is_thing"][index]) and int(region.sum()) >= MINIMUM_STUFF_AREA:
            ids[region] = (index + 1) * 1000
    return ids.cpu().numpy()


def main() -> dict[str, object]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    frame = scene(device)
    a, b = ours(frame), peer(frame)
    print(f"pixels with the same id: {np.mean(a == b):.4f} (the peer snaps boxes differently)")
    parts = {
        "upsample and argmax": lambda: fusion.upsample_argmax(frame["logits"], HEIGHT, WIDTH),
        "paste 100 masks": lambda: fusion.paste_by_rank(frame["masks"], frame["boxes"], HEIGHT, WIDTH, 0.5),
    }
    return {
        "decode": report(
            f"decode, {WIDTH}x{HEIGHT}, {INSTANCES} instances, {device}",
            measure({"ours": lambda: ours(frame), "full-size masks, loop": lambda: peer(frame)}, repeats=10, warmup=1),
        ),
        "parts": report("parts of ours", measure(parts, repeats=10)),
    }


if __name__ == "__main__":
    main()
