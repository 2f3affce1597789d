"""``panoptic-train synthesize`` as a user runs it, in a small exact world."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import worlds
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from panoptic_ros import __version__, workers
from panoptic_training.commands import synthesize
from panoptic_training.commands.main import app
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.production import DatasetPlan
from panoptic_training.synthetic.randomisation import varied_rig
from panoptic_training.synthetic.rig import Rig
from panoptic_training.synthetic.scene import Weather

HERE = Path(__file__).parent
FENCE = 13
RIG = {
    "cameras": [
        {
            "name": "front",
            "lens": {"width": 64, "height": 48, "fx": 50.0},
            "position": [1.0, 0.0, 1.5],
            "effects": {"noise": 1.0},
        },
        {"name": "rear", "lens": {"width": 48, "height": 32, "fx": 40.0}, "position": [-1.0, 0.0, 1.5], "rate": 4.0},
    ],
    "lidars": [{"name": "roof", "position": [0.0, 0.0, 1.9], "rings": 8, "steps": 90}],
    "odometry": {"speed_noise": 0.1},
    "truth": {"size": 10.0},
}


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    path = tmp_path / "rig.yaml"
    path.write_text(yaml.safe_dump(RIG))
    return path


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesize, "_world_maker", lambda: worlds.make_world)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["synthesize", *map(str, arguments)])


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def started(*arguments: object) -> subprocess.Popen[str]:
    """The command in a process of its own, in the small world."""
    program = (
        "import sys, worlds\n"
        "from panoptic_training.commands import synthesize\n"
        "from panoptic_training.commands.main import app\n"
        "if __name__ == '__main__':\n"
        "    synthesize._world_maker = lambda: worlds.make_world\n"
        "    app(['synthesize', *sys.argv[1:]])\n"
    )
    script = Path(str(arguments[1])).parent / "run.py"
    script.write_text(program)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_same_seed_makes_the_same_drive_with_any_number_of_workers(tmp_path: Path, rig: Path) -> None:
    bags = {}
    for name, count, seed in (("one", 1, 7), ("two", 2, 7), ("other", 1, 8)):
        folder = tmp_path / name
        folder.mkdir()
        result = run(
            "drive", folder / "drive.mcap", "--rig", rig, "--duration", 1.6, "--seed", seed, "--workers", count
        )
        assert result.exit_code == 0, result.output
        assert [path.name for path in folder.iterdir()] == ["drive.mcap"]
        bags[name] = (folder / "drive.mcap").read_bytes()
    assert bags["one"] == bags["two"]
    assert bags["one"] != bags["other"]


@pytest.mark.parametrize("layout", ["coco", "cityscapes"])
def test_the_same_seed_makes_the_same_images_with_any_number_of_workers(tmp_path: Path, rig: Path, layout: str) -> None:
    made = []
    for count in (1, 2):
        out = tmp_path / f"{layout}{count}"
        options = ("--images", 7, "--images-per-street", 3, "--variation", 1, "--workers", count, "--layout", layout)
        result = run("dataset", out, "--rig", rig, *options)
        assert result.exit_code == 0, result.output
        made.append(contents(out))
    assert made[0] == made[1]
    assert len([name for name in made[0] if name.endswith((".jpg", "leftImg8bit.png"))]) == 7
    assert len(set(made[0].values())) == len(made[0])  # no image twice


def test_an_interrupted_data_set_goes_on(tmp_path: Path, rig: Path) -> None:
    options = ("--rig", rig, "--images", 8, "--images-per-street", 4, "--workers", 1)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run("dataset", whole, *options).exit_code == 0
    process = started("dataset", out, *options)
    records = out / ".unfinished_train"
    wait_for(lambda: (records / "00000001.json").exists(), process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 130, errors
    assert "resume with the same command" in errors
    assert not (out / "annotations" / "panoptic_train.json").exists()
    assert all(cv2.imread(str(path)) is not None for path in out.rglob("*.jpg"))
    done = {path.name: path.stat().st_mtime_ns for path in records.glob("0*.json")}
    assert done
    result = run("dataset", out, *options)
    assert result.exit_code == 0
    assert f"going on after {len(done)} images" in result.output
    assert contents(out) == contents(whole)


def test_an_interrupted_drive_goes_on(tmp_path: Path, rig: Path) -> None:
    options = ("--rig", rig, "--duration", 6.0)
    whole, out = tmp_path / "whole.mcap", tmp_path / "out" / "whole.mcap"
    out.parent.mkdir()
    assert run("drive", whole, *options, "--workers", 1).exit_code == 0
    process = started("drive", out, *options, "--workers", 2)
    wait_for((out.parent / "whole.mcap.parts" / "00000.mcap").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 130, errors
    assert not out.exists()
    result = run("drive", out, *options, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "of an earlier run" in result.output
    assert out.read_bytes() == whole.read_bytes()


def test_a_killed_run_leaves_no_workers_and_nothing_half_written(tmp_path: Path, rig: Path) -> None:
    options = ("--rig", rig, "--images", 400, "--images-per-street", 40, "--workers", 2)
    out = tmp_path / "out"
    process = started("dataset", out, *options)
    wait_for(lambda: len(list((out / ".unfinished_train").glob("0*.json"))) > 3, process)
    process.kill()
    process.communicate(timeout=200)  # which waits for the workers too: they hold its pipes
    assert all(cv2.imread(str(path)) is not None for path in out.rglob("[0-9]*.jpg"))
    for path in (out / ".unfinished_train").glob("0*.json"):
        record = json.loads(path.read_text())
        assert (out / "train" / record["image"]["file_name"]).is_file()


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["drive", "dataset"])
def test_a_full_disk_is_one_line_and_nothing_half_written(tmp_path: Path, rig: Path, kind: str) -> None:
    """No file may be larger than 1.5 kB, which the system says of a write as it says that a disk is full."""
    out = tmp_path / "out.mcap"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, old[1]))
        amount = ("--duration", 1.0) if kind == "drive" else ("--images", 2)
        result = run(kind, out, "--rig", rig, *amount, "--workers", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert result.exit_code == 1, result.output
    assert result.output.count("error: ") == 1
    assert str(out) in result.output
    assert "File too large" in result.output
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".mcap", ".jpg", ".png")]
    assert not left


def test_a_full_disk_of_its_own_keeps_nothing_of_a_drive(tmp_path: Path, rig: Path) -> None:
    """On a file system of 200 kB, which the command meets as a disk that is full from some write on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    started("drive", tmp_path / "script", "--help").communicate(timeout=200)  # writes run.py
    mounted = f"mount -t tmpfs -o size=200k tmpfs {disk} && "
    if subprocess.run(["unshare", "-rm", "sh", "-c", mounted + "true"], capture_output=True, check=False).returncode:
        pytest.skip("the system lets nobody mount a small disk")
    command = (
        f"{sys.executable} {tmp_path}/run.py drive {disk}/out.mcap --rig {rig} --duration 20 --images raw --workers 1"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mounted}{command}; echo $?; ls -A {disk}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["1"], done  # and no file
    assert done.stderr.count("error: ") == 1
    assert "No space left on device" in done.stderr
    assert str(disk / "out.mcap") in done.stderr


