"""`import curate`: every verb from Python, whatever was imported before it; the README's block as it stands."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import MakeStore, patience, picture

import curate
from curate import api
from curate.demo.pool import build
from curate.demo.server import serve

VERBS = ("run", "score", "filter", "write")

JOB = """
name: job
set: {input: , root: , least: 2, why: short}
steps:
- read: {input: "${input}", rows_per_shard: 4}
- filter: {name: long, columns: {words: score.words}, keep: [{if: "words > ${least}", else: "${why}"}]}
"""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Ten captions of 0 to 9 words, and a pipeline that keeps the longer ones."""
    captions = [" ".join(["word"] * n) for n in range(10)]
    frame = pl.DataFrame({"url": [f"http://a.example/{n}.jpg" for n in range(10)], "text": captions})
    frame.write_parquet(tmp_path / "pairs.parquet")
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


# ---- names ----

#: Each loads a module of a verb's name, or one that lies below it.
IMPORTS = (
    "import curate.score.words",
    "from curate.filter.rule import Filter",
    "import curate.write.subset as subset",
    "from curate.run import run",
)


@pytest.mark.slow
def test_a_verb_can_be_called_whatever_was_imported_first() -> None:
    """In every order of the imports, the verbs' modules loaded anew each time."""
    code = (
        "import sys\n"
        f"for order in {list(itertools.permutations(IMPORTS))!r}:\n"
        "    parts = ('curate', 'curate.run', 'curate.score', 'curate.filter', 'curate.write')\n"
        "    for name in [name for name in sys.modules if name == 'curate' or name.startswith(parts[1:])]:\n"
        "        del sys.modules[name]\n"
        "    for line in order:\n"
        "        exec(line)\n"
        "    import curate\n"
        "    assert all(callable(getattr(curate, verb)) for verb in ('run', 'score', 'filter', 'write')), order\n"
        "    assert curate.score.words.Words and curate.filter.rule.Filter and curate.write.subset, order\n"
        "    assert curate.run.run.__module__ == 'curate.run', order\n"
        "print('every order')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=patience(200))
    assert done.stdout == "every order\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import curate.score.words, curate.filter.rule, curate.write.step, curate.run"])
def test_a_verb_in_a_process_of_its_own(pairs: Path, first: str) -> None:
    code = (
        f"{first}\nimport curate\n"
        "print(curate.run('job.yaml', input='pairs.parquet', root='store', workers=0).kept)\n"
        "print(curate.score('store', 'score.words', workers=0).tables[0].columns)\n"
        "print(curate.filter('store', where='words = 9').kept)\n"
        "try:\n    curate.write('store', 'custom')\nexcept curate.CurateError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=patience(100), cwd=pairs
    )
    said = ["7", "('words', 'characters')", "1", "nothing to write: the store has no images"]
    assert [line[: len(text)] for line, text in zip(done.stdout.splitlines(), said, strict=True)] == said, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_shows_its_arguments_and_goes_to_workers(verb: str) -> None:
    from ray import cloudpickle

    module = getattr(curate, verb)
    assert inspect.signature(module) == inspect.signature(getattr(api, verb))
    assert pickle.loads(pickle.dumps(module)) is module
    assert cloudpickle.loads(cloudpickle.dumps(lambda: module))() is module
    assert copy.deepcopy(module) is module


def test_what_curate_has() -> None:
    assert all(callable(getattr(curate, name)) for name in curate.__all__)
    assert set(VERBS) < set(curate.__all__)
    with pytest.raises(AttributeError, match="module 'curate' has no attribute 'scoer'"):
        curate.scoer  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.slow
