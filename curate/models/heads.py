"""Published weight files of small heads on stored embeddings: opened by path or URL, checked, never unpickled."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tokenize
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa

from curate.arrays.vectors import Vectors
from curate.errors import CurateError
from curate.store.file_hash import file_sha256

TORCH = (".pth", ".pt")
FORMATS = (*TORCH, ".safetensors", ".npy")
PICKLES = (".p", ".pkl", ".pickle")
#: A longer file is no head: the largest published one is under 30 MB.
MOST_BYTES = 256 << 20
#: What a batch norm counts while it is trained; the forward pass has no use for it.
UNUSED = "num_batches_tracked"

#: What torch and numpy raise over a file that is cut short, or something else.
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, AttributeError, AssertionError),
    *(LookupError, SyntaxError, struct.error, tokenize.TokenError, pickle.UnpicklingError),
)

_CONVERT = (
    "a pickle can run code when it is opened. Convert it once, where you trust it: "
    "numpy.save('weights.npy', numpy.asarray(pickle.load(open('FILE', 'rb')), numpy.float32))"
)


def open_weights(source: str, sha256: str = "") -> dict[str, np.ndarray]:
    """Layer name -> float32 array; a file that holds one bare array has it under the name ''.

    source: a .pth, .pt, .safetensors or .npy, as a path or as any fsspec URL (a member of an archive, too:
        `zip://head.pth::https://...`; the sha256 is then that of the member).
    sha256: of the file, 64 hex digits; a URL cannot do without.

    Raises:
        CurateError: for a URL without sha256, a file of another sha256, a pickle, or a file that is not what its
            ending says.
    """
    suffix = check_source(source, sha256)
    data = read_checked(source, sha256)
    try:
        layers = _parse(data, suffix)
    except UNREADABLE as error:
        first = str(error).partition("\n")[0]
        raise CurateError(f"'{source}' is no {suffix} file of tensors alone: {first}") from error
    for name, values in layers.items():
        if not np.isfinite(values).all():
            raise CurateError(f"'{source}': layer '{name}' has numbers that are not finite")
    return layers


def _parse(data: bytes, suffix: str) -> dict[str, np.ndarray]:
    if suffix == ".npy":
        return {"": np.load(io.BytesIO(data), allow_pickle=False).astype(np.float32)}
    import torch

    if suffix == ".safetensors":
        # Through torch: numpy has no bfloat16.
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            tensors: Any = load(data)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    else:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if isinstance(tensors, torch.Tensor):
        tensors = {"": tensors}
    if not isinstance(tensors, Mapping) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise ValueError("it holds something other than a tensor, or a dict of tensors")
    return {str(name): tensor.detach().float().numpy() for name, tensor in tensors.items()}


def packages_for(source: str) -> tuple[str, ...]:
    """Modules outside the base install that reading such a file takes.

    >>> packages_for("head.npy"), packages_for("head.pth")
    ((), ('torch', 'safetensors'))
    """
    return () if source.partition("?")[0].endswith(".npy") else ("torch", "safetensors")


def is_url(source: str) -> bool:
    """
    >>> is_url("https://a.example/head.pth"), is_url("/models/head.pth"), is_url("file:///models/head.pth")
    (True, False, False)
    """
    return "://" in source and not source.startswith("file://")


def check_source(source: str, sha256: str = "", formats: tuple[str, ...] = FORMATS) -> str:
    """The file's ending; reads nothing.

    Raises:
        CurateError: for a URL without sha256, a pickle, an unknown ending, or a local file that is not there.
    """
    parts = [PurePosixPath(part.partition("?")[0]).suffix.lower() for part in source.split("::")]
    suffix = next((s for s in parts if s in formats or s in PICKLES), parts[0])
    if suffix in PICKLES:
        raise CurateError(f"'{source}' is refused: {_CONVERT.replace('FILE', PurePosixPath(source).name)}")
    if suffix not in formats:
        raise CurateError(f"'{source}' ends in '{suffix}', expected {', '.join(formats)}")
    if is_url(source):
        if not sha256:
            raise CurateError(f"'{source}' is a URL: give its `sha256`, what a URL leads to may change")
    elif not Path(source.removeprefix("file://")).is_file():
        raise CurateError(f"no file '{source}'")
    return suffix


def check_file(source: str, sha256: str, load: Callable[[], None], formats: tuple[str, ...] = FORMATS) -> None:
    """Before any work: a local file is loaded and so checked whole, of a URL one byte is read."""
    check_source(source, sha256, formats)
    if is_url(source):
        check_there(source)
    else:
        load()


def check_there(source: str) -> None:
    """
    Raises:
        CurateError: for a file that cannot be opened, or that is empty.
    """
    try:
        with fsspec.open(source, "rb") as file:
            first = file.read(1)
    except (OSError, ImportError, ValueError) as error:
        raise CurateError(
            f"cannot read '{source}': {type(error).__name__}: {error}; a file at hand needs no network"
        ) from error
    if not first:
        raise CurateError(f"'{source}' is empty")


def read_checked(source: str, sha256: str = "", most_bytes: int = MOST_BYTES) -> bytes:
    """The file's bytes.

    Raises:
        CurateError: when it cannot be read, is longer than `most_bytes`, or has another sha256 than the one given.
    """
    try:
        with fsspec.open(source, "rb") as file:
            data: bytes = file.read(most_bytes + 1)
    except (OSError, ImportError, ValueError) as error:
        raise CurateError(f"cannot read '{source}': {error}") from error
    if len(data) > most_bytes:
        raise CurateError(f"'{source}' is longer than {most_bytes:,} bytes")
    digest = hashlib.sha256(data).hexdigest()
    if sha256 and digest != sha256.lower():
        raise CurateError(f"'{source}' has the sha256 {digest}, expected {sha256.lower()}")
    return data


def identity(source: str, sha256: str = "") -> str:
    """sha256 of the file: the one given, which loading checks, or that of the local file."""
    if sha256:
        return sha256.lower()
    check_source(source, sha256, (PurePosixPath(source).suffix.lower(),))
    return file_sha256(source.removeprefix("file://"))


def checked(
    weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int | None, ...]], source: str
) -> dict[str, np.ndarray]:
    """The layers of an architecture, and no others; None in a shape fits any length.

    Raises:
        CurateError: naming the layer that is missing, unknown, or of another shape, with both shapes.
    """
    layers = {name: values for name, values in weights.items() if name.rpartition(".")[2] != UNUSED}
    for name, shape in shapes.items():
        if name not in layers:
            raise CurateError(f"'{source}' has no layer '{name}'; it has: {', '.join(sorted(layers)) or 'none'}")
        actual = layers[name].shape
        if len(actual) != len(shape) or any(w is not None and w != f for w, f in zip(shape, actual, strict=True)):
            expected = ["any" if n is None else n for n in shape]
            raise CurateError(
                f"'{source}': layer '{name}' is {list(actual)}, expected [{', '.join(str(n) for n in expected)}]"
            )
    for name in sorted(layers):
        if name not in shapes:
            raise CurateError(f"'{source}' has a layer '{name}' that the architecture has not: another head's file?")
    return layers


def linear_shapes(layers: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int | None, ...]]:
    """Shapes of torch's linear layers, `{name: (in, out)}`.

    >>> linear_shapes({"dense": (768, 64)})
    {'dense.weight': (64, 768), 'dense.bias': (64,)}
    """
    shapes: dict[str, tuple[int | None, ...]] = {}
    for name, (into, out) in layers.items():
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    return shapes


def linear(rows: np.ndarray, weights: Mapping[str, np.ndarray], layer: str) -> np.ndarray:
    """x W' + b of torch's linear layer."""
    return np.asarray(rows @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"])


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), without overflow at either end.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


def result(vectors: Vectors, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Values of a head, one per row; null where the row's vector cannot be used, with the status that says why."""
    arrays: dict[str, Any] = {name: pa.array(values, mask=~vectors.good) for name, values in columns.items()}
    return {**arrays, "status": vectors.status}
