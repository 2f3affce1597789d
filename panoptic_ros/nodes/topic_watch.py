"""Why no image arrives: what the graph says about a topic, turned into what to change."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo

from panoptic_ros.messages.topics import COMPRESSED_IMAGE, IMAGE

_MOST_NAMED = 5  # topics that are proposed in one line


def published_type(node: Node, topic: str) -> str | None:
    """`IMAGE` or `COMPRESSED_IMAGE` where that is what is published on the topic (IMAGE where both are), else None."""
    types = {info.topic_type for info in node.get_publishers_info_by_topic(topic)}
    return next((name for name in (IMAGE, COMPRESSED_IMAGE) if name in types), None)


def incompatibilities(node: Node, topic: str, qos: QoSProfile) -> list[str]:
    """A sentence for each publisher on the topic whose QoS does not fit a subscription with `qos`."""
    sentences = []
    for info in node.get_publishers_info_by_topic(topic):
        compatibility, _ = qos_check_compatible(info.qos_profile, qos)
        if compatibility != QoSCompatibility.ERROR:
            continue
        wants_reliable = qos.reliability == ReliabilityPolicy.RELIABLE
        if wants_reliable and info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT:
            policy, theirs, ours = "reliability", "best_effort", "reliable"
        else:
            policy, theirs, ours = "durability", "volatile", "transient_local"
        sentences.append(
            f"{_name(info)} publishes {topic} as {theirs}, this node asks for {ours}, so nothing arrives from it: "
            f"set qos_overrides.{topic}.subscription.{policy} to {theirs}, or let the publisher offer {ours}"
        )
    return sentences


def explain_silence(node: Node, topic: str, expected: str, qos: QoSProfile) -> str:
    """Why no message of type `expected` may have come on the topic, and what to change."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        others = sorted(
            name
            for name, types in node.get_topic_names_and_types()
            if {IMAGE, COMPRESSED_IMAGE} & set(types)
            and node.count_publishers(name)
            and not name.startswith(f"{node.get_fully_qualified_name()}/")
        )
        there = (
            f"image topics there are: {', '.join(others[:_MOST_NAMED])}" if others else "no image topic is published"
        )
        return f"nobody publishes it; {there}. Set image_topic, or start the camera (same ROS_DOMAIN_ID?)"
    fitting = [info for info in publishers if info.topic_type == expected]
    if not fitting:
        types = ", ".join(sorted({info.topic_type for info in publishers}))
        remedy = (
            "set transport to auto" if types in (IMAGE, COMPRESSED_IMAGE) else "set image_topic to a topic of images"
        )
        return f"it is published as {types}, but this node expects {expected}: {remedy}"
    mismatches = incompatibilities(node, topic, qos)
    if len(mismatches) == len(fitting):
        return mismatches[0]
    names = ", ".join(sorted({_name(info) for info in fitting}))
    return (
        f"{names} publishes it, but nothing arrives: is the camera running? Large best-effort images between processes "
        "get lost with Fast DDS's defaults: start the camera's driver with FASTRTPS_DEFAULT_PROFILES_FILE set to "
        "config/fastdds.xml, or let it publish reliably and set "
        f"qos_overrides.{topic}.subscription.reliability to reliable"
    )


def why_quiet(node: Node, topic: str, expected: str, qos: QoSProfile) -> str:
    """Why no message of type `expected` may have come on any topic, in a sentence."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return "nobody publishes it"
    fitting = [info for info in publishers if info.topic_type == expected]
    if not fitting:
        types = ", ".join(sorted({info.topic_type for info in publishers}))
        return f"it is published as {types}, but this node expects {expected}"
    mismatches = incompatibilities(node, topic, qos)
    if len(mismatches) == len(fitting):
        return mismatches[0]
    return f"{', '.join(sorted({_name(info) for info in fitting}))} publishes it, but nothing arrives"


def _name(info: TopicEndpointInfo) -> str:
    namespace = info.node_namespace.rstrip("/")
    return f"{namespace}/{info.node_name}"
