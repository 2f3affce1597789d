"""One network on all engines and in all precisions, int8 too, in the same rounds.

Both int8 files, NNCF's for OpenVINO and ONNX Runtime's own, are made first by ``panoptic-ros export`` and left in the
folder OUT, under the model's name and size, for ``panoptic-ros benchmark --model`` to take up again.  They are
calibrated with frames of a data set, a bag, a video or a folder, or with the drawn street: the time of a network does
not depend on what it was calibrated with, but what it finds does.

``python benchmarks/engines.py [MODEL] [WxH] [ROUNDS] [DATA[:SPLIT]] [THREADS] [OUT]``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2

from panoptic_ros.benchmarking.frames import drawn_street
from panoptic_ros.commands.main import app
from panoptic_ros.resources import DEFAULT_MODEL

SIZE = "640x384"
FORMATS = {"openvino": ".xml", "onnx": ".onnx"}
ENGINES = "torch,onnxruntime,openvino"
SAMPLES = 32
"""Frames to calibrate with."""


def main(
    model: str = DEFAULT_MODEL,
    size: str = SIZE,
    rounds: int = 30,
    calibration: str = "",
    threads: int = 0,
    out: str = "out/bench",
) -> dict[str, object]:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = quantised(model, size, calibration, folder)
    figures = folder / f"engines_{Path(model).stem}_{size}.json"
    models = [option for name in (model, *map(str, files)) for option in ("--model", name)]
    call(
        "benchmark",
        *models,
        *("--engine", ENGINES, "--precision", "fp32,bf16,int8", "--size", size, "--device", "cpu"),
        *("--rounds", rounds, "--warmup", min(3, rounds), "--threads", threads, "--out", figures),
    )
    found: dict[str, object] = json.loads(figures.read_text(encoding="utf-8"))
    return found


def quantised(model: str, size: str, calibration: str, folder: Path) -> list[Path]:
    """The int8 files of a model, made anew."""
    data, _, split = calibration.partition(":")
    files = []
    for engine, suffix in FORMATS.items():
        file = folder / f"{Path(model).stem}_{size}_int8{suffix}"
        files.append(file)
        if not data:
            data = str(folder / "street")
            Path(data).mkdir(exist_ok=True)
            cv2.imwrite(f"{data}/street.png", drawn_street())
        call(
            "export",
            *("--model", model, "--size", size, "--engine", engine, "--out", file, "--int8"),
            *("--calibration", data, "--calibration-split", split, "--samples", SAMPLES),
            *("--frames", data, "--split", split, "--count", 2),
        )
    return files


def call(*arguments: object) -> None:
    """Run a command of ``panoptic-ros`` in this process; it raises what the command line would end with."""
    app([str(argument) for argument in arguments], standalone_mode=False)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*given[:2], *map(int, given[2:3]), *given[3:4], *map(int, given[4:5]), *given[5:])
