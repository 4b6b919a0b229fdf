"""Image and caption embeddings of an open_clip model, and their cosine as curation uses it (no prefix, no factor)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate.arrays.vectors import vectors_array
from curate.models.encoder import Encoder, Precision, Resize
from curate.models.names import column_name
from curate.op import Rows
from curate.pictures.decoded import Decoded
from curate.score._encoder_score import EncoderScore


class Clip(EncoderScore):
    """Columns `<name>` (cosine, float32), `<name>_img` and `<name>_txt` (unit vectors, float16), `<name>_cut` (bool).

    model: `ViT-L-14/openai` or any other open_clip architecture/tag, `hf-hub:...`, `local-dir:FOLDER`,
        `architecture//path/to/checkpoint`; by default the embedded lite0-minilm, which is not CLIP and whose cosines
        have another scale. `<name>` is clip_l14 for ViT-L-14/openai, clip_b32 for ViT-B-32/openai, lite by default.
        It runs as it was published: activation, preprocess and tokenizer are the tag's, the folder's, or those of the
        tag that a checkpoint is the file of. A checkpoint of unknown origin runs as the architecture says: one that was
        trained with QuickGELU, as those fine-tuned from OpenAI's are, is `ViT-B-32-quickgelu//path/to/checkpoint`.

    windows: what becomes of a caption that is longer than the model's context: `cut` as the tokenizer cuts it, which
        `<name>_cut` says; `average` of the vectors of its consecutive windows (ours, after ClipMD), and nothing is cut.
    precision: auto is fp16 on CUDA and fp32 on a CPU; bf16 moves cosines ten times as far as fp16.
    resize: `pillow` is open_clip's own preprocess to the byte; `torch` takes a quarter of the time, and its bytes
        differ by 1 or 2 of 255 at 0.2 % of the places: on 300 real images cosines of lite0-minilm moved by 0.00012
        (median) and 0.0018 (99 %). auto is torch on CUDA, where cores that feed it are scarce, and pillow on a CPU.
    compile: torch.compile the image tower: on a CPU 1.5 times the images a second of lite0-minilm, which has many small
        layers, and 1.02 of ViT-B/32; half a minute once a worker, and it needs a C++ compiler.
    batch_size: 64 on a CPU; on a GPU as many as its memory takes, found when the model is loaded.

    The cosine is taken from float32 vectors before they are stored as float16. A row without a caption, or with an
    empty one, has its image's vector, and so clusters, duplicates and heads; it has no cosine. A row without an image
    has nothing: most rows of a web pool that lack one never get it, and are dropped.
    """

    reads_null: ClassVar[bool] = True
    how: ClassVar[frozenset[str]] = EncoderScore.how | {"compile"}
    columns_by_name: ClassVar[bool] = True
    cite: ClassVar[str] = "Radford et al., CLIP, 2021; Ilharco et al., OpenCLIP; cosine as in LAION and DataComp"
    precision: Precision = "auto"
    windows: Literal["cut", "average"] = "cut"
    resize: Resize = "auto"
    compile: bool = False

    def table(self) -> str:
        return self.name or column_name(self.model)

    def reads(self) -> tuple[str, ...]:
        return ("image", "text")

    def makes(self) -> dict[str, pa.DataType]:
        vector = pa.list_(pa.float16())
        vectors = {f"{self.table()}_img": vector, f"{self.table()}_txt": vector}
        return {self.table(): pa.float32(), **vectors, f"{self.table()}_cut": pa.bool_()}

    def setup(self) -> None:
        self._encoder = Encoder.shared(
            self.model, self.device, precision=self.precision, resize=self.resize, compile=self.compile
        )

    def prepare_image(self, decoded: Decoded) -> Any:
        return self._encoder.pixels.one(decoded)

    def prepare_texts(self, texts: Sequence[str]) -> Sequence[Any]:
        return self._encoder.tokens.ready(texts)  # type: ignore[no-any-return]

    def batch(self, rows: Rows) -> Mapping[str, Any]:
        return self._begun(rows)()

    def begin(self, rows: Rows) -> Callable[[], Mapping[str, Any]] | None:
        return self._begun(rows) if self._encoder.queues else None

    def _begun(self, rows: Rows) -> Callable[[], Mapping[str, Any]]:
        captions = rows["text"].to_pylist()
        spoken = np.array([bool(c and c.strip()) for c in captions])
        # Both are begun before one is waited for: the device goes from one to the other.
        images = self._encoder.begin_images(rows.images)
        texts = None
        if spoken.any():
            places = np.flatnonzero(spoken).tolist()
            whole = [captions[i] for i in places] if self.windows == "average" else None
            texts = self._encoder.begin_captions([rows.texts[i] for i in places], whole)
        return lambda: self._values(captions, spoken, images(), texts)

    def _values(
        self, captions: Sequence[str | None], spoken: np.ndarray, images: np.ndarray, encoded: Any
    ) -> Mapping[str, Any]:
        """encoded: waits for the vectors of the captions that say something, and for which of them were cut."""
        texts, cut = np.zeros_like(images), np.full(len(captions), None, object)
        if encoded is not None:
            texts[spoken], cut[spoken] = encoded()
        seen, read = (np.isfinite(vectors).all(axis=1) for vectors in (images, texts))
        with np.errstate(invalid="ignore"):
            cosine = np.einsum("nd,nd->n", images, texts, dtype=np.float32)
        silent = np.where([c is None for c in captions], "no_text", "empty_text")
        return {
            self.table(): pa.array(cosine, pa.float32(), mask=~(spoken & seen & read)),
            f"{self.table()}_img": vectors_array(images.astype(np.float16), ~seen),
            f"{self.table()}_txt": vectors_array(texts.astype(np.float16), ~(spoken & read)),
            f"{self.table()}_cut": pa.array(cut, pa.bool_()),
            "status": np.where(seen & read, np.where(spoken, "ok", silent), "not_finite_vector"),
        }
