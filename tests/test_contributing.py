"""The ops that CONTRIBUTING shows are written to a module of their own, as a reader would, and run."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from conftest import HERE, column
from PIL import Image

from curate.annotate.step import annotate
from curate.catalog import load_all
from curate.pipeline.file import load_pipeline
from curate.run import run

PAGE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()


@pytest.fixture
def my_ops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
    (tmp_path / "my_ops.py").write_text("\n\n".join(blocks))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_ops", None)
    yield tmp_path
    sys.modules.pop("my_ops", None)


def picture(mode: str, colour: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(buffer, "PNG")  # type: ignore[arg-type]
    return buffer.getvalue()


def test_they_do_what_they_say(my_ops, make_store):
    rows = [{"text": text} for text in ("a big red car!", "a big red bus", "a dog!!!", "")]
    images = [picture("L", 51), picture("RGB", (255, 0, 0)), None, picture("L", 255)]
    view = make_store(rows, images=images)
    ops = [
        "my_ops:loud",
        {"my_ops:Loud": {"name": "as_class"}},
        {"my_ops:light": {"batch_size": 8}},
        "my_ops:Opening",
        "my_ops:Longer",
    ]
    after = annotate(view, load_all(ops), HERE)
    loud = pytest.approx([1 / 14, 0, 3 / 8, 0])
    assert after.store["loud"].collect()["loud"].to_list() == loud
    assert after.store["as_class"].collect()["loud"].to_list() == loud
    assert column(after, "light") == [pytest.approx(0.2), pytest.approx(1 / 3), None, pytest.approx(1)]
    assert column(after, "grey") == [True, False, None, True]
    assert column(after, "opening_rows") == [2, 2, 1, 1]
    assert column(after, "longer") == [pytest.approx(n * 4 / 35, rel=1e-6) for n in (14, 13, 8, 0)]


@pytest.mark.slow
def test_the_line_that_tries_one_prints_what_the_function_returns(my_ops):
    (line,) = re.findall(r'^    python -c "(from my_ops .*)"$', PAGE, re.M)
    done = subprocess.run([sys.executable, "-c", line], cwd=my_ops, capture_output=True, text=True, check=True)
    assert "0.25" in done.stdout and "0.0" in done.stdout


def test_the_decision_is_a_step_s(my_ops):
    texts = ["a big red car", "a big red bus", "a big red dog", "a cat", ""]
    pl.DataFrame({"url": [f"http://a.example/{text}" for text in texts], "text": texts}).write_parquet(
        my_ops / "p.parquet"
    )
    (my_ops / "mine.yaml").write_text(
        f"name: mine\nset: {{root: {my_ops / 'store'}}}\nsteps:\n"
        f"  - read: {{input: {my_ops / 'p.parquet'}}}\n  - dedupe: ['my_ops:Opening': {{most: 2}}]\n"
    )
    result = run(load_pipeline(str(my_ops / "mine.yaml"), {}), HERE)
    (step,) = result["funnel"]
    assert (step["entered"], step["kept"]) == (5, 2)
    assert step["dropped"] == {"an opening that too many captions have": 3}