def test_types_are_known_to_mypy(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(
        "import curate\n"
        "import curate.score.words\n"
        "from curate.score.words import Words\n"
        "reveal_type(curate.filter('store', where='words > 2').kept)\n"
        "reveal_type(curate.run('web', input='x', root='store').written)\n"
        "reveal_type(Words().batch_size)\n"
        "curate.score(3, Words())\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--config-file", "pyproject.toml"]
    done = subprocess.run(
        [*command, str(tmp_path / "use.py")],
        capture_output=True,
        text=True,
        timeout=patience(300),
        cwd=Path(curate.__file__).parent.parent,
    )
    said = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert said == [
        'note: Revealed type is "int"',
        'note: Revealed type is "curate.look.results.WriteResult | None"',
        'note: Revealed type is "int"',
        'error: Argument 1 to "score" has incompatible type "int"; expected "str"  [arg-type]',
    ], done.stdout


# ---- what they do ----


def test_a_run_and_its_check(pairs: Path) -> None:
    variables = {"input": pairs / "pairs.parquet", "root": pairs / "store", "least": 3}
    assert "job: 2 steps, nothing wrong found\nchecked: input" in curate.check(pairs / "job.yaml", **variables)
    assert not (pairs / "store").exists()
    result = curate.run(pairs / "job.yaml", workers=0, **variables)
    assert (result.root, result.rows, result.kept) == (str(variables["root"]), 10, 6)
    assert (result.written, result.report) == (None, "")
    assert result.funnel == [{"step": "long", "entered": 10, "kept": 6, "dropped": {"short": 4}}]
    assert set(result.seconds) == {"read", "filter long"}
    assert curate.run(pairs / "job.yaml", workers=0, set=variables).funnel == result.funnel


def test_values_are_taken_as_they_are(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--set why=no` is YAML, which reads `no` as false; a text of Python stays one."""
    monkeypatch.chdir(pairs)
    result = curate.run("job.yaml", input=["pairs.parquet"], root="1e5", least=8, why="no", workers=0)
    assert (result.root, result.kept, result.funnel[0]["dropped"]) == ("1e5", 1, {"no": 9})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: curate.run(f / "job.yaml", input="x", set={"input": "y"}), "'input' stands twice"),
        (lambda f: curate.run(f / "job.yaml", inptu="x"), "no variable 'inptu'.*'input'"),
        (lambda f: curate.run("wbe", workers=0), "no pipeline 'wbe'.*'web'"),
        (lambda f: curate.run(f / "job.yaml", memory="8 gigs"), "memory: '8 gigs' is no size of memory"),
        (lambda f: curate.check(f / "job.yaml", input="none.csv", root=f / "s"), "none.csv"),
        (lambda f: curate.score(str(f / "none"), "score.words"), "holds no records"),
        (lambda f: curate.filter(str(f / "none"), where="words > 2"), "holds no records"),
        (lambda f: curate.upgrade(str(f / "none")), "it is no store"),
        (lambda f: curate.verify(str(f / "none")), "has no manifest.json"),
        (lambda f: curate.open(str(f / "none")), "holds no records"),
    ],
)
def test_faults_are_curate_errors(pairs: Path, call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(curate.CurateError, match=message):
        call(pairs)
    assert {path.name for path in pairs.iterdir()} <= {"pairs.parquet", "job.yaml", "none"}


def test_score_takes_ops_as_yaml_has_them(make_store: MakeStore) -> None:
    root = make_store(3).store.url
    ops = {"score.words": None, "dedupe.exact": {"by": "url", "name": "again"}}
    result = curate.score(root, ops, workers=0)
    assert [(table.name, table.columns) for table in result.tables] == [
        ("words", ("words", "characters")),
        ("again", ("again_of", "again_size")),
    ]
    assert all(Path(table.path).is_dir() for table in result.tables)
    assert curate.score(root, [{"dedupe.exact": {"by": "url", "name": "again"}}], workers=0).tables == result.tables[1:]
    for nothing in ((), [], {}):
        with pytest.raises(curate.CurateError, match="name at least one op"):
            curate.score(root, nothing, workers=0)


def test_a_filter_in_python(make_store: MakeStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_store([{"text": text} for text in ("a", "a b", "a b c", "a b c d")]).store.url
    curate.score(root, "score.words", workers=0)
    capfd.readouterr()
    kept = curate.filter(root, {"keep": [{"if": "words > 1", "else": "short"}]}, where="words < 4", name="mid")
    assert (kept.name, kept.rows, kept.kept, kept.written) == ("mid", 4, 2, None)
    assert kept.funnel == [{"step": "mid", "entered": 4, "kept": 2, "dropped": {"fails: words < 4": 1, "short": 1}}]
    assert Path(kept.path).is_dir()
    assert curate.filter(root, top="words=1 rows", after="mid", output=str(tmp_path / "best.npy")).written == 1
    assert np.load(tmp_path / "best.npy").shape == (1,)
    assert capfd.readouterr() == ("", "")
    curate.filter(root, where="words > 9")
    said = " ".join(capfd.readouterr().err.split())
    assert "custom dropped all 4 rows (4 fails: words > 9): nothing is left" in said
    for fault, message in (({}, "name a filter"), ({"where": "words >"}, "where: "), ({"top": "words"}, "top")):
        with pytest.raises(curate.CurateError, match=message):
            curate.filter(root, **fault)


@pytest.mark.slow
def test_write_report_and_verify(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store([{"source": "web"}] * 3, images=[picture(1), None, picture(3)]).store.url
    curate.filter(root, "no_filter", name="all")
    written = curate.write(
        root, "all", to=str(tmp_path / "shards"), samples_per_shard=1, leave_out=["source"], workers=0
    )
    assert (written.samples, written.shards, written.to) == (2, 2, str(tmp_path / "shards"))
    assert "source" not in pl.read_parquet(tmp_path / "shards" / "00000.parquet").columns
    assert curate.verify(written.to).endswith("all as written")
    assert curate.report(root, str(tmp_path / "page.html")) == str(tmp_path / "page.html")
    with pytest.raises(curate.CurateError, match=r"write: option 'samples_per_shard'.*greater than or equal to 1"):
        curate.write(root, "all", samples_per_shard=0, workers=0)


# ---- the README ----


@pytest.mark.slow
def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python block, with a pool served on this machine in the place of the web."""
    text = (Path(curate.__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    here = 'root="store", allow=["127.0.0.0/8"]'
    assert block.count('root="store"') == 1
    monkeypatch.chdir(tmp_path)
    with serve(tmp_path / "pool") as base_url:
        build(tmp_path / "pool", 150, base_url=base_url).rename("pairs.parquet")
        names: dict[str, object] = {}
        exec(block.replace('root="store"', here), names)
    result, kept = names["result"], names["kept"]
    assert isinstance(result, api.RunResult) and isinstance(kept, api.FilterResult)
    assert 0 < kept.kept < result.kept < result.rows == 150
    assert list((tmp_path / "shards").glob("*.tar"))
