"""The fused reflection loss in a plain PyTorch loop, on prefix-trie batches: no trainer at all.

    python -m r3v.recipes.plug_torch

Hardware: 1 CPU core. Time: half a minute. Expect: step 0 loss 0.233, step 19 loss 0.209, as in every plug_*.py.

One row of the batch is one problem: image and question once, then its answer, refine, keep and select
branches, each seeing only the common prefix and itself. The other plug_*.py recipes train the same
branches as separate padded rows and reach the same losses.
"""

from __future__ import annotations

from r3v.losses import reduce
from r3v.policies.model.encode import Encoder
from r3v.recipes.plug_common import ROW_LOSS, Settings, adamw, load_model, main, make_examples
from r3v.training.forward import token_logprobs
from r3v.training.layout.batching import collate
from r3v.training.layout.trie import build_trie


def train(settings: Settings) -> list[float]:
    """Loss of every step."""
    model, processor = load_model(settings.model)
    encoder = Encoder(processor, model.config, generation_config=model.generation_config)
    optimizer = adamw(model.parameters(), settings.lr)
    tries = [build_trie(group, encoder, model=model)[0] for group in make_examples(settings)]
    losses = []
    for start in range(0, len(tries), settings.problems_per_step):
        step = [trie for trie in tries[start : start + settings.problems_per_step] if trie is not None]
        batch = collate(step, pad_id=encoder.tokenizer.pad_token_id, collate_images=encoder.collate_images)
        inputs = batch.loss_inputs(token_logprobs(model, batch, "fused"))
        loss, _ = reduce(ROW_LOSS.loss(inputs), mode=ROW_LOSS.mode)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


if __name__ == "__main__":
    main(train, __doc__)
