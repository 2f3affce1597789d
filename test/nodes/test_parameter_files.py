from __future__ import annotations

from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context

from panoptic_ros.nodes.parameter_files import unread_files


@pytest.mark.parametrize(
    ("content", "is_read"),
    [
        ("/**: {ros__parameters: {batch: 1}}", True),
        ("/*: {ros__parameters: {batch: 1}}", False),
        ("/*/*: {ros__parameters: {batch: 1}}", True),
        ("/robot/panoptic_node: {ros__parameters: {batch: 1}}", True),
        ("robot: {panoptic_node: {ros__parameters: {batch: 1}}}", True),
        ("/robot/**: {ros__parameters: {batch: 1}}", True),
        ("panoptic_node: {ros__parameters: {batch: 1}}", False),
        ("/robot/panoptic: {ros__parameters: {batch: 1}}", False),
    ],
)
def test_a_parameter_file_without_a_section_for_the_node_is_told(tmp_path: Path, content: str, is_read: bool) -> None:
    """What is read was tried with rclpy itself: the batch of a node that was given the file."""
    path = tmp_path / "parameters.yaml"
    path.write_text(content, encoding="utf-8")
    arguments = ["--ros-args", "--params-file", str(path)]
    context = Context()
    rclpy.init(args=[], context=context, domain_id=230)
    node = rclpy.create_node("panoptic_node", namespace="/robot", context=context, cli_args=arguments)
    assert (node.declare_parameter("batch", 8).value == 1) is is_read
    sentences = unread_files(arguments, node.get_fully_qualified_name())
    node.destroy_node()
    context.shutdown()
    assert (sentences == []) is is_read
    assert all(str(path) in sentence and "/robot/panoptic_node" in sentence for sentence in sentences)
