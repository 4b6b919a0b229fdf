"""What a release says of itself is the same in every place: docs/release.md."""

from __future__ import annotations

from pathlib import Path

import yaml

import curate

PLACE = Path(__file__).parent.parent


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load((PLACE / "CITATION.cff").read_text())["version"] == curate.__version__
    assert f"\n## {curate.__version__} " in (PLACE / "CHANGELOG.md").read_text()
