"""LAION's watermark detector: an EfficientNet-B3 whose classifier has three layers, by timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curate.models.device import chosen
from curate.models.feed import lane_to
from curate.models.heads import UNUSED, checked
from curate.models.open_clip_import import open_clip
from curate.models.pixels import Pixels, pieces_of

#: Images are squashed to this square, bilinear, and normalised as ImageNet's are.
SIZE_PX = 256
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

#: Images a GPU gets at a time.
CUDA_BATCH = 256


class WatermarkNet:
    """Probabilities of a watermark; weights by their names in the published file.

    Raises:
        CurateError: for weights of another architecture, by layer, or for cuda where there is none.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], source: str, device: str = "auto"):
        import torch

        self._torch = torch
        self.device = chosen(device)
        self.model = network()
        shapes = {n: tuple(t.shape) for n, t in self.model.state_dict().items() if n.rpartition(".")[2] != UNUSED}
        state = {name: torch.from_numpy(values) for name, values in checked(weights, shapes, source).items()}
        self.model.load_state_dict(state, strict=False)  # what batch norms counted is not there
        self.model.to(self.device).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        preprocess = open_clip().image_transform(
            SIZE_PX, is_train=False, mean=IMAGENET[0], std=IMAGENET[1], resize_mode="squash", interpolation="bilinear"
        )
        self.pixels = Pixels(preprocess, self.device, fast=self.device != "cpu", lane=lane_to(self.device))

    def __call__(self, prepared: Sequence[Any]) -> np.ndarray:
        """float32, n, of what `pixels.one` made of images."""
        torch = self._torch
        pieces = pieces_of(prepared, self.pixels.piece if self.device == "cpu" else CUDA_BATCH)
        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.float16, enabled=self.device != "cpu"):
            logits = torch.cat([self.model(self.pixels.batch(piece)).float() for piece in pieces])
        scores: np.ndarray = logits.softmax(dim=1)[:, 0].cpu().numpy()
        return scores


def network() -> Any:
    """The architecture with random weights."""
    open_clip()  # timm needs torchvision, which does not always import as it is
    import timm
    from torch import nn

    model = timm.create_model("efficientnet_b3", num_classes=2)
    model.classifier = nn.Sequential(
        nn.Linear(model.num_features, 625),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(625, 256),
        nn.ReLU(),
        nn.Linear(256, 2),
    )
    return model
