"""The report, read as a browser does: what it shows is what was measured, and it needs nothing else."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluation_cases import LABELS, Case, perturbed
from rich.console import Console

from panoptic_ros.evaluation import report
from panoptic_ros.evaluation.document import EvaluationDocument, ModelDescription, Source, StageSeconds
from panoptic_ros.evaluation.error_maps import COLORS, PixelError
from panoptic_ros.evaluation.examples import Example, choose_examples, image_scores, spread_examples
from panoptic_ros.evaluation.metrics import METRIC_NAMES, Metrics
from panoptic_ros.evaluation.outputs import output_folder, write_outputs
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.report import write_report
from panoptic_ros.evaluation.tables import percent, print_tables
from panoptic_ros.labels import Label, LabelSet

IMAGES = 9
VOID_TAGS = {"meta", "img"}


def _case(generator: np.random.Generator) -> Case:
    ids = np.full((48, 64), 7000)
    ids[:20] = 23000
    ids[15:35, 5:25] = 26001
    ids[10:40, 40:50] = 24002
    ids[:, 60:] = 0
    ids[40:, 30:] = 255003
    return Case(ids, perturbed(ids, LABELS, generator))


def _picture(index: int) -> np.ndarray:
    """Soft enough that JPEG keeps it: blue to the right, green downward, red by the number."""
    y, x = np.mgrid[:48, :64]
    return np.stack((4 * x, 5 * y, np.full_like(x, 20 * index)), axis=-1).astype(np.uint8)


def _evaluate(names: tuple[Any, ...], **rest: Any) -> tuple[EvaluationDocument, list[Example]]:
    generator = np.random.default_rng(0)
    metrics = Metrics(LABELS, names)
    values = []
    for index in range(IMAGES):
        prediction, truth = _case(generator).values("drive", index)
        confidence = generator.integers(0, 256, prediction.ids.shape).astype(np.uint8)
        values.append((f"image {index}", replace(prediction, confidence=confidence), truth))
        metrics.update(*values[-1])
    source = Source("dataset", "/data/<set>", "coco", LABELS, IMAGES)
    document = EvaluationDocument.of(metrics, source, [name for name, _, _ in values], **rest)
    scores = image_scores(document.qualities) if document.qualities else np.arange(IMAGES) / 10
    examples = [
        Example(
            values[index][0],
            place,
            float(scores[index]),
            _picture(index),
            *values[index][1:],
        )
        for index, place in choose_examples(scores, 2)
    ]
    return document, examples


@pytest.fixture(scope="module")
def evaluation() -> tuple[EvaluationDocument, list[Example]]:
    return _evaluate(
        METRIC_NAMES,
        model=ModelDescription("small <b>", "", "", "torch", "cpu", "fp32", ("detector",), {"size": [1, 2]}),
        seconds={name: StageSeconds.of([0.01 * index, 0.02]) for index, name in enumerate(("prepare", "network"), 1)},
        recording={"latency": {"p50": 0.25}, "unmatched": ["a", "b"]},
        command=("panoptic-ros", "evaluate", "--data", "a b"),
        environment={"device": "cpu"},
    )


class _Page(HTMLParser):
    """Tables as rows of text, the figures in them, links, pictures; and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.values: list[tuple[float, str]] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words = ""
        self._table = ""
        self._value = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID_TAGS:
            self.open.append(tag)
        self.addresses += [str(given[key]) for key in ("src", "href", "action", "data", "xlink:href") if key in given]
        if tag == "table":
            self._table = str(given.get("id", f"table {len(self.tables)}"))
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
        elif tag == "data":
            self._value = str(given["value"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words += data
        if self.open and self.open[-1] == "data":
            self.values.append((float(self._value), data))
        if "td" in self.open or "th" in self.open:
            self.tables[self._table][-1][-1] += data.strip()


@pytest.fixture(scope="module")
def text(evaluation: tuple[EvaluationDocument, list[Example]], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(*evaluation, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> _Page:
    return _Page(text)


def test_the_classes_are_those_of_the_document(
    evaluation: tuple[EvaluationDocument, list[Example]], page: _Page
) -> None:
    metrics = evaluation[0].metrics
    assert metrics.panoptic_quality is not None
    assert metrics.semantic_iou is not None
    ious = {one.class_id: one.iou for one in metrics.semantic_iou.per_class}
    header, *found = page.tables["classes"]
    assert header[3:] == ["PQ", "SQ", "RQ", "TP", "FP", "FN", "IoU"]
    expected = {
        one.name: [
            one.name,
            "thing" if one.is_thing else "stuff",
            "",
            *(f"{100 * value:.1f}" for value in (one.pq, one.sq, one.rq)),
            *map(str, (one.tp, one.fp, one.fn)),
            f"{100 * ious[one.class_id]:.1f}",
        ]
        for one in metrics.panoptic_quality.per_class
    }
    assert len(expected) == len(LABELS)
    assert {row[0]: row for row in found} == expected
    kinds = [row[1] for row in found]
    assert kinds == sorted(kinds, reverse=True), "things before stuff"
    for kind in ("thing", "stuff"):
        figures = [float(row[3]) for row in found if row[1] == kind]
        assert figures == sorted(figures, reverse=True)
    groups = {row[0]: row[1:] for row in page.tables["groups"][1:]}
    for name in ("all", "things", "stuff"):
        mean = getattr(metrics.panoptic_quality, name)
        assert groups[name] == [*(f"{100 * x:.1f}" for x in (mean.pq, mean.sq, mean.rq)), str(mean.classes)]


def test_figures_are_rounded_from_what_they_carry(page: _Page) -> None:
    assert len(page.values) > 50
    for value, shown in page.values:
        assert shown == f"{100 * value:.1f}"


def test_it_needs_nothing_else(text: str, page: _Page) -> None:
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?:", re.sub(r"base64,[^\"]*", "", text))
    assert "default-src 'none'" in text


def test_everything_is_escaped(text: str, page: _Page) -> None:
    assert "small <b> on coco" in page.words
    assert "/data/<set>" in page.words
    assert "<set>" not in text
    assert "b" not in page.tags[page.tags.index("h1") : page.tags.index("h1") + 2]
    assert "panoptic-ros evaluate --data 'a b'" in page.words


def test_confusions(evaluation: tuple[EvaluationDocument, list[Example]], text: str, page: _Page) -> None:
    confusion = evaluation[0].confusion
    assert confusion is not None
    counts = confusion.probabilities * confusion.pixels[:, None]
    titles = re.findall(r"<title>(.*?) as (.*?): ([\d.]+) % \(([\d,]+) pixels\)</title>", text)
    shown = {(true, predicted): int(pixels.replace(",", "")) for true, predicted, _, pixels in titles}
    for row, true in enumerate(confusion.class_ids.tolist()):
        for column, predicted in enumerate(confusion.predicted_ids.tolist()):
            key = (LABELS.name_of(true), LABELS.name_of(predicted))
            if confusion.probabilities[row, column] >= 0.002:
                assert shown[key] == round(counts[row, column])
            else:
                assert key not in shown
    largest = page.tables["confusions"][1:]
    off = counts * (confusion.class_ids[:, None] != confusion.predicted_ids)
    row, column = np.unravel_index(off.argmax(), off.shape)
    first = [LABELS.name_of(int(ids)) for ids in (confusion.class_ids[row], confusion.predicted_ids[column])]
    assert largest[0][:2] == first
    assert largest[0][3] == f"{100 * off.max() / confusion.pixels.sum():.1f}"


def test_pictures(evaluation: tuple[EvaluationDocument, list[Example]], page: _Page) -> None:
    _, examples = evaluation
    assert [example.place for example in examples] == ["worst", "worst", "best", "best"]
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
        for address in page.addresses
    ]
    assert len(pictures) == 4 * len(examples)
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}
    for example, shown in zip(examples, pictures[::4], strict=True):
        assert example.picture is not None
        assert np.abs(shown.astype(int) - example.picture).mean() < 4
    # Where the truth says nothing, the map of errors has that colour, and the picture's light shows through.
    light = cv2.cvtColor(pictures[0], cv2.COLOR_BGR2GRAY)[4:44, 61:63].mean()
    expected = 0.75 * np.array(COLORS[PixelError.VOID]) + 0.25 * light
    np.testing.assert_allclose(pictures[3][4:44, 61:63].mean(axis=(0, 1)), expected, atol=8)
    for example in examples:
        assert f"{example.name}, PQ {percent(example.score)}" in page.words


def test_everything_that_was_measured_is_said(
    evaluation: tuple[EvaluationDocument, list[Example]], page: _Page
) -> None:
    for words in ("Parsing covering", "Average precision (COCO)", "Average precision (Cityscapes)", "Mean recall"):
        assert words in page.words
    for words in ("Calibration", "Video: STQ", "Video: VPQ", "The recorded run", "unmatched", "a, b", "Environment"):
        assert words in page.words
    assert "Untrained" in page.words
    assert page.tables["times"][1:] == [["prepare", "15.0", "19.9", "15.0"], ["network", "20.0", "20.0", "20.0"]]
    assert '"size"' in page.words


def test_without_instances_there_is_no_panoptic_quality(tmp_path: Path) -> None:
    document, examples = _evaluate(("semantic_iou",))
    document = replace(document, source=replace(document.source, has_instances=False))
    shown = [replace(examples[0], picture=None), replace(examples[1], place="sample", score=None)]
    write_report(document, shown, tmp_path / "report.html")
    page = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "groups" not in page.tables
    assert page.tables["classes"][0] == ["class", "", "IoU"]
    assert "only semantic metrics mean something" in page.words
    assert "pixel accuracy" in page.words
    assert len(page.addresses) == 3 + 4, "the first one has no picture"
    console = Console(record=True, width=120)
    print_tables(document, console)
    printed = console.export_text()
    assert "PQ" not in printed
    assert "only semantic metrics" in printed


def test_the_tables_of_a_terminal(evaluation: tuple[EvaluationDocument, list[Example]]) -> None:
    document, _ = evaluation
    console = Console(record=True, width=160)
    print_tables(document, console)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert document.metrics.panoptic_quality is not None
    for one in document.metrics.panoptic_quality.per_class:
        kind = "thing" if one.is_thing else "stuff"
        figures = [percent(one.pq), percent(one.sq), percent(one.rq), str(one.tp), str(one.fp), str(one.fn)]
        assert any(line[:-1] == [one.name, kind, *figures] for line in lines)
    assert any(line[:2] == ["network", "20.0"] for line in lines)


def test_a_class_named_like_markup(tmp_path: Path) -> None:
    labels = LabelSet("odd", (Label(7, "[red]<i>road</i>", False, (1, 2, 3)),))
    metrics = Metrics(labels)
    metrics.update("a", *Case(np.full((4, 4), 7000), np.full((4, 4), 7000)).values())
    document = EvaluationDocument.of(metrics, Source("dataset", "d", "coco", labels, 1), ["a"])
    write_report(document, [], tmp_path / "report.html")
    page = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.tables["classes"][1][0] == "[red]<i>road</i>"
    console = Console(record=True, width=120)
    print_tables(document, console)
    assert "[red]<i>road</i>" in console.export_text()


def test_scores_of_images(evaluation: tuple[EvaluationDocument, list[Example]]) -> None:
    """An image's score is its panoptic quality as if it were the whole data set."""
    generator = np.random.default_rng(3)
    together = Metrics(LABELS)
    alone = []
    for index in range(5):
        values = _case(generator).values()
        together.update(str(index), *values)
        single = Metrics(LABELS)
        single.update("one", *values)
        quality = single.result().panoptic_quality
        assert quality is not None
        assert quality.all is not None
        alone.append(quality.all.pq)
    together.update("empty", *Case(np.zeros((2, 2), int), np.zeros((2, 2), int)).values())
    np.testing.assert_allclose(image_scores(together.per_image()), [*alone, np.nan], atol=1e-15)


@pytest.mark.parametrize(
    ("scores", "count", "expected"),
    [
        ([0.5, 0.1, 0.9, 0.3], 1, [(1, "worst"), (2, "best")]),
        ([0.5, 0.1, 0.9], 4, [(1, "worst"), (0, "worst"), (2, "best")]),
        ([0.5, np.nan, 0.1], 4, [(2, "worst"), (0, "best")]),
        ([0.5], 2, [(0, "worst")]),
        ([np.nan], 2, []),
        ([], 2, []),
        ([0.5, 0.1], 0, []),
        ([0.2, 0.2, 0.2, 0.2], 1, [(0, "worst"), (3, "best")]),
    ],
)
def test_the_chosen_images(scores: list[float], count: int, expected: list[tuple[int, str]]) -> None:
    assert choose_examples(np.array(scores, dtype=float), count) == expected


def test_spread_images() -> None:
    assert spread_examples(10, 4) == [(0, "sample"), (2, "sample"), (5, "sample"), (7, "sample")]
    assert spread_examples(2, 4) == [(0, "sample"), (1, "sample")]
    assert spread_examples(2, 0) == []


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    document, examples = _evaluate(("semantic_iou",))
    ids = np.full((600, 1800), 7000, np.int32)
    prediction, truth = Case(ids, ids).values()
    example = replace(examples[0], picture=np.zeros((600, 1800, 3), np.uint8), prediction=prediction, truth=truth)
    write_report(document, [example], tmp_path / "report.html")
    page = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    content = base64.b64decode(page.addresses[0].partition(",")[2])
    shape = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape
    assert shape == (round(600 * report.PICTURE_WIDTH / 1800), report.PICTURE_WIDTH, 3)


def test_a_report_that_fails_is_not_written(
    evaluation: tuple[EvaluationDocument, list[Example]], tmp_path: Path
) -> None:
    document, examples = evaluation
    small = replace(examples[0], prediction=Case(np.full((2, 2), 7000), np.full((2, 2), 7000)).values()[0])
    with pytest.raises(EvaluationError, match="must be of one size"):
        write_report(document, [examples[0], small], tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_outputs_are_there_together_or_not_at_all(
    evaluation: tuple[EvaluationDocument, list[Example]], tmp_path: Path
) -> None:
    document, examples = evaluation
    out = tmp_path / "deep" / "out"
    with output_folder(out) as folder:
        write_outputs(document, examples, folder)
        (folder / "submission").mkdir()
        (folder / "submission" / "new").touch()
        assert not (out / "evaluation.json").exists()
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "report.html", "confusion.json", "submission"}
    assert EvaluationDocument.load(out / "evaluation.json").names == document.names

    def stop() -> None:
        with output_folder(out) as folder:
            (folder / "submission").mkdir()
            raise KeyboardInterrupt

    before = (out / "evaluation.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        stop()
    assert (out / "evaluation.json").read_bytes() == before
    assert (out / "submission" / "new").exists()
    with output_folder(out) as folder:
        write_outputs(document, [], folder)
        (folder / "submission").mkdir()
    assert not list((out / "submission").iterdir()), "a folder is replaced whole"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_failed_run_leaves_no_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with output_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not list(tmp_path.iterdir())
