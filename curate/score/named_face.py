"""Whether the caption names somebody of a list and the image has a face: for people who opted out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PrivateAttr

from curate.errors import CurateError
from curate.metaclip.unspaced import SCRIPTS
from curate.op import Rows, Score
from curate.refuse.lists import read_list
from curate.store.file_hash import file_sha256

#: Marks over and under letters of Latin, Greek and Cyrillic; those of other scripts are letters of their own.
_ACCENTS = re.compile("[\u0300-\u036f]")
#: A word: a character of a script that puts no blanks between words, or letters, digits and marks behind them.
_WORD = re.compile(
    rf"[{SCRIPTS}]|(?:[^\W_{SCRIPTS}][^\W_{SCRIPTS}\u0900-\u0903\u093a-\u094f\u0980-\u0983\u09bc-\u09cd]*)"
)


class NamedFace(Score):
    """`named_face`: the caption holds a name of a list, as whole words, and the image has a face.

    Capital letters and accents make no difference (Beyoncé, BEYONCE), nor does what stands between words (Jean-Luc,
    Jean Luc). Names in scripts without blanks (Chinese, Japanese, Thai) match anywhere. Inflected names do not match.

    names: a file with a name a line (.txt, also packed or a URL); lines that begin with # are passed over.
    boxes: the column of face boxes: of `score.faces`, or DataComp's. An empty list is an image without a face.
    """

    version: ClassVar[int] = 1
    cite: ClassVar[str] = "curate; boxes as in Gadre et al., DataComp, 2023 (face blurring)"
    # The list is known by its content, wherever it lies.
    how: ClassVar[frozenset[str]] = Score.how | {"names"}
    batch_size: int = 10_000
    names: str = Field(min_length=1)
    boxes: str = "face_bboxes"

    _names: Any = PrivateAttr(None)

    def reads(self) -> tuple[str, ...]:
        return ("text", self.boxes)

    def makes(self) -> dict[str, pa.DataType]:
        return {"named_face": pa.bool_()}

    def weights(self) -> str:
        try:
            return file_sha256(self.names)[:16]
        except OSError as error:
            raise CurateError(f"score.named_face: the list '{self.names}' cannot be read: {error}") from error

    def check(self) -> None:
        self._listed()

    def setup(self) -> None:
        self._names = self._listed()

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        boxes = rows[self.boxes]
        if not (pa.types.is_list(boxes.type) or pa.types.is_large_list(boxes.type)):
            raise CurateError(f"score.named_face: '{self.boxes}' holds {boxes.type}, and no lists of boxes")
        faces = pc.greater(pc.list_value_length(boxes), 0).to_numpy(zero_copy_only=False)
        named = np.array([_holds(_words(text), self._names) for text in rows["text"].to_pylist()], bool)
        return {"named_face": named & faces.astype(bool)}

    def _listed(self) -> dict[str, set[tuple[str, ...]]]:
        """Names by their first word, each as its words.

        Raises:
            CurateError: for a list that cannot be read, names nobody, or has a line without a letter or digit.
        """
        names: dict[str, set[tuple[str, ...]]] = {}
        for _, lines in read_list(self.names, "name"):
            for line in lines.to_list():
                words = tuple(_words(line))
                if not words:
                    raise CurateError(f"score.named_face: '{line}' in '{self.names}' is no name")
                names.setdefault(words[0], set()).add(words)
        if not names:
            raise CurateError(f"score.named_face: the list '{self.names}' names nobody")
        return names


def _words(text: str) -> list[str]:
    """
    >>> _words("BEYONCÉ & Jean-Luc O'Neill_2"), _words("歌手王菲")
    (['beyonce', 'jean', 'luc', 'o', 'neill', '2'], ['歌', '手', '王', '菲'])
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return _WORD.findall(unicodedata.normalize("NFC", _ACCENTS.sub("", folded)))


def _holds(words: list[str], names: Mapping[str, set[tuple[str, ...]]]) -> bool:
    return any(
        tuple(words[place : place + len(name)]) == name
        for place, word in enumerate(words)
        for name in names.get(word, ())
    )
