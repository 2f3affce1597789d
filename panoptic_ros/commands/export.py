"""``panoptic-ros export``: a network as a file for another engine, and how far its answers are from torch's."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from panoptic_ros.commands.sampling import NamedFrame, noise_frames, sample_frames
from panoptic_ros.commands.terminal import OUT, say, user_errors
from panoptic_ros.configuration import parse_size
from panoptic_ros.evaluation.parity import Parity, compare_pipelines
from panoptic_ros.files import written_whole

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline

Format = Literal["onnx", "openvino", "tensorrt"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".onnx"}
COMPARED: dict[Format, str] = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "onnxruntime"}
"""What runs the file for the comparison; TensorRT builds its plan where it runs."""


def export(
    model: Annotated[str, typer.Option(help="A name in config/models, a path, or exported .safetensors.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="What to write: .onnx, or for OpenVINO .xml with a .bin.")],
    engine: Annotated[Format, typer.Option(help="What the file is for.")] = "onnx",
    weights: Annotated[str, typer.Option(help="A file of weights; random without.")] = "",
    size: Annotated[str, typer.Option(metavar="WxH", help="Of the network's input; the model's own without.")] = "",
    half: Annotated[
        bool,
        typer.Option("--half", help="Half precision: computed in, for GPUs; by openvino only stored."),
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise, with --calibration.")] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Data set, bag, video or folder of images as the robot sees them."),
    ] = None,
    calibration_split: Annotated[
        str, typer.Option(metavar="SPLIT", help="Of a calibration data set that has several: train, val ...")
    ] = "",
    samples: Annotated[int, typer.Option(min=1, help="The most frames to calibrate with.")] = 100,
    keep_float: Annotated[
        str, typer.Option(metavar="NAME,...", help="Modules that int8 leaves in float beside the last convolutions.")
    ] = "",
    frames: Annotated[
        Path | None, typer.Option(metavar="DATA", help="What to compare with torch on; noise without.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="The most frames to compare on.")] = 8,
    split: Annotated[str, typer.Option(help="The split of --frames, if that is a data set of several.")] = "",
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the comparison here too.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the comparison; 0 is the engines' choice.")] = 0,
) -> None:
    """Write a network for another engine, whole in one file, and say how far its answers are from torch's.

    The file holds label set, configuration and preprocessing and can be named as --model everywhere.  Of a data set
    with the network's own label set the comparison has the PQ of both, and so what int8 costs.
    """
    if int8 != (calibration is not None):
        raise typer.BadParameter("--int8 and --calibration go together")
    if int8 and half:
        raise typer.BadParameter("--int8 and --half exclude each other")
    if keep_float and not int8:
        raise typer.BadParameter("--keep-float is for --int8")
    if out.suffix != SUFFIXES[engine]:
        raise typer.BadParameter(f"{out}: --engine {engine} writes {SUFFIXES[engine]} files")
    with user_errors(ValueError):
        from panoptic_ros.engines import ENGINES, find_device  # here, because torch takes seconds to import
        from panoptic_ros.engines.engine import RunOptions
        from panoptic_ros.pipeline import Pipeline

        runner, for_gpu = COMPARED[engine], half and engine != "openvino"
        if not for_gpu:  # which need not be here
            ENGINES[runner].check(runner, RunOptions(find_device("cpu"), "fp32"), out)
        own_size = parse_size(size, "--size")
        reference = Pipeline.load(model, weights, device="cpu", engine="torch", threads=threads, size=own_size)
        calibrating = (
            None if calibration is None else sample_frames(calibration, calibration_split, samples, reference.labels)
        )
        _write(
            reference, out, engine, half, calibrating, [name.strip() for name in keep_float.split(",") if name.strip()]
        )
        written = sum(file.stat().st_size for file in (out, out.with_suffix(".bin")) if file.is_file())
        OUT.print(f"{out}: {written / 2**20:.1f} MiB", markup=False, soft_wrap=True)
        if for_gpu:
            say("computes in float16, which needs a GPU: not compared with torch here")
            return
        other = Pipeline.load(str(out), device="cpu", engine=runner, threads=threads)
        if frames is None:
            compared, what = noise_frames(count, 360, 640), "noise, not pictures (--frames)"
        else:
            compared, what = sample_frames(frames, split, count, reference.labels), str(frames)
        parity = compare_pipelines(reference, other, compared)
        _print(parity, what, other)
        if report is not None:
            content = dataclasses.asdict(parity) | {"compared_on": what, "delta_pq": parity.delta_pq}
            with written_whole(report) as file:
                file.write_text(json.dumps(content, indent=1))


def _write(
    reference: Pipeline,
    out: Path,
    engine: Format,
    half: bool,
    calibrating: list[NamedFrame] | None,
    keep_float: list[str],
) -> None:
    from panoptic_ros.engines.export import export_onnx
    from panoptic_ros.engines.quantize import quantize_onnx, quantize_openvino, write_openvino

    if engine != "openvino" and calibrating is None:
        export_onnx(reference.model, reference.config, out, half)
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.onnx"
        export_onnx(reference.model, reference.config, whole)
        if calibrating is None:
            write_openvino(whole, out, half)
            return
        inputs: list[NDArray[np.float32]] = [
            np.ascontiguousarray(reference.prepare([image])[0].numpy()) for _, image, _ in calibrating
        ]
        say(f"calibrating with {len(inputs)} frames")
        if engine == "openvino":
            kept = quantize_openvino(whole, out, inputs, keep_float)
        else:
            kept = quantize_onnx(whole, out, inputs, keep_float, symmetric=engine == "tensorrt")
        say(f"in float: {', '.join(kept)}")


def _print(parity: Parity, what: str, other: Pipeline) -> None:
    OUT.print(
        f"{other.engine_name} in {other.precision} against torch in fp32, {parity.frames} frames of {what}",
        markup=False,
        soft_wrap=True,
    )
    table = Table("output", "largest difference", "mean difference", "mean of torch's")
    for one in parity.outputs:
        table.add_row(one.name, f"{one.largest:.3g}", f"{one.mean:.3g}", f"{one.scale:.3g}")
    OUT.print(table)
    agreement = "nothing was found" if parity.agreement is None else f"PQ {100 * parity.agreement:.2f}"
    OUT.print(f"against torch's segments: {agreement}, {100 * parity.pixels:.2f} % of the pixels differ")
    if parity.delta_pq is not None:
        both = (100 * value for value in (parity.reference_pq, parity.other_pq) if value is not None)
        OUT.print("against the truth: PQ {:.2f} (torch) and {:.2f}: ".format(*both) + f"{parity.delta_pq:+.2f}")
