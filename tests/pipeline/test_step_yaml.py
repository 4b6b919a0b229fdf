"""Steps as YAML has them: names in full, a step for each decision, and the right form where one is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import curate
from curate.cluster.cluster import Cluster
from curate.errors import CurateError
from curate.pipeline.file import load_pipeline
from curate.pipeline.step_yaml import in_full, steps_of, with_own_names
from curate.pipeline.steps import AnnotateStep
from curate.run import run


def steps(text: str) -> list[Any]:
    """Steps of a pipeline's YAML, named as the pipeline names them."""
    return with_own_names([step for item in yaml.safe_load(text) for step in steps_of(in_full(item), "job.yaml")])


@pytest.mark.parametrize(
    ("text", "ops"),
    [
        ("- score: words", ["score.words"]),
        ("- score: [words, score.phash]", ["score.words", "score.phash"]),
        ("- score: {words: , phash: {flat_std: 2}}", ["score.words", "score.phash"]),
        ("- annotate: [score.words, {dedupe.exact: {by: url}}]", ["score.words", "dedupe.exact"]),
        ("- score: [words, {dedupe.exact: {by: url}}]", ["score.words", "dedupe.exact"]),
    ],
)
def test_scores_drop_no_row(text: str, ops: list[str]) -> None:
    (step,) = steps(text)
    assert isinstance(step, AnnotateStep)
    assert [op.spec()["op"] for op in step.ops(())] == ops and not step.decides_by()


def test_each_op_of_dedupe_is_a_step_of_its_own() -> None:
    exact, again, near = steps("- dedupe: [exact: {by: sha256, keep: first}, exact: {by: url}, perceptual: ]")
    assert [step.name for step in (exact, again, near)] == ["duplicates", "duplicates_2", "near_duplicates"]
    assert [step.verb for step in (exact, again, near)] == ["dedupe"] * 3
    assert exact.rule.where == {"the same image file": "dup_sha256_of IS NULL"}
    assert exact.ops(()) == (exact.op,) and exact.op.keep == "first"
    assert exact.decides_by() == ("dup_sha256_of",)


def test_an_op_is_asked_where_its_column_is_there_already() -> None:
    """Whose column that is, is for the table's identity to say: a copy of the input is none."""
    (step,) = steps("- dedupe: [{decontaminate: {by: phash, against: no.npy, radius: 4}}]")
    assert step.ops({"near_eval", "eval_match", "eval_closeness"}) == (step.op,)


def test_a_filter_runs_what_it_lacks_and_judges_copies_anew() -> None:
    """A score that is there is taken as it is; copies are those among the rows that are in now."""
    text = """
- filter:
    name: f
    columns: {words: score.words, dup_url_of: {dedupe.exact: {by: url}}}
    keep: [{if: words > 2, else: short}, {if: dup_url_of IS NULL, else: again}]
"""
    (step,) = steps(text)
    assert [op.table() for op in step.ops(())] == ["words", "dup_url"]
    assert [op.table() for op in step.ops({"words", "dup_url_of"})] == ["dup_url"]
    assert step.decides_by() == ("words", "dup_url_of")


def test_a_former_form_loads_and_shows_its_new_one(capfd: pytest.CaptureFixture[str]) -> None:
    """Former is a reason before its condition; `annotate:` and a `filter:` of a copy's column are not."""
    (step,) = steps("- filter: {name: f, where: {not English: lang = 'en'}}")
    assert step.rule.where == {"not English": "lang = 'en'"}
    line = "filter f: a condition says what stays; write keep: [{if: lang = 'en', else: not English}]"
    assert " ".join(capfd.readouterr().err.split()) == line
    steps("- annotate: [dedupe.exact]\n- filter: {where: dup_url_of IS NULL}")
    assert capfd.readouterr().err == ""


def test_names_of_steps_that_drop_rows_never_clash() -> None:
    text = """
- filter: {name: duplicates, where: words > 2}
- filter: {name: duplicates_2, where: words > 3}
- dedupe: [exact]
- annotate: [dedupe.exact]
- balance: [metaclip]
- filter: {name: balance, where: words > 4}
"""
    names = [step.name for step in steps(text) if step.decides_by()]
    assert names == ["duplicates", "duplicates_2", "duplicates_3", "balance", "balance_2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "- balance: [{clusters: {by: clip_img}}]",
            "job.yaml: balance: balance.clusters makes clip_img_cluster, clip_img_cluster_cos and does not say which "
            "rows go: write `- annotate: [{balance.clusters: {by: clip_img}}]`; rows go by its columns in a `filter:` "
            "step, or by another op in a `balance:` step",
        ),
        (
            "- dedupe: [score.phash, perceptual]",
            "job.yaml: dedupe: score.phash makes phash, phash_colours and does not say which rows go: write "
            "`- score: [score.phash]`; rows go by its columns in a `filter:` step, or by another op in a `dedupe:` "
            "step",
        ),
        (
            "- balance: [{dedupe.exact: {by: sha256}}]",
            "job.yaml: balance: dedupe.exact is no op of `balance:`; write `- dedupe: [{dedupe.exact: {by: sha256}}]`",
        ),
        ("- dedupe: [exakt]", "job.yaml: no op 'dedupe.exakt' (did you mean 'dedupe.exact'?); there are "),
        ("- dedup: [exact]", "job.yaml: no step 'dedup' (did you mean 'dedupe'?); there are: "),
        ("- dedupe: [{exact: {bye: url}}]", "job.yaml: dedupe.exact: no option 'bye' (did you mean 'by'?)"),
        ("- dedupe: ", "job.yaml: an op is written `name` or `{name: {option: value}}`, got None"),
    ],
)
def test_a_wrong_form_shows_the_right_one(text: str, message: str) -> None:
    with pytest.raises(CurateError) as caught:
        steps(text)
    assert str(caught.value).startswith(message)


