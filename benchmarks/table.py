"""Every benchmark, one after the other, as one Markdown table: what was the ratio before, and what is it now.

    python benchmarks/table.py [--quick] [--only WORD ...] [--to table.md]

A command that several rows name runs once; its whole output goes to stderr. It fails at the end where a command did, or
did not print what its row shows. `--quick` runs all with few rows, to see whether they do: their numbers say nothing.
`before` is version 0.1 on 2 shared cores of an AMD EPYC without AVX-512.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from run import hardware


@dataclass(frozen=True)
class Row:
    """work: what is measured. before: its number then, beside the limit or the peer. command: below benchmarks/.
    quick: what makes it small. lines: the printed lines that are shown."""

    work: str
    before: str
    command: str
    quick: str
    lines: str


DEMO = ("commands.py", "--rows 300 --rounds 1")
PIXELS = ("pixels.py", "--rows 3 --rounds 1")
READ = ("read.py", "--rows 20000 --rounds 1")
CAPTIONS = ("captions.py", "--rows 10000 --rounds 1")
WRITE = ("write.py --sizes 10 100", "--megabytes 4 --rounds 1")
DOWNLOAD = ("download.py --skip-failures", "--rows 60 --rounds 1")
FILTER = ("filter.py", "--rows 50000 --rounds 1")
MATCHER = ("matcher.py", "--entries 20000 --rows 20000 --share 2000 --rounds 1")
STANDIN = ("standin.py", "--rows-per-shard 300")
TINY = ("score.py --model tiny --resize torch --no-passes --rows 2000", "--rows 100 --rounds 1")
ROWS = [
    Row("demo, 2,000 rows, whole command", "222 s, 64 of them starts", *DEMO, "kernels there"),
    Row("another threshold, whole command", "35.6 s", *DEMO, "another threshold"),
    Row("nothing changed, whole command", "3.9 to 4.9 s", *DEMO, "nothing changed"),
    Row("first run after an install", "26 s of compiling in each worker", *DEMO, "first run"),
    Row("filter, 10^6 rows", "2.1 s of the processor; 0.05x polars", *FILTER, "^curate"),
    Row("filter, 10^7 rows", "17.7 s", "filter.py --rows 10000000 --rounds 3", "--rows 50000 --rounds 1", "^curate"),
    Row("bytes of a table beside its values, a row", "17.2", *FILTER, "bytes a row"),
    Row("read csv", "0.02x polars", *READ, "csv: (polars|curate, both)"),
    Row("read jsonl", "0.07x polars", *READ, "jsonl: (polars|curate, both)"),
    Row("uids", "0.19x DuckDB", *READ, "uids: (DuckDB|curate)"),
    Row("exact duplicates", "0.07x polars", "exact.py", "--rows 20000 --rounds 1", "."),
    Row("words", "0.60 s/M", *CAPTIONS, "^words"),
    Row("text_rules", "4.34 s/M", *CAPTIONS, "^text_rules"),
    Row("language", "0.74 of fastText alone", *CAPTIONS, "^language"),
    Row("minhash", "0.56x rensa", "minhash.py", "--rows 3000 --share 300 --rounds 1", "captions/s"),
    Row("matching of entries", "1.28 million captions/s", *MATCHER, "captions/s"),
    Row("step of score.entries", "7.4 s/M", "growth.py --sizes 1000000 --only entries", "--sizes 20000", "entries"),
    Row("download, exact pixels", "1.0x img2dataset", *DOWNLOAD, "(resizer|curate|img2dataset)  "),
    Row("fetch without pictures", "930 images/s", *DOWNLOAD, "files kept"),
    Row("image_quality, phash, pdq", ".24, .26, .19 of cv2's 1,674, 1,442, 1,606/s", *PIXELS, "quality|phash|pdq"),
    Row("feed a GPU, 512 px", "0.51 of pictures alone", *TINY, "images/s"),
    Row("the pass itself, an image", "89 microseconds", "standin.py --frame", "--rows-per-shard 500", "microseconds"),
    Row("CLIP tokens", "0.3x of tokenizers", "tokens.py", "--rows 500 --rounds 1", "."),
    Row("text_boxes", "0.86 of its detector; 10x rapidocr's", "pixels.py --text --rows 10", "--rows 2 --rounds 1", "."),
    Row("archive", "7.5x webdataset; .46 of plain writes", *WRITE, "plain writes|store.tar|TarWriter, mtime"),
    Row("write step", "4.6x webdataset; .20 of copy and sha256", *WRITE, "copy and|WriteShard|webdataset, mtime"),
    Row("verify, of a store", ".96 of sha256, of written shards", *WRITE, "sha256 alone|verify"),
    Row("an H100, ViT-B/32, by a stand-in", "about 0.25 of the model alone", *STANDIN, "ceiling|lower"),
    Row("near PDQ hashes", "", "near_pdq.py", "--rows 3000 --rounds 1", "curate is"),
    Row("near image hashes", "", "near_images.py", "--rows 3000 --rounds 1", "curate is"),
    Row("selections by vectors", "", "selections.py", "--rows 4096 --centroids 500 --targets 500 --batch 2048", "core"),
    Row("semantic duplicates", "", "semantic.py", "--rows 2000 --rounds 1", "."),
    Row("what a framework costs", "", "run.py", "--rows 300 --pictures 100 --rounds 1", "bare loop|processor;"),
    Row("two nodes; 1, 2, 4 workers", "", "run.py --nodes 2", "--rows 3000", "workers .* s,|this process"),
    Row("new rows against old ones", "", "growth.py --against", "--sizes 5000 --words 5000", "against"),
    Row("peak memory of workers", "", "memory.py", "--rows 50000 --limits 1", "peak|->"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=[""], help="rows with one of these words in them")
    parser.add_argument("--to", type=Path, help="also written to this file")
    options = parser.parse_args()
    lines = [hardware(), "", "| work | before | now | command |", "| --- | --- | --- | --- |"]
    rows = [row for row in ROWS if any(word in row.work for word in options.only)]
    print(*lines, sep="\n", flush=True)
    for row in rows:
        lines.append(cells(row, options.quick))
        print(lines[-1], flush=True)
    if options.to:
        options.to.write_text("\n".join(lines) + "\n")
    if failed := [line for line in lines if "| FAILS |" in line]:
        raise SystemExit(f"{len(failed)} of {len(rows)} rows failed, see above")


def cells(row: Row, quick: bool) -> str:
    command = f"{row.command} {row.quick}" if quick else row.command
    shown = [" ".join(line.split()) for line in printed(command) if re.search(row.lines, line)]
    shown = shown or ["FAILS"]
    return f"| {row.work} | {row.before} | {'<br>'.join(shown)} | `{command}` |"


@cache
def printed(command: str) -> list[str]:
    """Lines of a benchmark, without that of the hardware."""
    script, *rest = shlex.split(command)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / script), *rest], capture_output=True, text=True, check=False
    )
    print(f"== {command}: {time.monotonic() - began:.0f} s\n{done.stdout}{done.stderr}", file=sys.stderr, flush=True)
    if done.returncode:
        return []
    return [line for line in done.stdout.splitlines() if " cores, " not in line]


if __name__ == "__main__":
    main()
