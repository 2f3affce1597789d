"""Frame to result beside other systems: YOLO-Panoptic, Mask R-CNN, Mask2Former and EoMT, and OpenCV's detector.

All get the same frame at the same square input, on the same device and threads, with random weights; each is called in
turns.  What is compared with what:

- *Ours*, small and full: frame to `PanopticSegmentation`; letterbox, network, decode at the frame's own size.
- *Mask R-CNN R50-FPN*, torchvision's: instances alone, no stuff; resize, network, boxes, masks pasted at the frame's
  size.  Without a threshold its 100 best boxes get a mask, as a trained one's do in a street.
- *Mask2Former Swin-T*: transformers' model and its ``post_process_panoptic_segmentation``, 100 queries.
- *EoMT small*: transformers' model (ViT-S/16) and its ``post_process_panoptic_segmentation``, 200 queries; without the
  masks in attention, which a trained one does not need any more.
- *Detector*, ours and OpenCV's: Darknet of the same cfg and weights; blob, network, boxes after suppression, and no
  masks.

Random weights tell the time of networks, whose shapes do not depend on what is seen.  What comes after depends on what
is found: the last column says how much that was.  The post-processing of the two from transformers has no threshold on
scores, so that queries of random weights go through it; ``decode.py`` compares post-processing on equal contents.

Install ``benchmarks/requirements.txt`` and run ``python benchmarks/peers.py [SIZE] [ROUNDS] [DEVICE]``.  A peer whose
package is not installed is left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import maskrcnn_resnet50_fpn

from panoptic_ros.benchmarking import Spent, Stopwatch, Times, environment, in_rounds
from panoptic_ros.benchmarking.frames import drawn_street
from panoptic_ros.benchmarking.variants import RESULT_STAGES, Round, network_flops
from panoptic_ros.engines import find_device
from panoptic_ros.models.backbones.darknet import Darknet, YoloDecoder
from panoptic_ros.models.backbones.darknet_weights import save_darknet_weights
from panoptic_ros.models.layers.nms import select_detections
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.resources import FULL_MODEL, SMALL_MODEL

MODELS = {"ours, small": SMALL_MODEL, "ours, full": FULL_MODEL}
CFG = "darknet53_yolov3"
CLASSES, THINGS = 19, 8  # as Cityscapes has
SCORE, OVERLAP = 0.3, 0.45
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Peer = Callable[[np.ndarray], Round]


class Stages:
    """The times of a frame's stages, as they are told one after another."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._watch = Stopwatch()
        self._spent = {}

    def end(self, stage: str) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._spent[stage] = self._watch.lap()

    def found(self, segments: int) -> Round:
        return Round(self._spent, segments, 0)


def ours(model: str, size: int, device: torch.device) -> tuple[Peer, float]:
    """Our pipeline, and its network's operations for one frame."""
    pipeline = Pipeline.load(model, device=str(device), size=(size, size))

    def run(frame: np.ndarray) -> Round:
        (value,) = pipeline([frame])
        parts = zip(RESULT_STAGES, ("prepare", "network", "decode"), strict=True)
        spent = {stage: Spent(pipeline.timings[part], pipeline.cpu_timings[part]) for stage, part in parts}
        return Round(spent, len(value.segments), len(value.things))

    return run, network_flops(model, (size, size))


def mask_rcnn(size: int, device: torch.device) -> tuple[Peer, float]:
    network = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=THINGS + 1,
        min_size=size,
        max_size=size,
        box_score_thresh=0.0,
        box_detections_per_img=100,
    )
    network = network.eval().to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(frame: np.ndarray) -> Round:
        stages = Stages(device)
        image = to_tensor(frame, device)
        images, _ = network.transform([image])
        stages.end("prepare")
        features = network.backbone(images.tensors)
        proposals, _ = network.rpn(images, features)
        found, _ = network.roi_heads(features, proposals, images.image_sizes)
        stages.end("network")
        (result,) = network.transform.postprocess(found, images.image_sizes, [frame.shape[:2]])
        masks = (result["masks"][:, 0] > 0.5).cpu()
        stages.end("fuse")
        return stages.found(len(masks))

    return run, counted(run)


def mask2former(size: int, device: torch.device) -> tuple[Peer, float]:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    swin = SwinConfig(
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    network = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=swin, num_labels=CLASSES))
    finish = Mask2FormerImageProcessor().post_process_panoptic_segmentation
    return of_transformers(network, lambda outputs, shape: finish(outputs, 0.0, target_sizes=[shape]), size, device)


def eomt(size: int, device: torch.device) -> tuple[Peer, float]:
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    config = EomtConfig(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        num_blocks=3,
        image_size=size,
        num_labels=CLASSES,
    )
    network = EomtForUniversalSegmentation(config)
    network.attn_mask_probs.zero_()
    processor = EomtImageProcessor(size={"shortest_edge": size, "longest_edge": size})

    def finish(outputs: object, shape: tuple[int, int]) -> list[dict]:
        return processor.post_process_panoptic_segmentation(outputs, [shape], 0.0, stuff_classes=list(range(11)))

    return of_transformers(network, finish, size, device)


