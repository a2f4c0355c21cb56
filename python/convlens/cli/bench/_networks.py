"""The networks that `convlens bench` knows by name: a row each. Their weights are seeded: speed needs no training."""

from __future__ import annotations

from collections.abc import Callable

from ... import nn


def digits() -> nn.Network:
    """Build the demonstration's network of 28x28 digits."""
    from ..demo._run import network

    return network(seed=0)


NETWORKS: dict[str, Callable[[], nn.Network]] = {
    "digits": digits,
    "efficientnet_lite0": nn.efficientnet_lite0,
}
