"""Means, deviations and orderings over seeds, and how they are written."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from panoptic_ros.configuration import ConfigurationError
from panoptic_training.experiments.configuration import Experiment, Ordering, RunOptions, TableOptions
from panoptic_training.experiments.inference import INFERENCE
from panoptic_training.experiments.report import ordering_lines, plot, table_lines, write_report
from panoptic_training.experiments.results import Spread, Values, by_mean, collect, compare, save, spread
from panoptic_training.experiments.trials import folder_of
from panoptic_training.fit.result import RESULT, TrainingResult

PQ = {"a": {0: 0.50, 1: 0.52, 2: 0.57}, "b": {0: 0.40, 1: 0.53, 2: 0.41}, "c": {0: 0.10, 1: 0.11}, "d": {}}
VALUES: Values = {
    run: {seed: {"pq": value, "loss": 1.0 - value, "parameters": 1_234_567.0} for seed, value in seeds.items()}
    for run, seeds in PQ.items()
}
TABLE = TableOptions(
    "t", "T", ("a", "b", "c", "d"), ("pq", "loss", "parameters"), (Ordering("Somebody", "pq", ("c", "b", "a", "d")),)
)


def test_spreads_are_those_of_the_statistics_module() -> None:
    for run, seeds in PQ.items():
        found = spread(VALUES, run, "pq")
        if not seeds:
            assert found is None
            continue
        assert found is not None
        assert found.mean == pytest.approx(statistics.mean(seeds.values()))
        assert found.deviation == pytest.approx(statistics.stdev(seeds.values()))
        assert found.count == len(seeds)
    assert Spread.of([3.0]) == Spread(3.0, None, 1)
    assert spread(VALUES, "a", "mask_ap") is None


def test_orders_are_by_the_mean_and_less_loss_is_better() -> None:
    assert by_mean(VALUES, "pq", TABLE.runs) == ["a", "b", "c"]
    assert by_mean(VALUES, "loss", TABLE.runs) == ["a", "b", "c"]


def test_comparisons_are_seed_by_seed() -> None:
    """Of three seeds a beats b with the seeds 0 and 2; b and c have the seeds 0 and 1 in common; d has none."""
    first, second, third = compare(VALUES, "pq", ("a", "b", "c", "d"))
    assert (first.holds, first.seeds) == (2, 3)
    assert first.lead is not None
    assert first.lead.mean == pytest.approx((0.10 - 0.01 + 0.16) / 3)
    assert (second.holds, second.seeds) == (2, 2)
    assert (third.holds, third.seeds, third.lead) == (0, 0, None)
    [loss] = compare(VALUES, "loss", ("a", "b"))
    assert (loss.holds, loss.seeds) == (2, 3)


def test_a_table_is_markdown() -> None:
    assert table_lines(TABLE, VALUES) == [
        "| run | seeds | PQ (%) | loss | parameters (million) |",
        "|---|--:|--:|--:|--:|",
        "| a | 3 | 53.0 ± 3.6 | 0.470 ± 0.036 | 1.23 |",
        "| b | 3 | 44.7 ± 7.2 | 0.553 ± 0.072 | 1.23 |",
        "| c | 2 | 10.5 ± 0.7 | 0.895 ± 0.007 | 1.23 |",
        "| d | 0 | – | – | – |",
    ]


def test_orderings_say_in_how_many_seeds_they_hold() -> None:
    assert ordering_lines(TABLE, VALUES) == [
        "The order by the mean, and in how many seeds each step of it holds:",
        "",
        "- By PQ: a > b (2 of 3) > c (2 of 2)",
        "- By loss: a > b (2 of 3) > c (2 of 2)",
        "",
        "Somebody, by PQ: c > b > a > d. Here:",
        "",
        "- c > b: does not hold, for none of 2 seeds, by -36.0 ± 8.5",
        "- b > a: holds for 1 of 3 seeds, by -8.3 ± 8.6",
        "- a > d: not known yet",
        "",
    ]


def test_an_ordering_may_be_of_a_runs_measures() -> None:
    values = {"a": {0: {"large": 0.5, "small": 0.25}, 1: {"large": 0.25, "small": 0.5}, 2: {"large": 1.0}}}
    ordering = Ordering("Somebody", run="a", measures=("large", "small"))
    lines = ordering_lines(TableOptions("t", "T", ("a",), ("large", "small"), (ordering,)), values)
    said = "- large > small: holds for 1 of 2 seeds, by 0.000 ± 0.354"
    assert lines == ["Somebody, of a: large > small. Here:", "", said, ""]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"measure": "pq", "run": "a"},
        {"measure": "pq", "runs": ("a",)},
        {"run": "a", "measures": ("pq",)},
        {"measure": "pq", "runs": ("a", "b"), "measures": ("pq", "sq")},
    ],
)
def test_an_ordering_is_of_runs_or_of_measures(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="an ordering is of"):
        Ordering("Somebody", **wrong)


def test_what_networks_cost_stands_with_the_seed_that_was_measured(tmp_path: Path) -> None:
    runs = (RunOptions("a"), RunOptions("b"))
    experiment = Experiment("E", "base", runs, (TableOptions("t", "T", ("a",), ("pq",)),), seeds=(4, 2))
    for seed in (2, 4):
        folder = folder_of(tmp_path, "a", seed)
        folder.mkdir(parents=True)
        TrainingResult(7, 9, {"pq": 0.5}, {}, {}).save(folder / RESULT)
    content = {"seed": 4, "runs": {"a": {"milliseconds": 31.6, "flops": 4.26e9}, "b": {"milliseconds": 3.0}}}
    (tmp_path / INFERENCE).write_text(json.dumps(content))
    found = collect(experiment, tmp_path)
    assert {seed: measures.get("milliseconds") for seed, measures in found["a"].items()} == {2: None, 4: 31.6}
    assert found["b"] == {}
    table = TableOptions("t", "T", ("a",), ("milliseconds", "flops"))
    assert table_lines(table, found)[0] == "| run | seeds | a frame (ms) | a frame (GFLOP) |"
    assert table_lines(table, found)[2] == "| a | 2 | 32 | 4.3 |"
    (tmp_path / INFERENCE).write_text("[3]")
    with pytest.raises(ConfigurationError, match=r"inference\.json: is not what was measured of networks"):
        collect(experiment, tmp_path)


def test_a_plot_shows_each_seed_and_the_means() -> None:
    panels = plot(TABLE, VALUES).axes
    assert [panel.get_xlabel() for panel in panels] == ["PQ (%)", "loss"]
    bars = [patch.get_width() for patch in panels[0].patches]  # type: ignore[attr-defined]
    assert bars == pytest.approx([100 * statistics.mean(PQ[run].values()) for run in "abc"])
    dots = [
        line.get_xdata() for line in panels[0].lines if line.get_linestyle() == "None" and len(line.get_xdata()) > 1
    ]
    assert [list(found) for found in dots[:2]] == [
        pytest.approx([100 * value for value in PQ[run].values()]) for run in "ab"
    ]


def test_results_are_collected_from_the_folders(tmp_path: Path) -> None:
    experiment = Experiment("E", "base", (RunOptions("a"), RunOptions("b")), (TableOptions("t", "T", ("a",), ("pq",)),))
    for seed, pq in ((10, 0.25), (2, 0.5)):
        folder = folder_of(tmp_path, "a", seed)
        folder.mkdir(parents=True)
        seconds = {"waiting for a batch": 1.0, "training step": 2.0, "validation": 4.0}
        TrainingResult(7, 9, {"pq": pq}, {"pq": 0.75}, seconds).save(folder / RESULT)
    found = collect(experiment, tmp_path)
    common = {"seconds": 3.0, "parameters": 9.0, "steps": 7.0, "best": 0.75}
    assert found == {"a": {2: {"pq": 0.5, **common}, 10: {"pq": 0.25, **common}}, "b": {}}
    assert list(found["a"]) == [2, 10]
    save(found, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["a"]["10"] == {"pq": 0.25, **common}
    write_report(experiment, found, tmp_path)
    assert "| a | 2 | 37.5 ± 17.7 |" in (tmp_path / "report.md").read_text()
    (folder_of(tmp_path, "a", 2) / RESULT).write_text("[")
    with pytest.raises(ConfigurationError, match=r"result\.json: is no result of a training"):
        collect(experiment, tmp_path)
