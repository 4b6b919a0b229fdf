"""A removal that is killed at any write, and begun again, ends with the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import importable, patience
from removal_store import run
from test_bare_shards import make

from curate.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.soak]

#: Every so manieth write is one at which it is killed; CURATE_KILL_EVERY=1 tries all.
EVERY = os.environ.get("CURATE_KILL_EVERY", "5")
#: Moments at which it is killed, whatever it does then.
MOMENTS = os.environ.get("CURATE_KILL_MOMENTS", "5")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("every", [EVERY, f"moments:{MOMENTS}"])
def test_killed_it_ends_with_the_same_bytes(tmp_path, every):
    run(tmp_path, str(tmp_path / "made"), rows=45)
    uids = Store(str(tmp_path / "made"))["records"].collect()["uid"]
    options = {"uids": [uids[1], uids[24]], "hosts": ["c.test"]}
    # The store is copied to where it is looked at: its notes must not name the first one.
    for note in (tmp_path / "made" / "write_notes").iterdir():
        note.unlink()
    store = Store(str(tmp_path / "made"))
    manifest = store.manifest()
    manifest.runs["job"].written["to"] = (
        manifest.runs["job"].written["to"].replace(str(tmp_path / "made"), str(tmp_path / "work" / "store"))
    )
    store.save(manifest)
    (tmp_path / "work").mkdir()
    kill_each(store.url, tmp_path / "work", options, every)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("layout", ["webdataset", "files"])
def test_without_a_store_too(tmp_path, layout):
    table = make(tmp_path / "made", layout)
    (tmp_path / "work").mkdir()
    kill_each(str(tmp_path / "made"), tmp_path / "work", {"urls": table["url"][[2, 7]].to_list()})


def kill_each(made: str, work: Path, options: dict[str, object], every: str = EVERY) -> None:
    program = Path(__file__).with_name("killed_removals.py")
    done = subprocess.run(
        [sys.executable, str(program), made, str(work), json.dumps(options), every],
        capture_output=True,
        text=True,
        timeout=patience(600),
        env={**os.environ, "PYTHONPATH": importable(), "POLARS_MAX_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    *faults, kills = done.stdout.splitlines()
    assert faults == [], done.stderr[-3000:]
    print(kills)
    assert int(kills.split()[1]) >= 3
