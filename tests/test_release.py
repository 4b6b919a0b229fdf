"""What a release says of itself is the same in every place: docs/release.md."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import curate

PLACE = Path(__file__).parent.parent


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load((PLACE / "CITATION.cff").read_text())["version"] == curate.__version__
    assert f"\n## {curate.__version__} " in (PLACE / "CHANGELOG.md").read_text()


def test_a_constraint_is_a_package_of_this_version() -> None:
    """What nobody installs constrains nothing: a line of a package that is not here is a slip."""
    lines = (PLACE / "constraints.txt").read_text().splitlines()
    named = [Requirement(line) for line in lines if line and not line.startswith("#")]
    known = [requirement for requirement in named if not requirement.marker or requirement.marker.evaluate()]
    assert len(known) > 50
    wrong = {}
    for requirement in known:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong[requirement.name] = "not installed"
            continue
        if not requirement.specifier.contains(version.partition("+")[0], prereleases=True):
            wrong[requirement.name] = version
    assert not wrong