def test_a_worker_that_dies_is_one_line(tmp_path: Path, rig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesize, "_world_maker", lambda: dying_world)
    result = run("dataset", tmp_path / "out", "--rig", rig, "--images", 2, "--workers", 2)
    assert result.exit_code == 1
    assert "error: a worker process has ended" in result.output


def dying_world(*_: object) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("drive", "{tmp}/a.mcap", "--rig", "{tmp}/no.yaml"), "no such file; rigs that come with panoptic_ros"),
        (("drive", "{tmp}/a.mcap", "--rig", "sreet"), "rigs that come with panoptic_ros: single, street, two_cameras"),
        (("drive", "{tmp}/a.bag", "--rig", "{rig}"), "expected a name that ends in .mcap"),
        (("drive", "{tmp}/no/a.mcap", "--rig", "{rig}"), "lies in no folder"),
        (("dataset", "{rig}", "--rig", "{rig}"), "is no folder"),
        (("drive", "{tmp}/a.mcap", "--rig", "{unknown}"), "unknown.yaml: cameras[0]: unknown key 'fov'"),
        (("dataset", "{tmp}/out", "--rig", "{underground}"), "underground.yaml: cameras[0]: position: is underground"),
        (("drive", "{tmp}/a.mcap", "--rig", "{impossible}"), "impossible.yaml: cameras[0]: lens: fx: expected a focal"),
        (("dataset", "{tmp}/out", "--rig", "{wide}", "--variation", "1"), "front: lens, 0.71 times its focal length"),
        (("dataset", "{tmp}/out", "--rig", "{rig}", "--split", "a/b"), "--split: expected letters and digits"),
        (
            ("dataset", "{tmp}/out", "--rig", "{rig}", "--weather", "hail"),
            "--weather: expected random, or some of clear,",
        ),
        (
            ("drive", "{tmp}/a.mcap", "--rig", "{rig}", "--weather", "fog=much"),
            "--weather: expected a share of at least 0",
        ),
        (("drive", "{tmp}/a.mcap", "--rig", "{rig}", "--weather", "fog=0"), "--weather: expected some share above 0"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, rig: Path, arguments: tuple[str, ...], said: str) -> None:
    lens, wide = {"width": 64, "height": 48, "fx": 50.0}, {"width": 640, "height": 480, "fx": 17.0}
    camera = {"name": "front", "lens": lens, "position": [1.0, 0.0, 1.5]}
    wrong = {
        "unknown": camera | {"fov": 90},
        "underground": camera | {"position": [1.0, 0.0, -0.3]},
        "impossible": camera | {"lens": lens | {"fx": -50.0}},
        "wide": camera | {"lens": wide},
    }
    paths = {name: tmp_path / f"{name}.yaml" for name in wrong}
    for name, content in wrong.items():
        paths[name].write_text(yaml.safe_dump({"cameras": [content]}))
    before = sorted(tmp_path.iterdir())
    result = run(*(argument.format(tmp=tmp_path, rig=rig, **paths) for argument in arguments))
    assert result.exit_code == 1, result.output
    assert sorted(tmp_path.iterdir()) == before  # nothing is written
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert said in result.stderr


