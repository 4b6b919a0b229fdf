"""Every row of the table in docs/reuse.md, done: what is made anew, what is filled in, what is kept to the byte."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import HERE, picture

from curate.dedupe.exact import Exact
from curate.errors import CurateError
from curate.pipeline.file import load_pipeline
from curate.run import run
from curate.store.store import Store

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parent.parent / "docs" / "reuse.md").read_text()
#: Rows of the input; `rows_per_shard` of the page makes three shards of them.
ROWS = 10
#: Tables of the page's own ops.
OPS = {"length", "red", "glow"}
#: The picture that the web does not have at first.
ABSENT = "/7.png"


def block(language: str) -> str:
    """The page's code in a language."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return str(code)


def table() -> dict[str, tuple[str, str]]:
    """What is changed: the cells that say what is made anew, and what is filled in."""
    lines = PAGE[PAGE.index("| what happens, or what you change |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return {change: (anew, filled) for change, anew, filled in cells}


def names(cell: str) -> set[str]:
    return set(re.findall("`(.*?)`", cell))


def rows_of(cell: str) -> list[tuple[str, int]]:
    """
    >>> rows_of("`images`, `red`: 1 row, `glow`: 12 rows")
    [('images', 0), ('red', 1), ('glow', 12)]
    """
    return [(name, int(rows or 0)) for name, rows in re.findall(r"`(\w+)`(?:: (\d+) rows?)?", cell)]


class Web:
    """Pictures by number on this machine; `absent` are answered 404."""

    def __init__(self) -> None:
        self.absent = {ABSENT}
        self.asked: Counter[str] = Counter()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked[self.path] += 1
                self.send_response(404 if self.path in web.absent else 200)
                self.end_headers()
                if self.path not in web.absent:
                    self.wfile.write(picture(int(self.path[1:-4]), "PNG", (64, 64)))

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Case:
    """The page's pipeline over a small input, and what its runs did."""

    def __init__(self, folder: Path, web: Web, patch: pytest.MonkeyPatch):
        self.folder, self.web, self.patch = folder, web, patch
        self.root = str(folder / "store")
        self.steps, self.code = block("yaml"), block("python")
        #: Rows that an op computed a value for, by its table.
        self.computed: Counter[str] = Counter()
        self.written = ""
        self.add_rows("first", 0, ROWS)
        self.edit_file("curve.txt", "1")
        self.edit_file("my_scale.py", "SCALE = 1\n")

    def add_rows(self, name: str, first: int, count: int) -> None:
        """An input file: captions of growing length, each with its picture."""
        (self.folder / "pairs").mkdir(exist_ok=True)
        numbers = range(first, first + count)
        urls = [f"{self.web.url}/{number}.png" for number in numbers]
        texts = [f"picture {'x' * number}" for number in numbers]
        pl.DataFrame({"url": urls, "text": texts}).write_parquet(self.folder / "pairs" / f"{name}.parquet")

    def edit_file(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def edit_steps(self, before: str, after: str) -> None:
        assert before in self.steps
        self.steps = self.steps.replace(before, after)

    def edit_code(self, before: str, after: str) -> None:
        assert before in self.code
        self.code = self.code.replace(before, after)

    def run(self) -> None:
        """As a new process would: the user's modules are imported again."""
        self.edit_file("my_ops.py", self.code)
        for name in ("my_ops", "my_scale"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        ops = importlib.import_module("my_ops")
        for name in OPS:
            self.count_calls(getattr(ops, name.capitalize()))
        place = {"input": str(self.folder / "pairs"), "root": self.root, "curve": str(self.folder / "curve.txt")}
        self.edit_file("job.yaml", self.steps)
        pipeline = load_pipeline(self.folder / "job.yaml", place)
        self.written = run(pipeline, HERE)["written"].get("to", "")

    def count_calls(self, op: Any) -> None:
        batch = op.batch

        def counting(self_: Any, rows: Any) -> Any:
            self.computed[self_.table()] += len(rows)
            return batch(self_, rows)

        op.batch = counting

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file of the store: when it was written, and which it is."""
        paths = [path for path in Path(self.root).rglob("*") if path.suffix in (".parquet", ".tar")]
        return {str(path.relative_to(self.root)): (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}

    def changed(self, before: dict[str, tuple[int, int]]) -> tuple[set[str], set[str]]:
        """Tables that are new since `before`, and tables that were there and have files that are new."""
        now = self.files()
        anew, filled = set(), set()
        for name, folder in self.folders().items():
            files = {file for file in now if file.startswith(f"{folder}/")}
            if not files & before.keys():
                anew.add(name)
            elif any(before.get(file) != now[file] for file in files):
                filled.add(name)
        return anew, filled

    def folders(self) -> dict[str, str]:
        """Names of tables to the folders they stand for now, training shards among them."""
        return {**Store(self.root).manifest().table_folders(), "shards": Path(self.written).name}


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.server.shutdown()


@pytest.fixture
def case(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> Case:
    web.absent, web.asked = {ABSENT}, Counter()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Case(tmp_path, web, monkeypatch)


def nothing(case: Case) -> None:
    case.run()


def option(case: Case) -> None:
    case.run()
    case.edit_steps('["my_ops:Length"]', '[{"my_ops:Length": {blanks: false}}]')


def table_name(case: Case) -> None:
    case.run()
    case.edit_steps('{curve: "${curve}"}', '{curve: "${curve}", name: shine}')


def comment(case: Case) -> None:
    case.run()
    case.edit_code('"""Characters of a caption."""', '"""How long it is."""  # in characters')


def code(case: Case) -> None:
    case.run()
    case.edit_code("[0] * SCALE", "[0] / 255 * SCALE")


def imported_code(case: Case) -> None:
    case.run()
    case.edit_file("my_scale.py", "SCALE = 2\n")


def weights(case: Case) -> None:
    case.run()
    case.edit_file("curve.txt", "2")


def version(case: Case) -> None:
    case.run()
    case.patch.setattr(Exact, "version", Exact.version + 1)


def how(case: Case) -> None:
    case.run()
    case.edit_steps('"my_ops:Red"', '{"my_ops:Red": {batch_size: 2}}')
    case.edit_steps("steps:", "memory: 500MB\nsteps:")


def second_table(case: Case) -> None:
    case.run()
    case.edit_steps('["my_ops:Length"]', '["my_ops:Length", {"my_ops:Length": {name: again}}]')


def stricter(case: Case) -> None:
    case.run()
    case.edit_steps("length > 10", "length > 11")


def looser(case: Case) -> None:
    case.run()
    case.edit_steps("length > 10", "length > 9")


def back(case: Case) -> None:
    stricter(case)
    case.run()
    case.edit_steps("length > 11", "length > 10")


def filter_name(case: Case) -> None:
    case.run()
    case.edit_steps("name: captions", "name: texts")


def later_filter(case: Case) -> None:
    case.run()
    case.edit_steps("if: dup_sha256_of IS NULL", "if: dup_sha256_of IS NULL AND red >= 0")


def steps_later(case: Case) -> None:
    whole = case.steps
    case.steps = whole[: whole.index("  - download")]
    case.run()
    case.steps = whole


def new_file(case: Case) -> None:
    case.run()
    case.add_rows("second", ROWS, 3)


def changed_file(case: Case) -> None:
    case.run()
    case.add_rows("first", 1, ROWS + 1)


def image_size(case: Case) -> None:
    case.run()
    case.edit_steps("download: {", "download: {image_size: 32, ")


def patient(case: Case) -> None:
    case.run()
    case.web.absent = set()
    case.edit_steps("download: {", "download: {timeout_seconds: 20, retries: 1, ")


def retry(case: Case) -> None:
    case.run()
    case.web.absent = set()
    case.edit_steps("download: {", "download: {retry: [http_404], ")


def keeper(case: Case) -> None:
    case.run()
    case.edit_steps("{by: sha256}", "{by: sha256, keep: first}")


def keys(case: Case) -> None:
    case.run()
    case.edit_steps("{by: sha256}", "{by: sha256, keep_keys: true}")


def keeper_with_keys(case: Case) -> None:
    case.edit_steps("{by: sha256}", "{by: sha256, keep_keys: true}")
    case.run()
    case.edit_steps("keep_keys: true", "keep_keys: true, keep: first")


def samples(case: Case) -> None:
    case.run()
    case.edit_steps("samples_per_shard: 4", "samples_per_shard: 3")


def part_deleted(case: Case) -> None:
    case.run()
    Path(case.root, case.folders()["length"], "00001.parquet").unlink()


def killed(case: Case) -> None:
    """After the second part of `red`, as by a signal."""
    write_part, parts = Store.write_part, []

    def stopped(store: Store, name: str, shard: int, *rest: Any, **more: Any) -> int:
        size = write_part(store, name, shard, *rest, **more)
        parts.append(name.partition("-")[0])
        if parts.count("red") == 2:
            raise KeyboardInterrupt
        return size

    with case.patch.context() as patch:
        patch.setattr(Store, "write_part", stopped)
        with pytest.raises(KeyboardInterrupt):
            case.run()


#: Each row of the page, by its first cell.
CASES: dict[str, Callable[[Case], None]] = {
    "nothing": nothing,
    "an option of `length`": option,
    "the code of `red`": code,
    "a module that `my_ops` imports": imported_code,
    "a comment, a docstring or the layout of `my_ops.py`": comment,
    "the file that an option of `glow` names": weights,
    "curate, to one that raised the `version` of `dedupe.exact`": version,
    "`batch_size`, `memory`": how,
    "the `name` of `glow` to `shine`": table_name,
    "a second op, `again`, makes the column `length`": second_table,
    "`captions`, which now drops more": stricter,
    "`captions`, which now drops one row less": looser,
    "`captions`, and then back": back,
    "the name of the filter `captions` to `texts`": filter_name,
    "the filter `images`": later_filter,
    "the steps from `download` on are new": steps_later,
    "a file with 3 rows comes into the input": new_file,
    "a file of the input that was read": changed_file,
    "`image_size` of `download`": image_size,
    "`timeout_seconds`, `retries` of `download`, and the web has the picture now": patient,
    "`retry: [http_404]` of `download`, and the web has the picture now": retry,
    "`keep` of `dedupe.exact`": keeper,
    "`keep_keys` of `dedupe.exact`": keys,
    "`keep` of a `dedupe.exact` that keeps keys": keeper_with_keys,
    "`samples_per_shard` of `write`": samples,
    "the second part of `length` is deleted": part_deleted,
    "the run is killed when `red` has two of its three parts": killed,
}


def test_the_page_and_the_cases_are_the_same():
    assert list(table()) == list(CASES)


@pytest.mark.parametrize("change", table())
def test_what_is_made_anew_and_what_is_filled_in(case: Case, change: str):
    anew, filled = table()[change]
    CASES[change](case)
    before = case.files()
    case.computed.clear()
    if anew.startswith("error: "):
        with pytest.raises(CurateError, match=re.escape(anew.removeprefix("error: "))):
            case.run()
        assert case.files() == before
        return
    case.run()
    assert case.changed(before) == (names(anew), {name for name, _ in rows_of(filled)})
    computed = {name: case.computed[name] for name in OPS - names(anew)}
    assert computed == {name: dict(rows_of(filled)).get(name, 0) for name in OPS - names(anew)}
