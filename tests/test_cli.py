"""The command line as a user types it: what it prints, what it leaves, how it fails."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import patience

from curate.cluster.cluster import Cluster
from curate.pipeline.file import load_pipeline
from curate.run import run

pytestmark = pytest.mark.slow

STEPS = """
name: words
set: {input: }
steps:
- read: {input: "${input}", rows_per_shard: 40}
- annotate: [score.words]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    captions = [" ".join(["word"] * (i % 10)) for i in range(100)]
    urls = [f"http://a.example/{i}.jpg" for i in range(100)]
    pl.DataFrame({"URL": urls, "TEXT": captions}).write_csv(folder / "pairs.csv")
    (folder / "words.yaml").write_text(STEPS)
    variables = {"input": str(folder / "pairs.csv"), "root": str(folder / "store")}
    run(load_pipeline(folder / "words.yaml", variables), Cluster(workers=0))
    return folder / "store"


def curate(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curate", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=patience(100))


def test_filter_prints_why_and_writes_a_subset(store: Path, tmp_path: Path) -> None:
    done = curate("filter", store, "--where", "words > 2 AND characters < 40", "--output", tmp_path / "s.npy")
    assert done.returncode == 0, done.stderr
    assert "fails: words > 2" in done.stdout and "fails: characters < 40" in done.stdout
    assert "60 kept + 40 dropped = 100 in: exact" in done.stdout
    subset = np.load(tmp_path / "s.npy")
    uids = pl.read_parquet(store / "records" / "*.parquet").with_row_index()
    kept = uids.filter(pl.col("index") % 10 > 2).filter(pl.col("index") % 10 < 9)["uid"].sort().to_list()
    assert [f"{high:016x}{low:016x}" for high, low in subset] == kept


def test_filter_takes_the_best_rows(store: Path) -> None:
    # Ten captions are empty: they have no score, and the fraction is of the 90 that have one.
    assert "18 kept + 82 dropped" in curate("filter", store, "--top", "words=0.2", "--name", "best").stdout
    assert "7 kept + 93 dropped" in curate("filter", store, "--top", "words=7 rows", "--name", "seven").stdout


def test_show_names_what_is_there(store: Path) -> None:
    curate("filter", store, "--where", "words > 2", "--name", "some")
    done = curate("show", store)
    assert done.returncode == 0, done.stderr
    assert "100 rows in 3 shards" in done.stdout and "score.words v1" in done.stdout
    step = curate("show", store, "--step", "some")
    assert "70 kept + 30 dropped = 100 in: exact" in step.stdout


def test_score_adds_columns_and_does_not_compute_twice(store: Path) -> None:
    first = curate("score", store, "score.language", "--workers", "0")
    assert "language: lang, lang_score" in first.stdout
    part = next(store.glob("language-*/00000.parquet"))
    before = part.stat().st_mtime_ns
    assert curate("score", store, "score.language", "--workers", "0").returncode == 0
    assert part.stat().st_mtime_ns == before


def test_list_shows_one_op_with_its_options() -> None:
    done = curate("list", "score.words")
    assert "option   batch_size: int = 10000" in done.stdout


def test_list_shows_everything_with_its_paper() -> None:
    done = curate("list")
    for name in ("score.clip", "dedupe.exact", "balance.metaclip", "datacomp_basic", "demo", "webdataset"):
        assert name in done.stdout
    assert "DataComp" in done.stdout and "Demystifying CLIP" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["filter", "STORE", "datacomp_basc"], r"no filter 'datacomp_basc' \(did you mean 'datacomp_basic'\?\)"),
        (["filter", "STORE", "datacomp_basic"], r"column 'original_width', which is not there: download makes it"),
        (["filter", "STORE", "laion2b_en"], r"needs column '\w+'.*curate score STORE --filter laion2b_en"),
        (["filter", "STORE", "--where", "wrods > 2"], r"'wrods', which is not there \(did you mean 'words'\?\)"),
        (["filter", "STORE", "--where", "words >"], "not a SQL condition"),
        (["filter", "STORE", "--top", "words=7"], "write '7 rows' or '7%'"),
        (["filter", "STORE", "--top", "words"], "write it as column=30%, column=0.3 or column=1000 rows"),
        (["filter", "STORE"], "name a filter, or give --where, --top or --subset"),
        (["filter", "STORE", "--where", "words > 2", "--after", "nope"], "no keep table 'keep_nope'"),
        (["filter", "/no/such/store", "--where", "words > 2"], "holds no records"),
        (["score", "STORE", "score.wrds"], "no op 'score.wrds'"),
        (["score", "STORE"], "name at least one op"),
        (["score", "STORE", "score.words", "--memory", "8 gigs"], "--memory: '8 gigs' is no size of memory"),
        (["submit", "demo", "--address", "http://127.0.0.1:1", "--memory", "1MB"], "too little for a worker"),
        (["score", "STORE", "score.phash"], "reads images, and there are none"),
        (["write", "STORE", "--keep", "nope"], "no keep table 'keep_nope'"),
        (["run", "no_such_pipeline", "--set", "root=x"], r"no pipeline 'no_such_pipeline'.*demo"),
        (["run", "demo", "--set", "input"], "write it as name=value"),
        (["run", "demo", "--set", "inptu=x"], r"no variable 'inptu' \(did you mean 'input'\?\)"),
        (["verify", "/no/such/shards"], "has no manifest.json"),
        (["show", "/no/such/store"], "holds no records"),
    ],
)
def test_faults_are_one_message(store: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = curate(*[str(store) if word == "STORE" else word for word in words])
    assert done.returncode == 1
    text = " ".join(done.stderr.split())
    assert re.search(message, text), text
    assert "Traceback" not in done.stderr


def test_usage_errors_show_the_usage() -> None:
    done = curate("frobnicate")
    assert done.returncode == 2 and "No such command" in done.stderr and "Traceback" not in done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    code = "import curate.cli\nfrom curate.look import listing\ndef stop(*a): raise KeyboardInterrupt\n"
    code += "listing.print_library = stop\n"
    command = [sys.executable, "-c", code + "import sys; sys.argv = ['curate', 'list']; curate.cli.main()"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=patience(60))
    assert done.returncode == 130
    assert "the same command goes on from here" in " ".join(done.stderr.split())


def test_probe_forecasts_and_writes_nothing(store: Path) -> None:
    before = {p.name for p in store.iterdir()}
    done = curate("probe", store, "score.words", "score.language", "--rows", "50", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"score\.words +cpu +[\d,]+ ", done.stdout)
    assert "50 rows tried; all of the store in one pass: 0.00 hours on 2 workers" in done.stdout
    assert {p.name for p in store.iterdir()} == before
    assert "looks at all rows at once" in curate("probe", store, "dedupe.exact: {by: url}").stderr


@pytest.mark.soak
def test_probe_text_measures_how_a_model_reads() -> None:
    done = curate("probe-text", "lite0-minilm", "--words", "6", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert '"spotting"' in done.stdout and '"chance"' in done.stdout
