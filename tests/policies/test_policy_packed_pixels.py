"""Pictures of several rows in one batch are what the processor makes of them together."""

from __future__ import annotations

import torch
from PIL import Image
from tiny_models import need_torchvision, tiny

from r3v.policies.model.encode.encoded import joined


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


def test_numbers_of_patches_go_on_from_row_to_row() -> None:
    """Two rows of 2 and 1 crops of 3 patches: the second row's patches come after the 6 of the first; -1 is none."""
    rows = [
        {"pixel_values": torch.zeros(2, 3, 4), "image_token_pooling": torch.tensor([[0, 5], [1, -1]])},
        {"pixel_values": torch.ones(1, 3, 4), "image_token_pooling": torch.tensor([[0, 2]])},
    ]
    found = joined(rows)
    assert found["image_token_pooling"].tolist() == [[0, 5], [1, -1], [6, 8]]
    assert found["pixel_values"].shape == (3, 3, 4)
    assert rows[1]["image_token_pooling"].tolist() == [[0, 2]], "what is kept of a picture stays as it is"
