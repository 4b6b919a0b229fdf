"""ray_cluster.yaml against Ray's own schema and checks, as `ray up` makes them before it asks a cloud for anything."""

from __future__ import annotations

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parent.parent / "ray_cluster.yaml"


def test_ray_takes_the_cluster_file() -> None:
    config = prepare_config(yaml.safe_load(FILE.read_text()))
    validate_config(config)
    kinds = config["available_node_types"]
    assert config["head_node_type"] in kinds
    assert kinds["cpu"]["resources"]["CPU"] == 32 and kinds["gpu"]["resources"]["GPU"] == 4
    assert kinds["head"]["resources"]["CPU"] == 0, "the driver's node takes no shards"
