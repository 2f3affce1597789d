"""From a network's outputs to a panoptic segmentation: 1024x2048 frames with 100 instances.

All get logits as torch's networks leave them, channels last.  Ours is measured once more with logits at stride 2, as
the shipped network has them, whose classes differ at the borders.  Scores of stuff are not part of it.  Three peers get
the same scene, and the share of pixels on which they agree with us is printed:

- *Full-size masks, loop*: torchvision pastes every mask at full size (`paste_masks_in_image`), and a loop over the
  instances gives each the pixels that are still free, as the combination of Panoptic FPN does.
- *COCO's rule*: a literal transcription of panopticapi's ``combine_semantic_and_instance_predictions.py``.  It begins
  with run-length encoded full-size masks of the instances and of each class of stuff.  Making those is no part of its
  time, though ours begins with logits at a quarter of the size and masks of 20x20.
- *transformers*: ``Mask2FormerImageProcessor.post_process_panoptic_segmentation``.  The scene's instances and classes
  of stuff are its queries, with masks at a quarter of the size as such networks give them.  Its scaling over 384x384
  costs it the small instances, and it gives to stuff what is void to the others: things that no instance covers.

The last two need ``benchmarks/requirements.txt`` and are left out without.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from timing import measure, report
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from panoptic_ros import fusion

HEIGHT, WIDTH, CLASSES, STUFF, INSTANCES, CROP = 1024, 2048, 19, 11, 100, 20
MINIMUM_STUFF_AREA = 4096
OVERLAP = 0.5  # COCO's: an instance of which more is taken already is left out

Scene = dict[str, torch.Tensor]


def scene(device: torch.device, stride: int = 4) -> Scene:
    """A frame with boxes of 20 to 300 px, blobs for masks and smooth semantic logits, channels last in memory."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand((INSTANCES, 2), generator=generator) * torch.tensor([WIDTH, HEIGHT])
    sizes = torch.rand((INSTANCES, 2), generator=generator) * 280 + 20
    boxes = torch.cat((centres - sizes / 2, centres + sizes / 2), dim=1)
    boxes = torch.minimum(boxes.clamp(min=0), torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]))
    axis = torch.linspace(-1, 1, CROP)
    blob = torch.sigmoid(6 * (0.9 - (axis[:, None] ** 2 + axis**2).sqrt()))
    coarse = torch.randn((1, CLASSES, 8, 16), generator=generator) * 4
    logits = F.interpolate(coarse, size=(HEIGHT // stride, WIDTH // stride), mode="bilinear", align_corners=False)
    logits = logits.to(memory_format=torch.channels_last)[0]
    things = torch.arange(CLASSES) >= STUFF
    instance_classes = torch.randint(STUFF, CLASSES, (INSTANCES,), generator=generator)
    found = {"boxes": boxes, "masks": blob.repeat(INSTANCES, 1, 1), "classes": instance_classes}
    return {name: value.to(device) for name, value in {**found, "logits": logits, "is_thing": things}.items()}


def ours(scene: Scene) -> np.ndarray:
    classes = fusion.upsample_argmax(scene["logits"], HEIGHT, WIDTH)
    winners = fusion.paste_by_rank(scene["masks"], scene["boxes"], HEIGHT, WIDTH, 0.5)
    return merged(scene, classes, winners)


def merged(scene: Scene, classes: torch.Tensor, winners: torch.Tensor) -> np.ndarray:
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


def full_size(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """The class of each pixel, and each instance's mask at the frame's size, (N, H, W) bool."""
    logits = F.interpolate(scene["logits"][None], size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    masks = paste_masks_in_image(scene["masks"][:, None], scene["boxes"], (HEIGHT, WIDTH))[:, 0] > 0.5
    return logits[0].argmax(dim=0), masks


def loop(scene: Scene) -> np.ndarray:
    semantic, masks = full_size(scene)
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


def coco_rule(scene: Scene) -> Callable[[], np.ndarray]:
    """COCO's combination of what it calls instance and semantic results, which are encoded here."""
    from pycocotools import mask as coco_mask

    semantic, masks = (value.cpu().numpy() for value in full_size(scene))

    def encoded(mask: np.ndarray) -> dict:
        return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))

    instances = [
        {"category_id": int(one) + 1, "segmentation": encoded(mask)}
        for one, mask in zip(scene["classes"], masks, strict=True)
    ]
    stuff = [{"category_id": index + 1, "segmentation": encoded(semantic == index)} for index in range(STUFF)]

    def combine() -> np.ndarray:
        pan_segm_id = np.zeros((HEIGHT, WIDTH), dtype=np.uint32)
        used = None
        for number, ann in enumerate(instances, 1):
            area = coco_mask.area(ann["segmentation"])
            if area == 0:
                continue
            if used is None:
                intersect = 0
                used = ann["segmentation"]
            else:
                intersect = coco_mask.area(coco_mask.merge([used, ann["segmentation"]], intersect=True))
            if intersect / area > OVERLAP:
                continue
            used = coco_mask.merge([used, ann["segmentation"]], intersect=False)
            mask = coco_mask.decode(ann["segmentation"]) == 1
            if intersect != 0:
                mask = np.logical_and(pan_segm_id == 0, mask)
            pan_segm_id[mask] = ann["category_id"] * 1000 + number
        for ann in stuff:
            mask = coco_mask.decode(ann["segmentation"]) == 1
            mask_left = np.logical_and(pan_segm_id == 0, mask)
            if mask_left.sum() < MINIMUM_STUFF_AREA:
                continue
            pan_segm_id[mask_left] = ann["category_id"] * 1000
        return pan_segm_id.astype(np.int32)

    return combine


def transformers_rule(scene: Scene) -> Callable[[], np.ndarray]:
    """The scene as a network of queries gives it, and what transformers makes of it."""
    from transformers import Mask2FormerImageProcessor

    logging.getLogger("transformers").setLevel(logging.ERROR)
    logits = scene["logits"]
    masks = paste_masks_in_image(scene["masks"][:, None], scene["boxes"] / 4, logits.shape[1:], padding=0)[:, 0]
    things = torch.where(masks > 0, torch.logit(masks, eps=1e-4), -9.0)
    best = logits.topk(2, dim=0).values
    # Where a class is the best one it is above the second, elsewhere below the best.
    stuff = torch.where(logits[:STUFF] == best[0], logits[:STUFF] - best[1], logits[:STUFF] - best[0])
    queries = torch.cat((things + 0.2, stuff.clamp(-8, 0.4)))  # things over stuff
    labels = torch.cat((scene["classes"], torch.arange(STUFF, device=logits.device)))
    outputs = SimpleNamespace(
        class_queries_logits=12.0 * F.one_hot(labels, CLASSES + 1)[None].float(), masks_queries_logits=queries[None]
    )
    finish = Mask2FormerImageProcessor().post_process_panoptic_segmentation

    def combine() -> np.ndarray:
        (result,) = finish(
            outputs,
            threshold=0.5,
            overlap_mask_area_threshold=0.0,
            label_ids_to_fuse=set(range(STUFF)),
            target_sizes=[(HEIGHT, WIDTH)],
        )
        classes = np.zeros(len(result["segments_info"]) + 1, dtype=np.int32)
        for segment in result["segments_info"]:
            classes[segment["id"]] = segment["label_id"] + 1
        return classes[result["segmentation"].cpu().numpy()] * 1000

    return combine


def main(repeats: int = 10) -> dict[str, object]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    frame = scene(device)
    fine = scene(device, stride=2)
    alternatives = {
        "ours": lambda: ours(frame),
        "ours, logits at stride 2": lambda: ours(fine),
        "full-size masks, loop": lambda: loop(frame),
    }
    for name, build in (("COCO's rule, masks given", coco_rule), ("transformers", transformers_rule)):
        try:
            alternatives[name] = build(frame)
        except ImportError as error:
            print(f"left out: {name}: {error} (pip install -r benchmarks/requirements.txt)")
    ids = ours(frame)
    agreement = {}
    for name, call in alternatives.items():
        other = call()
        same_class, same_id = (float(np.mean(a == b)) for a, b in ((ids // 1000, other // 1000), (ids, other)))
        agreement[name] = {"same_class": same_class, "same_id": same_id}
        print(f"{name}: {same_class:.3f} of the pixels have our class, {same_id:.3f} our id")
    classes = fusion.upsample_argmax(frame["logits"], HEIGHT, WIDTH)
    winners = fusion.paste_by_rank(frame["masks"], frame["boxes"], HEIGHT, WIDTH, 0.5)
    parts = {
        "upsample and argmax": lambda: fusion.upsample_argmax(frame["logits"], HEIGHT, WIDTH),
        "paste 100 masks": lambda: fusion.paste_by_rank(frame["masks"], frame["boxes"], HEIGHT, WIDTH, 0.5),
        "merge": lambda: merged(frame, classes, winners),
    }
    title = f"decode, {WIDTH}x{HEIGHT}, {INSTANCES} instances, {device}, {torch.get_num_threads()} threads of torch"
    return {
        "agreement": agreement,
        "decode": report(title, measure(alternatives, repeats=repeats, warmup=1)),
        "parts": report("parts of ours", measure(parts, repeats=repeats)),
    }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
