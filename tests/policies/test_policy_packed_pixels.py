"""Pictures of several rows in one batch are what the processor makes of them together."""

from __future__ import annotations

import torch
from PIL import Image
from tiny_models import need_torchvision, tiny


def test_packed_patches_are_joined_as_their_processor_joins_them() -> None:
    """MiniCPM-V 4.6 lays the patches of all pictures side by side, whatever their sizes: two rows, one with two."""
    need_torchvision()
    from transformers.models.minicpmv4_6.image_processing_minicpmv4_6 import MiniCPMV4_6ImageProcessor

    generator = torch.Generator().manual_seed(0)
    sizes = ((112, 56), (84, 140), (56, 56))
    pictures = [
        Image.fromarray(torch.randint(0, 256, (h, w, 3), dtype=torch.uint8, generator=generator).numpy())
        for w, h in sizes
    ]
    processor = MiniCPMV4_6ImageProcessor()

    def made(some: list[Image.Image]) -> dict[str, torch.Tensor]:
        output = processor(some, return_tensors="pt")
        return {name: output[name] for name in ("pixel_values", "target_sizes")}

    together = made(pictures)
    joined = tiny("idefics3").encoder.collate_images([made(pictures[:2]), {}, made(pictures[2:])])
    assert joined.keys() == together.keys()
    for name, tensor in together.items():
        assert torch.equal(joined[name], tensor), name
