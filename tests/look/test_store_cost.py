"""`show --cost`: sums of literal costs, dollars only at a price, and prices only of what there is."""

from __future__ import annotations

import io
import re

import pytest
from conftest import HERE
from rich.console import Console

from curate.annotate.step import annotate
from curate.catalog import load_all
from curate.cli.start import main
from curate.errors import CurateError
from curate.look import cost as cost_module
from curate.look.cost import Prices, print_store_cost
from curate.store.cost import Cost
from curate.store.manifest import Manifest, Run, Table
from curate.store.store import Store

H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"

CLIP = Cost(
    rows=1000,
    worker_seconds=3600,
    model_seconds=2700,
    setup_seconds=360,
    cpu_seconds=7200,
    gpu_seconds={H100: 3960},
    bytes=2_000_000,
)
WORDS = Cost(rows=500, worker_seconds=10, model_seconds=5, cpu_seconds=36, bytes=100_000)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch):
    """Prints on 200 columns without colour; gives the lines, as words."""
    file = io.StringIO()
    console = Console(file=file, width=200, highlight=False)
    console.say = lambda text: console.print(text, markup=False)  # type: ignore[attr-defined]
    monkeypatch.setattr(cost_module, "out", console)
    return lambda: [line.split() for line in file.getvalue().splitlines()]


def store_of(root, **costs: Cost) -> str:
    manifest = Manifest(runs={"web": Run(seconds={"read": 1.5, "download": 60, "filter [x]": 0.25})})
    for name, cost in costs.items():
        manifest.note(f"{name}-1", Table(name=name, op=f"score.{name}", complete={"p": "r"}, seconds=1, cost=cost))
    manifest.note("near-1", Table(name="near", op="dedupe.minhash", pool="p", seconds=12.34))
    Store(str(root)).save(manifest)
    return str(root)


def test_sums_and_dollars(tmp_path, printed):
    """clip: 1.1 hours of a GPU at 2.5 dollars and two of processor time at 4 cents."""
    print_store_cost(store_of(tmp_path, clip=CLIP, words=WORDS), ["h100=2.5", "cpu=0.04"])
    lines = printed()
    assert ["clip", "1,000", "0.28", "0.75", "1.10", "2.00", "1.10", "2.83", "2.0"] in lines
    assert ["words", "500", "50", "0.50", "0.0028", "0.01", "0", "0.0004", "0.1"] in lines
    assert ["in", "all", "1,500", "0.42", "0.75", "1.10", "2.01", "1.10", "2.83", "2.1"] in lines
    assert not any("price" in line for line in lines)


def test_without_a_price_there_are_no_dollars(tmp_path, printed):
    print_store_cost(store_of(tmp_path, clip=CLIP))
    lines = printed()
    assert ["clip", "1,000", "0.28", "0.75", "1.10", "2.00", "1.10", "2.0"] in lines
    assert not any("dollars" in word for line in lines for word in line)


def test_what_has_no_price_is_said(tmp_path, printed):
    print_store_cost(store_of(tmp_path, clip=CLIP, old=Cost(rows=1, gpu_seconds={A100: 3600})), ["A100=1.5"])
    said = [" ".join(line) for line in printed()]
    assert f"no price for {H100}: its hours are in no dollars" in said
    assert "no price for cpu: its hours are in no dollars" in said
    old = next(line for line in said if line.startswith("old 1 "))
    assert old.split()[-2:] == ["1.50", "0.0"]
    assert next(line for line in said if line.startswith("clip ")).split()[-2] == "0"


def test_the_wall_clock_of_steps(tmp_path, printed):
    print_store_cost(store_of(tmp_path, clip=CLIP))
    said = [" ".join(line) for line in printed()]
    assert "an op on all rows near 12.3" in said
    start = said.index("the last run of web read 1.5")
    assert said[start + 1 :] == ["download 60.0", "filter [x] 0.2", "in all 61.8"]


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("h100", "write it as name=dollars an hour, e.g. h100=2.5"),
        ("h100=cheap", "--price h100=cheap: write it as name=dollars"),
        ("cpu=-1", "write it as name=dollars"),
        ("cpu=inf", "write it as name=dollars"),
        ("=2", "write it as name=dollars"),
        ("a100=1", f"--price a100: no step ran on a GPU of that name.*{H100}"),
        ("h10=1", "no step ran on a GPU of that name"),
    ],
)
def test_a_price_that_cannot_be_meant(tmp_path, price, said):
    with pytest.raises(CurateError, match=said):
        print_store_cost(store_of(tmp_path, clip=CLIP), [price])


def test_two_prices_of_one_thing(tmp_path):
    root = store_of(tmp_path, clip=CLIP)
    with pytest.raises(CurateError, match="--price h100 stands twice, with 2 and 3: choose one"):
        print_store_cost(root, ["h100=2", "H100=3"])
    with pytest.raises(CurateError, match=f"--price h100 and nvidia h100 both mean {H100}"):
        print_store_cost(root, ["h100=2", "nvidia h100=3"])


def test_a_gpu_where_none_was(tmp_path):
    with pytest.raises(CurateError, match="no step ran on a GPU; only cpu has a price here"):
        print_store_cost(store_of(tmp_path, words=WORDS), ["h100=2"])


def test_a_name_is_whole_words_of_a_gpus():
    assert Prices.of(["a100=1", "l4=2"]).of_device(A100) == 1
    assert Prices.of(["a10=1"]).of_device(A100) is None
    assert Prices.of(["a100-sxm4=3"]).of_device(A100) == 3
    assert Prices.of(["l4=2"]).of_device("NVIDIA L40S") is None


def test_tables_from_before_and_of_other_options(tmp_path, printed):
    root = store_of(tmp_path, clip=CLIP, words=Cost())
    manifest = Store(root).manifest()
    manifest.note("clip-2", Table(name="clip", op="score.clip", complete={}, cost=CLIP))
    Store(root).save(manifest)
    print_store_cost(root)
    lines = printed()
    assert [line[0] for line in lines if line[1:3] == ["1,000", "0.28"]] == ["clip-1", "clip"]
    assert ["in", "all", "2,000"] in [line[:3] for line in lines]
    assert ["computed", "before", "costs", "were", "kept,", "seconds", "only:", "words"] in lines


def test_the_command(make_store, monkeypatch, capsys):
    view = make_store(25)
    monkeypatch.setattr("sys.argv", ["curate", "show", view.store.url, "--cost"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "no op that looks at single rows has computed anything here" in capsys.readouterr().out
    annotate(view, load_all(["score.words"]), HERE)
    monkeypatch.setattr("sys.argv", ["curate", "show", view.store.url, "--cost", "--price", "cpu=0.04"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    assert re.search(r"^words +25 ", said, re.M)
    assert re.search(r"^in all +25 ", said, re.M)
