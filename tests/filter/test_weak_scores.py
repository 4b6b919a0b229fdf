"""Where rows are judged by lite0-minilm's score, the check and the report say that it gives no verdicts."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from conftest import HERE, picture

from curate.annotate.step import annotate
from curate.catalog import load
from curate.cli import app
from curate.look.report import write_report
from curate.pipeline.file import load_pipeline
from curate.pipeline.weak_scores import in_pipeline, in_store
from curate.store.manifest import Manifest

LITE = "- annotate: [{score.clip: {}}, score.words]\n"
OTHER = "- annotate: [{score.clip: {model: ViT-B-32/random, name: lite}}]\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "columns"),
    [
        ("mine", LITE + '- filter: {where: "lite >= 0.2"}', ["lite"]),
        ("mine", LITE + "- filter: {top: {by: lite, fraction: 0.3}}", ["lite"]),
        ("mine", LITE + '- filter: {where: "words > 2"}', []),
        ("mine", LITE + '- filter: {where: "lite_cut"}', []),
        ("mine", LITE + '- annotate: [{dedupe.exact: {by: sha256, keep: "best:lite"}}]', ["lite"]),
        ("mine", LITE + '- dedupe: [{exact: {by: sha256, keep: "best:lite"}}]', ["lite"]),
        ("mine", LITE + "- annotate: [{balance.clusters: {by: lite_img}}]", []),
        (
            "mine",
            LITE + '- annotate: [score.clip_no_digits]\n- filter: {where: "lite_no_digits > 0"}',
            ["lite_no_digits"],
        ),
        (
            "mine",
            '- filter: {name: f, columns: {fits: {score.clip: {name: fits}}}, where: "fits > 0.1"}',
            ["fits"],
        ),
        ("mine", OTHER + '- filter: {where: "lite >= 0.2"}', []),
        ("demo", LITE + '- filter: {where: "lite >= 0.2"}', []),
    ],
)
def test_a_line_at_check(tmp_path: Path, capfd, name: str, steps: str, columns: list[str]) -> None:
    pl.DataFrame({"url": ["http://a.example/1.jpg"], "text": ["a red car"]}).write_parquet(tmp_path / "pairs.parquet")
    head = f'name: {name}\nset: {{input: , root: }}\nsteps:\n- read: {{input: "${{input}}"}}\n- download: {{}}\n'
    (tmp_path / "job.yaml").write_text(head + steps)
    given = {"input": str(tmp_path / "pairs.parquet"), "root": str(tmp_path / "store")}
    job = load_pipeline(tmp_path / "job.yaml", given)
    said = " ".join(capfd.readouterr().err.split())
    assert [line.partition("'")[2].partition("'")[0] for line in in_pipeline(job)] == columns
    assert said.count("gives no verdicts") == len(columns)


def manifest(*decided: dict, model: str = "lite0-minilm", run: str = "mine") -> Manifest:
    clip = load({"score.clip": {"model": model, "name": "lite"}})
    tables = {"lite-1": {**clip.spec(), "name": "lite", "columns": [*clip.makes(), "lite_status"]}}
    tables |= {f"t{n}-1": {"name": f"t{n}", **entry} for n, entry in enumerate(decided)}
    current = {folder[:-2]: folder for folder in tables}
    return Manifest.model_validate({"runs": {run: {}}, "tables": tables, "current": current})


def rule(where: str, **more: object) -> dict:
    counts = {"entered": 2, "kept": 1, "dropped": {"fits": 1}}
    return {"kind": "keep", "step": "t", "filter": {"where": {"fits": where}, "top": None, **more}, "counts": counts}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decided", "steps"),
    [
        ([rule("lite >= 0.2")], ["t0"]),
        ([rule("lite_img IS NULL"), rule("elite > 1"), rule("x > 1", top={"by": "lite", "fraction": 0.5})], ["t2"]),
        ([{"op": "dedupe.exact", "options": {"by": "sha256", "keep": "best:lite"}}], ["t0"]),
        ([{"op": "balance.clusters", "options": {"by": "lite_img"}}, {"op": "score.x", "options": {"by": "lite"}}], []),
    ],
)
def test_a_line_in_the_report(decided: list[dict], steps: list[str]) -> None:
    assert [step for step, _ in in_store(manifest(*decided))] == steps
    assert in_store(manifest(*decided, model="ViT-B-32/openai")) == []
    assert in_store(manifest(*decided, run="demo")) == []
    assert all("'lite' is a score of lite0-minilm" in line for _, line in in_store(manifest(*decided)))


@pytest.mark.slow
def test_curate_filter_and_the_report_print_it(make_store, capsys) -> None:
    view = make_store([{"text": "red"}, {"text": "blue"}], images=[picture(1), picture(2)])
    annotate(view, [load({"score.clip": {"device": "cpu"}}), load("score.words")], HERE)
    for name, condition, times in (("weak", "lite > -1", 1), ("strong", "words > 0", 0)):
        app(["filter", view.store.url, "--where", condition, "--name", name], standalone_mode=False)
        assert " ".join(capsys.readouterr().err.split()).count("gives no verdicts") == times
    assert (
        Path(write_report(view.store.url, str(Path(view.store.url) / "page.html"))).read_text().count("no verdicts")
        == 1
    )
