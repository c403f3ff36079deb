"""From prompts and replies to the ids, pixels and positions a model takes, and back to text.

One `Encoder` serves sampling, scoring and training, so that a model is trained on exactly the tokens it is asked with.
Read `encoder` first; `template` writes a chat, `special` says which tokens mean something, `pictures` and `prompt` make
the tokens of a prompt, `reply` and `target` those of a reply, `token_types` what else a processor says of each token.
"""

from __future__ import annotations

from r3v.policies.model.encode.encoded import Encoded
from r3v.policies.model.encode.encoder import Encoder
from r3v.policies.model.encode.positions import has_three_positions

__all__ = ["Encoded", "Encoder", "has_three_positions"]
