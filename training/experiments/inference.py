"""What the networks of an experiment cost a frame: time, with all of them called in turns, and operations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from panoptic_ros.benchmarking.frames import Frame
from panoptic_ros.benchmarking.rounds import Times, in_rounds
from panoptic_ros.benchmarking.variants import RESULT_STAGES, Round, Runner, Variant, frame_flops, network_flops
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.files import written_whole
from panoptic_ros.labels import LabelSet
from panoptic_training.data.sources import Mixture, Source
from panoptic_training.experiments.configuration import InferenceOptions
from panoptic_training.experiments.trials import Trial, end_of
from panoptic_training.fit.configuration import model_config

INFERENCE = "inference.json"
MILLISECONDS, CPU_MILLISECONDS, FLOPS, NETWORK_FLOPS = "milliseconds", "cpu_milliseconds", "flops", "network_flops"
INFERENCE_MEASURES = (MILLISECONDS, CPU_MILLISECONDS, FLOPS, NETWORK_FLOPS)
WARMUP = 2


def measure_inference(options: InferenceOptions, trials: Sequence[Trial], out: Path, data_root: Path) -> None:
    """Measure networks, and write what was found into the experiment's folder.

    Parameters
    ----------
    options:
        Which, and how.
    trials:
        Of one seed; runs without weights are left out.
    out, data_root:
        See `Fitting`.

    Raises
    ------
    DatasetError, FileNotFoundError, ValueError
        If frames or weights cannot be read.
    OSError
        If the file cannot be written.
    """
    found: dict[str, dict[str, float]] = {}
    runners: dict[str, Runner] = {}
    for trial in trials:
        weights = end_of(out, trial.run, trial.seed)
        if trial.run in options.runs and weights.is_file():
            variant = Variant(str(weights), "", "cpu", "torch", "fp32", options.threads, None, 1)
            frames = _frames(trial, data_root, options.frames)
            runner = runners[trial.run] = Runner(variant, frames)
            found[trial.run] = {
                FLOPS: frame_flops(runner.pipeline, frames),
                NETWORK_FLOPS: network_flops(variant.model, variant.input_size()),
            }
    calls: dict[str, Callable[[], Round]] = {
        name: lambda runner=runner: runner(None)  # type: ignore[misc]
        for name, runner in runners.items()
    }
    for name, answers in in_rounds(calls, options.rounds, WARMUP).items():
        figures = Times.of([answer.total(RESULT_STAGES) for answer in answers]).figures()
        found[name] |= {MILLISECONDS: figures["median_ms"], CPU_MILLISECONDS: figures["cpu_median_ms"]}
    out.mkdir(parents=True, exist_ok=True)
    with written_whole(out / INFERENCE) as file:
        file.write_text(json.dumps({"seed": trials[0].seed, "runs": found}, indent=2) + "\n", encoding="utf-8")


def load_inference(out: Path) -> tuple[int, dict[str, dict[str, float]]]:
    """The seed of the networks that were measured, and what was found, by runs; no runs where none was.

    Raises
    ------
    ConfigurationError
        If the file is damaged.
    """
    path = out / INFERENCE
    if not path.is_file():
        return 0, {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs = {run: {name: float(value) for name, value in one.items()} for run, one in content["runs"].items()}
        return int(content["seed"]), runs
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{path}: is not what was measured of networks: {error}") from error


def _frames(trial: Trial, root: Path, count: int) -> list[Frame]:
    """The first frames of a trial's validation data."""
    labels = model_config(trial.config).labels
    known = labels if isinstance(labels, LabelSet) else LabelSet.load(labels)
    mixture = Mixture([Source.open(source, root, known) for source in trial.config.data.validation])
    return [mixture[index].image for index in range(min(count, len(mixture)))]