def test_a_rig_without_cameras_makes_no_images(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(yaml.safe_dump({"lidars": RIG["lidars"]}))
    result = run("dataset", tmp_path / "out", "--rig", path)
    assert (result.exit_code, "has no cameras" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments", [("drive",), ("drive", "a.mcap", "--duration", "0"), ("dataset", "a", "--images", "0")]
)
def test_arguments_that_are_none_end_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_other_splits_have_other_streets(rig: Path) -> None:
    def plan(split: str) -> DatasetPlan:
        return DatasetPlan(worlds.make_world, Rig.load(rig), 0, split, 10)

    seeds = {plan(split).street_seed(street) for split in ("train", "val") for street in range(20)}
    assert len(seeds) == 40


def fence(
    seed: int, duration: float, weather: Weather, density: float = 1.0, variation: float = 0.0
) -> worlds.BoxWorld:
    """Bars before the cameras."""
    bars = [worlds.box((0.02, 0.04, 1.5), FENCE).moved(worlds.at(6.0, y)) for y in np.arange(-3.0, 3.0, 0.24)]
    return worlds.BoxWorld(Mesh.join([worlds.plane(), *bars]), weather=weather, duration=duration, speed=0.1)


def pixels_of_fence(path: Path) -> int:
    """In the first picture of a data set, or in the first truth of a drive's front camera."""
    if path.is_dir():
        return int((classes_of(path) == FENCE).sum())
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        message = next(reader.iter_decoded_messages(topics=["/truth/front/semantic"]))[3]
    return int((np.frombuffer(message.data, dtype=np.uint8) == FENCE).sum())


def classes_of(folder: Path) -> NDArray[np.int32]:
    """The class of each pixel of the first picture of a data set in COCO's layout."""
    blue, green, red = cv2.split(cv2.imread(str(folder / "annotations" / "panoptic_train" / "000000000000.png")))
    return (red.astype(np.int32) + 256 * green.astype(np.int32) + 65536 * blue.astype(np.int32)) // 1000


@pytest.mark.parametrize(("kind", "usual"), [("dataset", "annotated"), ("drive", "exact")])
def test_labels_are_exact_or_annotated(
    tmp_path: Path, rig: Path, monkeypatch: pytest.MonkeyPatch, kind: str, usual: str
) -> None:
    monkeypatch.setattr(synthesize, "_world_maker", lambda: fence)
    amount = ("--images", 1) if kind == "dataset" else ("--duration", 0.2)
    found = {}
    for name, options in (("", ()), ("exact", ("--labelling", "exact")), ("annotated", ("--labelling", "annotated"))):
        out = tmp_path / f"{kind}{name}.mcap"
        result = run(kind, out, "--rig", rig, *amount, "--workers", 1, *options)
        assert result.exit_code == 0, result.output
        found[name] = pixels_of_fence(out)
    assert found[""] == found[usual]
    assert found["annotated"] > 2 * found["exact"] > 0


def test_a_run_does_not_go_on_with_other_labels(tmp_path: Path, rig: Path) -> None:
    options = ("--rig", rig, "--images", 4, "--workers", 1)
    state = tmp_path / "out" / ".unfinished_train" / "state.json"
    assert run("dataset", tmp_path / "out", *options, "--labelling", "exact").exit_code == 0
    state.parent.mkdir()
    state.write_text((tmp_path / "out" / "synthesis_train.json").read_text())
    (tmp_path / "out" / "synthesis_train.json").unlink()
    result = run("dataset", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert "--labelling was None, is annotated" in " ".join(result.output.split())
    assert run("dataset", tmp_path / "out", *options, "--labelling", "exact").exit_code == 0


def test_weather_comes_in_the_shares_of_the_command_line(
    tmp_path: Path, rig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Weather] = []

    def make_world(seed: int, duration: float, weather: Weather, density: float, variation: float) -> worlds.BoxWorld:
        made.append(weather)
        return worlds.make_world(seed, duration, weather, density)

    monkeypatch.setattr(synthesize, "_world_maker", lambda: make_world)
    options = ("--rig", rig, "--images", 24, "--images-per-street", 1, "--workers", 1)
    result = run("dataset", tmp_path / "out", *options, "--weather", "rain=2", "--weather", "dusk")
    assert result.exit_code == 0, result.output
    rain = [weather.wetness >= 0.7 and weather.cloudiness > 0.8 for weather in made]
    assert 11 <= sum(rain) <= 21  # 16 of 24 are expected; three standard deviations are 7
    assert all(weather.sun_elevation < 0.13 for weather, wet in zip(made, rain, strict=True) if not wet)


def test_variation_moves_the_cameras_within_its_bounds(rig: Path) -> None:
    plain = Rig.load(rig)
    for seed in range(50):
        varied = varied_rig(plain, seed, 0.5).cameras[0]
        assert abs(varied.position[2] - 1.5) <= 0.2
        assert abs(varied.rpy_degrees[1]) <= 2
        assert 50 / 1.4**0.5 <= varied.lens.fx <= 50 * 1.4**0.5
        assert 1.0 <= varied.effects.noise <= 1.75
        assert varied.effects.jpeg_quality == 0 or 35 <= varied.effects.jpeg_quality <= 95
    assert varied_rig(plain, 0, 0.5) != varied_rig(plain, 1, 0.5)
    assert varied_rig(plain, 0, 0.5) == varied_rig(plain, 0, 0.5)
    assert varied_rig(plain, 0, 0.0) == plain
    low = Rig(cameras=(replace(plain.cameras[0], position=(0.0, 0.0, 0.1)),))
    assert all(0.1 <= varied_rig(low, seed, 1.0).cameras[0].position[2] <= 0.5 for seed in range(20))


def test_version_and_help_need_no_embree() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"panoptic-train {__version__}\n")
    program = (
        "import sys; sys.argv[1:] = ['synthesize', 'drive', '--help']\n"
        "from panoptic_training.commands.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'rclpy', 'embreex', 'trimesh'} & sys.modules.keys()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "OUT.mcap" in done.stdout


def test_results_come_in_the_order_of_the_parts() -> None:
    assert list(workers.ordered(slow_first, range(6), 3)) == [0, 1, 4, 9, 16, 25]


def slow_first() -> object:
    def make(part: int) -> int:
        time.sleep(0.2 if part == 0 else 0)
        return part * part

    return make
