"""ray_cluster.yaml against Ray's own schema and checks, as `ray up` makes them before it asks a cloud for anything."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.util import prepare_config, validate_config

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[2] / "ray_cluster.yaml"


@pytest.fixture(scope="module")
def config() -> Any:
    return prepare_config(yaml.safe_load(FILE.read_text()))


def test_ray_takes_the_cluster_file(config: Any) -> None:
    validate_config(config)
    kinds = config["available_node_types"]
    assert config["head_node_type"] in kinds
    assert kinds["cpu"]["resources"]["CPU"] == 32 and kinds["gpu"]["resources"]["GPU"] == 4
    assert kinds["head"]["resources"]["CPU"] == 0, "the driver's node takes no shards"


def test_every_node_has_an_image_that_runs_curate(config: Any) -> None:
    """Ray's default image has Python 3.7 and CUDA 11.2; Ubuntu 24.04 has Python 3.12, which curate takes."""
    before = copy.deepcopy(config)
    aws._check_ami(config)
    for kind in config["available_node_types"]:
        image = config["available_node_types"][kind]["node_config"]["ImageId"]
        assert image == before["available_node_types"][kind]["node_config"]["ImageId"], "Ray puts no image of its own"
        assert image.startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/") and "ubuntu-24.04" in image
        assert image.split(":")[-1] not in aws.DEFAULT_AMI.values()
    assert "Programming Language :: Python :: 3.12" in (FILE.parent / "pyproject.toml").read_text()


def test_every_node_may_use_the_store_and_has_room(config: Any) -> None:
    """Workers get no role of their own from Ray: without one they cannot read or write S3."""
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["IamInstanceProfile"] == {"Name": "curate"}
        assert kind["node_config"]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 200
    assert "--instance-profile-name curate" in FILE.read_text()


def test_every_node_gets_the_same_versions(config: Any) -> None:
    install = " ".join(config["setup_commands"])
    assert "-c /home/ubuntu/curate/constraints.txt" in install
    extras = re.search(r"curate\[([\w,]+)\]", install)
    assert extras and extras[1] == "all"
    assert re.search(r"^ray==", (FILE.parent / "constraints.txt").read_text(), re.M)
