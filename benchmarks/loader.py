"""Images a second of the input pipeline and of the training step: two workers must keep up with the step.

The frames are of Cityscapes' size and layout, 1024x2048 PNGs, which take longest to read.  Processor time is
measured, which other programs on the machine disturb least; a step on a GPU is timed by the clock.

The step is YOLO-Panoptic's with batches of two, in float32 and as `precision: bf16-mixed` has it: on a CPU of the small
model, in channels-last memory as `fit` has it, on a GPU of the full one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from panoptic_ros.datasets.panoptic_png import bgr_of_ids
from panoptic_ros.labels import LabelSet
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.resources import FULL_MODEL, SMALL_MODEL
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.augmentation import Augmentation, AugmentationOptions
from panoptic_training.augmentation.photometric import PhotometricOptions
from panoptic_training.data.order import Draw
from panoptic_training.data.samples import TrainingSet, batch_of
from panoptic_training.data.sources import Mixture, Source, SourceOptions
from panoptic_training.losses import LOSSES
from panoptic_training.synthetic.datasets import cityscapes_id, instance_ids, panoptic_json, segments_info

HEIGHT, WIDTH, FRAMES, THINGS, WORKERS, BATCH = 1024, 2048, 4, 40, 2, 2
LABELS = LabelSet.load("cityscapes")


def write_frames(folder: Path) -> None:
    """Smooth pictures with a little noise, as PNG pack like photographs, and forty cars on each."""
    rng = np.random.default_rng(0)
    annotations = folder / "gtFine" / "cityscapes_panoptic_train"
    images = folder / "leftImg8bit" / "train" / "town"
    annotations.mkdir(parents=True)
    images.mkdir(parents=True)
    records = []
    for index in range(FRAMES):
        ids = np.full((HEIGHT, WIDTH), 7000, dtype=np.int32)
        ids[:400] = 23_000
        for instance in range(1, THINGS + 1):
            top, left, height, width = rng.integers((300, 0, 20, 20), (900, 1900, 200, 300))
            ids[top : top + height, left : left + width] = 26_000 + instance
        image = cv2.resize(rng.integers(0, 256, (16, 32, 3), dtype=np.uint8), (WIDTH, HEIGHT))
        image = cv2.add(image, rng.integers(0, 6, image.shape, dtype=np.uint8))
        segmentation = PanopticSegmentation.from_ids(ids, LABELS.thing_ids)
        name = f"town_{index:06d}_000000"
        cv2.imwrite(str(images / f"{name}_leftImg8bit.png"), image)
        cv2.imwrite(str(annotations / f"{name}_gtFine_panoptic.png"), bgr_of_ids(instance_ids(segmentation)))
        info = segments_info(segmentation, cityscapes_id)
        records.append(
            {
                "image": {"id": name, "file_name": f"{name}_leftImg8bit.png", "width": WIDTH, "height": HEIGHT},
                "annotation": {"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": info},
            }
        )
    content = json.dumps(panoptic_json(records, LABELS))
    (annotations.parent / "cityscapes_panoptic_train.json").write_text(content)


def seconds(call: Callable[[int], object], repeats: int, clock: Callable[[], float]) -> float:
    """Median of a call, after one that does not count."""
    call(0)
    found = []
    for number in range(repeats):
        started = clock()
        call(number + 1)
        found.append(clock() - started)
    return float(np.median(found))


def main(repeats: int = 12) -> dict[str, float]:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    on_gpu = torch.cuda.is_available()
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_frames(folder)
        source = Source.open(SourceOptions(".", kind="cityscapes_panoptic", split="train"), folder, LABELS)
        augmentation = Augmentation(AugmentationOptions(photometric=PhotometricOptions()), LABELS)
        samples = TrainingSet(Mixture([source]), LABELS, augmentation, (512, 1024), seed=0, minimum_area=1)
        loading = seconds(lambda number: samples[Draw(0, number, number % FRAMES)], repeats, time.process_time)
        reading = seconds(lambda number: source.dataset[number % FRAMES], repeats, time.process_time)
        batch = batch_of([samples[Draw(0, number, number % FRAMES)] for number in range(BATCH)])

    config = load_model_config(FULL_MODEL if on_gpu else SMALL_MODEL)
    model = build_model(config).train()
    loss_class, options = LOSSES[config.system]
    loss = loss_class(model, options())
    device = torch.device("cuda" if on_gpu else "cpu")
    loss.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(loss.parameters(), lr=1e-6)

    def step(precision: torch.dtype) -> None:
        optimizer.zero_grad()
        moved = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision is torch.bfloat16):
            value = loss(moved.inputs(), moved.targets)["loss"]
        value.backward()
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()

    clock = time.perf_counter if on_gpu else time.process_time
    stepping = {
        precision: seconds(lambda _, of=precision: step(of), 3 * repeats if on_gpu else 3, clock)
        for precision in (torch.float32, torch.bfloat16)
    }
    figures = {
        "reading_ms": reading * 1e3,
        "loading_ms": loading * 1e3,
        "workers_images_per_s": WORKERS / loading,
        "step_images_per_s": BATCH / stepping[torch.float32],
        "bfloat16_step_images_per_s": BATCH / stepping[torch.bfloat16],
    }
    table = Table("", "", title=f"{WIDTH}x{HEIGHT} PNG frames to 640x640 crops; {WORKERS} workers; {device} step")
    table.add_row("reading picture and truth", f"{figures['reading_ms']:.1f} ms")
    table.add_row("all of a sample: reading, augmentation, targets", f"{figures['loading_ms']:.1f} ms")
    table.add_row(f"input pipeline, {WORKERS} workers", f"{figures['workers_images_per_s']:.1f} images/s")
    for name, key in (("float32", "step_images_per_s"), ("bf16-mixed", "bfloat16_step_images_per_s")):
        table.add_row(f"training step, {config.system}, {name}", f"{figures[key]:.2f} images/s")
    Console().print(table)
    return figures


if __name__ == "__main__":
    main()
