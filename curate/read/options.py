"""What the step `read` can be told."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from curate.read.captions import Choice
from curate.read.crawl_links import LinkRules
from curate.refuse.opt_out import lists_id


class ReadOptions(BaseModel):
    """How to read an input.

    input: a file, folder or glob, local or any fsspec URL, with {000..999} or {a,b} in it, or a list of such.
    format: auto (by extension), or the name of an input format.
    columns: our name to the input's, e.g. {url: image_link}; found by the usual names where not given. `text:
        en.caption` is a field of a struct; `text: null` says that there are no captions, `uid: null` that uids are to
        be made. `image: photo` names the column that holds images, as bytes or {bytes, path}, or the paths of image
        files, which may then lie anywhere; `image: null` takes none.
    caption: of a list of captions the first, a random one, or each in a row of its own.
    seed: of the random caption.
    as_text: columns that are kept as text, where files differ in their types.
    link_rules: by which a web page's image links become rows, where the input is Common Crawl's: laion, metaclip2 (a
        row for each of alt, title and data-image-title) or cc2dataset (alt texts as they are); see docs/inputs.md.
    npz: arrays of the .npz beside each parquet that become columns, e.g. [b32_img, l14_img] of DataComp.
    opt_out: files of urls, domains or sha256 whose owners opted out, as for `download`: their rows come in, are out
        from the beginning, and get no image of the input.
    append: add this input to a store that was read from another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str | tuple[str, ...]
    format: str = "auto"
    columns: dict[str, str | None] = {}
    caption: Choice = "first"
    seed: int = 0
    as_text: tuple[str, ...] = ()
    link_rules: LinkRules = "laion"
    npz: tuple[str, ...] = ()
    opt_out: tuple[str, ...] = ()
    append: bool = False
    rows_per_shard: int = Field(10_000, ge=1, le=1_000_000)

    @property
    def place(self) -> str:
        """The input in one string."""
        return self.input if isinstance(self.input, str) else ", ".join(self.input)

    @property
    def choices(self) -> dict[str, Any]:
        """What decides the records of a file besides the file."""
        others: dict[str, Any] = {"link_rules": self.link_rules} if self.link_rules != "laion" else {}
        others |= {"npz": list(self.npz)} if self.npz else {}
        others |= {"opt_out": lists_id(self.opt_out)} if self.opt_out else {}
        return self.model_dump(mode="json", include={"columns", "caption", "seed", "as_text"}) | others
