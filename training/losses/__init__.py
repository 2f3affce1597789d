"""What the systems learn by, one module each under the system's file name, and how one is found by name."""

from __future__ import annotations

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.registry import Registry, RegistryError
from panoptic_training.losses.system import SystemLoss

__all__ = ["LOSSES", "SystemLoss", "find_loss"]

LOSSES: Registry[SystemLoss] = Registry(
    "panoptic_ros.losses",
    {
        "jsis_net": "panoptic_training.losses.jsis_net:LOSS",
        "panoptic_fpn": "panoptic_training.losses.panoptic_fpn:LOSS",
        "yolo_panoptic": "panoptic_training.losses.yolo_panoptic:LOSS",
    },
    SystemLoss,
)
"""Each system's loss: ours, and those of other packages (entry points of the group ``panoptic_ros.losses``)."""


def find_loss(system: str, where: str) -> SystemLoss:
    """The loss of a system.

    Parameters
    ----------
    where:
        Where the system was named, for messages.

    Raises
    ------
    ConfigurationError
        If there is none, or that of another package is broken.
    """
    try:
        return LOSSES[system]
    except KeyError:
        raise ConfigurationError(
            f"{where}: nothing trains system {system!r}; expected one of {', '.join(sorted(LOSSES))}"
        ) from None
    except RegistryError as error:
        raise ConfigurationError(f"{where}: {error}") from error