def of_transformers(
    network: torch.nn.Module,
    finish: Callable[[object, tuple[int, int]], list[dict]],
    size: int,
    device: torch.device,
) -> tuple[Peer, float]:
    network = network.eval().to(device)

    @torch.inference_mode()
    def run(frame: np.ndarray) -> Round:
        stages = Stages(device)
        image = to_tensor(cv2.resize(frame, (size, size), interpolation=cv2.INTER_LINEAR), device)
        mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))
        images = ((image - mean) / deviation)[None]
        stages.end("prepare")
        outputs = network(pixel_values=images)
        stages.end("network")
        (result,) = finish(outputs, frame.shape[:2])
        result["segmentation"].cpu()
        stages.end("fuse")
        return stages.found(len(result["segments_info"]))

    return run, counted(run)


def detectors(size: int, folder: Path) -> dict[str, tuple[Peer, float]]:
    """The same cfg and weights as we run them, and as OpenCV does; on the CPU."""
    cpu = torch.device("cpu")
    torch.manual_seed(0)
    network = Darknet.from_cfg(CFG).eval()
    weights = folder / "random.weights"
    save_darknet_weights(network, weights)
    net = cv2.dnn.readNetFromDarknet(network.config.source, str(weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    heads = net.getUnconnectedOutLayersNames()
    decoder = YoloDecoder(network.config)
    network = network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run_ours(frame: np.ndarray) -> Round:
        stages = Stages(cpu)
        image = to_tensor(cv2.resize(frame, (size, size), interpolation=cv2.INTER_LINEAR), cpu)[None]
        image = image.contiguous(memory_format=torch.channels_last)
        stages.end("prepare")
        raw = network(image).detections
        stages.end("network")
        boxes, objectness, probabilities = decoder(raw)
        found = select_detections(boxes[0], objectness[0], probabilities[0], SCORE, OVERLAP, 100)
        stages.end("fuse")
        return stages.found(len(found.boxes))

    def run_opencv(frame: np.ndarray) -> Round:
        stages = Stages(cpu)
        net.setInput(cv2.dnn.blobFromImage(frame, 1 / 255, (size, size), swapRB=True))
        stages.end("prepare")
        rows = np.concatenate(net.forward(heads))
        stages.end("network")
        scores = rows[:, 5:].max(axis=1)
        rows, scores = rows[scores > SCORE], scores[scores > SCORE]
        corners = np.concatenate((rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]), axis=1)
        classes = rows[:, 5:].argmax(axis=1)
        kept = cv2.dnn.NMSBoxesBatched(corners.tolist(), scores.tolist(), classes.tolist(), SCORE, OVERLAP)
        stages.end("fuse")
        return stages.found(min(100, len(kept)))

    flops = counted(run_ours, frame=np.zeros((size, size, 3), np.uint8))
    return {"detector, ours": (run_ours, flops), "detector, OpenCV": (run_opencv, flops)}


def to_tensor(frame: np.ndarray, device: torch.device) -> torch.Tensor:
    """(3, H, W) float32 RGB in [0, 1]."""
    return torch.from_numpy(frame).to(device).permute(2, 0, 1).flip(0).float().div_(255.0)


def counted(run: Peer, frame: np.ndarray | None = None) -> float:
    """Floating point operations of a call, those of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        run(drawn_street() if frame is None else frame)
    return float(counter.get_total_flops())


def show(figures: dict[str, dict[str, object]], size: int, threads: int, device: torch.device) -> None:
    columns = ("prepare", "network", "post", "all", "CPU", "x ours, full", "GFLOP", "found")
    table = Table("", *columns, title=f"ms a frame at {size}x{size}, {threads} threads of torch, {device}")
    for name, row in figures.items():
        table.add_row(
            name,
            *(f"{row[stage]['median_ms']:.1f}" for stage in (*RESULT_STAGES, "all")),
            f"{row['all']['cpu_median_ms']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['gflop']:.0f}",
            f"{row['found']:.0f}",
        )
    Console().print(table)


def main(size: int = 640, rounds: int = 5, device_name: str = "auto") -> dict[str, object]:
    device = find_device(device_name)
    frame = drawn_street()
    cv2.setNumThreads(torch.get_num_threads())
    builders: dict[str, Callable[[], tuple[Peer, float]]] = {
        **{name: lambda model=model: ours(model, size, device) for name, model in MODELS.items()},
        "Mask R-CNN R50-FPN": lambda: mask_rcnn(size, device),
        "Mask2Former Swin-T": lambda: mask2former(size, device),
        "EoMT small": lambda: eomt(size, device),
    }
    peers: dict[str, tuple[Peer, float]] = {}
    for name, build in builders.items():
        torch.manual_seed(0)
        try:
            peers[name] = build()
        except ImportError as error:
            print(f"left out: {name}: {error} (pip install -r benchmarks/requirements.txt)")
    with tempfile.TemporaryDirectory() as folder:
        peers |= detectors(size, Path(folder))
    answers = in_rounds({name: lambda run=run: run(frame) for name, (run, _) in peers.items()}, rounds, 1)
    whole = {name: Times.of([answer.total(RESULT_STAGES) for answer in rows]) for name, rows in answers.items()}
    figures = {
        name: {
            **{stage: Times.of([answer.spent[stage] for answer in rows]).figures() for stage in RESULT_STAGES},
            "all": whole[name].figures(),
            "ratio": whole[name].ratio_to(whole["ours, full"]),
            "cpu_ratio": whole[name].cpu_ratio_to(whole["ours, full"]),
            "gflop": peers[name][1] * 1e-9,
            "found": float(np.median([answer.segments for answer in rows])),
        }
        for name, rows in answers.items()
    }
    show(figures, size, torch.get_num_threads(), device)
    return {"size": size, "environment": environment(), "peers": figures}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