PAIRS = """url,text
http://a.example/1,a red bus in the rain
http://a.example/1,a red bus in the rain
http://a.example/2,a red bus in the rain!
http://a.example/3,the green car of my aunt
http://a.example/4,two dogs run on a beach
http://a.example/5,red dogs
"""

OLD = """
- annotate: [score.words, {dedupe.exact: {by: url_text}}]
- filter: {name: duplicates, keep: [{if: dup_url_text_of IS NULL, else: the same url and caption}]}
- annotate: [dedupe.minhash]
- filter: {name: near_captions, keep: [{if: near_text_of IS NULL, else: nearly the same caption as another row}]}
- annotate: [{score.entries: {metadata: "ENTRIES"}}]
- annotate: [{balance.metaclip: {t: 1}}]
- filter: {name: balance, keep: [{if: metaclip_keep, else: thinned by balancing}]}
"""

NEW = """
- score: [words]
- dedupe: [exact: {by: url_text}, minhash: ]
- score: [entries: {metadata: "ENTRIES"}]
- balance: [metaclip: {t: 1}]
"""


def job(folder: Path, text: str, name: str) -> Path:
    """Runs steps over PAIRS; returns the store."""
    if not (folder / "pairs.csv").exists():
        (folder / "pairs.csv").write_text(PAIRS)
        (folder / "entries.json").write_text('["red", "bus", "green", "dogs"]')
    path = folder / f"{name}.yaml"
    head = [{"read": {"input": str(folder / "pairs.csv"), "rows_per_shard": 4}}]
    body = yaml.safe_load(text.replace("ENTRIES", str(folder / "entries.json")))
    path.write_text(yaml.safe_dump({"name": "job", "steps": head + body}))
    run(load_pipeline(path, {"root": str(folder / name)}), Cluster(workers=0))
    return folder / name


@pytest.mark.slow
def test_the_new_steps_make_the_bytes_of_the_old_ones(tmp_path: Path) -> None:
    def files(root: Path) -> dict[str, str]:
        paths = (path for path in root.rglob("*.parquet"))
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    old, new = (job(tmp_path, text, name) for text, name in ((OLD, "old"), (NEW, "new")))
    assert files(old) == files(new)
    ledger = curate.open(str(new)).ledger().collect()
    assert sorted(ledger.filter(~pl.col("kept")).select("dropped_by", "reason").rows()) == [
        ("balance", "thinned by balancing"),
        ("duplicates", "the same url and caption"),
        ("near_captions", "nearly the same caption as another row"),
    ]
    assert curate.open(str(old)).ledger().collect().equals(ledger)
    seconds = curate.open(str(new)).store.manifest().runs["job"].seconds
    assert [*seconds] == [
        "read",
        "score words",
        "dedupe duplicates",
        "dedupe near_captions",
        "score entries",
        "balance",
    ]


def test_a_later_decision_sees_what_the_first_one_left(tmp_path: Path) -> None:
    """Of two equal captions one went by its url: it is no copy of the other any more."""
    root = job(tmp_path, "- dedupe: [exact: {by: url}, exact: {by: text}]", "two")
    sizes = curate.open(str(root)).table("dup_text_size").collect()["dup_text_size"].to_list()
    assert sizes == [1, None, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "- balance: [metaclip: {t: 1}, one_text: {by: url}]",
        "- balance: [metaclip: {t: 1}]\n- balance: [one_text: {by: url}]",
        "- annotate: [balance.metaclip: {t: 1}]\n- filter: {where: metaclip_keep}\n- balance: [one_text: {by: url}]",
    ],
)
@pytest.mark.slow
def test_rows_are_not_thinned_twice(tmp_path: Path, text: str) -> None:
    with pytest.raises(CurateError) as caught:
        job(tmp_path, '- score: [entries: {metadata: "ENTRIES"}]\n' + text, "twice")
    assert str(caught.value) == (
        "twice.yaml: balance (one_text): rows were dropped by 'metaclip_keep' before, and balance.one_text decides in "
        "its place: make that column in an `annotate:` step, which drops no row"
    )


@pytest.mark.slow
def test_one_text_says_why_each_row_goes(tmp_path: Path) -> None:
    text = '- score: [entries: {metadata: "ENTRIES"}]\n- annotate: [balance.metaclip: {t: 100}]\n'
    root = job(tmp_path, text + "- balance: [one_text: {by: url}]", "one")
    reasons = curate.open(str(root)).ledger().collect().filter(~pl.col("kept")).select("dropped_by", "reason").rows()
    assert reasons == [("one_text", "another text")]
