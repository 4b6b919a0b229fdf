"""FileScore and HeadScore: what scores have in common whose weights are one published file, named by path or URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from curate.models.heads import check_file, identity, packages_for
from curate.models.made_by import refuse_older
from curate.op import Op, Score


class FileScore(Score):
    """A Score whose weights are a file: its content, not the place, is part of the table's identity."""

    how: ClassVar[frozenset[str]] = Op.how | {"file", "sha256"}

    file: str
    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")

    def weights(self) -> str:
        return identity(self.file, self.sha256)

    def check(self) -> None:
        check_file(self.file, self.sha256, self.setup)


class HeadScore(FileScore):
    """A FileScore that reads stored image embeddings: a head on an image-text model."""

    columns_by_name: ClassVar[bool] = True

    batch_size: int = 4096
    by: str = "clip_l14_img"

    def reads(self) -> tuple[str, ...]:
        return (self.by,)

    def packages(self) -> tuple[str, ...]:
        return packages_for(self.file)

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        refuse_older(self, made_by)
