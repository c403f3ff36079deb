"""Which modules an adapter goes on, and that they are called what they are called.

Adapters stay off routers: a router decides which experts a token goes to, and its update would be learnt from the few
tokens that flip. And peft takes names that end like the experts of transformers 4 (`gate_proj`, `up_proj`, `down_proj`)
for those, also where they are names of dense layers or shared experts of today: it moves the adapter onto the routed
experts and writes a file that cannot be read back. Our names are full names of modules that exist, so it is told to
leave them alone.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_ROUTER = re.compile(r"(^|\.)(router|gate|shared_expert_gate|shared_experts_gate)(\.|$)")


def is_router(name: str, module: Any) -> bool:
    """Whether a linear layer chooses experts, by its place in the model or because it computes more than a product."""
    if _ROUTER.search(name):
        return True
    # Quantised layers have a forward of their own and are products all the same.
    ours = type(module).__module__.startswith(("torch.", "bitsandbytes."))
    return not ours and type(module).forward is not nn.Linear.forward


@contextmanager
def as_they_stand() -> Iterator[None]:
    """peft converts no names while this lasts."""
    from peft.utils import transformers_weight_conversion as conversion

    def same_config(*_: Any, **__: Any) -> None:
        return None

    def same_weights(model: Any, peft_config: Any, adapter_state_dict: Any, adapter_name: str = "default") -> Any:
        return adapter_state_dict

    names = {
        "convert_peft_config_for_transformers": same_config,
        "convert_peft_adapter_state_dict_for_transformers": same_weights,
    }
    own = {name: getattr(conversion, name) for name in names}
    try:
        for name, function in names.items():
            setattr(conversion, name, function)
        yield
    finally:
        for name, function in own.items():
            setattr(conversion, name, function)


@contextmanager
def quiet_peft() -> Iterator[None]:
    """peft asks transformers by a name that transformers 5 deprecates; users cannot do anything about that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield
