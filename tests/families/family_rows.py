"""Model families x features: each tried on a tiny random model of the family, and the page that says what came out.

Every family's own processor and weights go to a folder and are loaded through the library. The reference is
transformers' own: `generate` and a forward over whole rows, on what the processor's own call returns. `family_table` is
the command.
"""

from __future__ import annotations

import gc
import inspect
import io
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import family_dense  # noqa: F401
import family_mixed  # noqa: F401
import torch
from family_kit import FAMILIES, folder_of
from some_prompts import STYLE, problem, some_prompts
from tiny_models import NAMES
from training_examples import examples_of

from r3v import prompts as words
from r3v.errors import R3VError
from r3v.policies.base import SamplingParams
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import add_lora, load
from r3v.policies.model.quantised import quantised_names
from r3v.policies.model.structure import base_model
from r3v.policies.sampling.hf import HFPolicy
from r3v.policies.sampling.sharing_check import why_not_shared
from r3v.records import Example, Prompt
from r3v.settings.config import ModelConfig
from r3v.training.forward import token_logprobs, why_not_fusable
from r3v.training.layout.batching import collate
from r3v.training.layout.trie import build_trie

COLUMNS = ("load", "sample", "select", "shared prompts", "fused fit", "nf4", "vLLM")
TESTED, UNKNOWN, WRONG = "tested", "unknown", "WRONG"
OWN = {
    "qwen2_vl": "Qwen2-VL",
    "qwen2_5_vl": "Qwen2.5-VL",
    "qwen3_vl": "Qwen3-VL",
    "llava": "LLaVA 1.5",
    "idefics3": "Idefics3 (geoworld-tiny, smolgeo)",
    "gemma3": "Gemma 3",
}
"""The families that the rest of the tests run on, by the titles of the table."""
VLLM = ("idefics3",)
"""Families that `tests/policies/server/test_engine_vllm.py` serves with real vLLM."""
FAR = 2e-3
"""Nats beyond which a log-probability is another one."""


@dataclass(frozen=True)
class Cell:
    """`state`: tested, refuses, no (done another way, with the same result), unknown, or WRONG; `why` in words."""

    state: str
    why: str = ""


@dataclass
class Row:
    title: str
    cells: dict[str, Cell] = field(default_factory=dict)


# ---- the reference -------------------------------------------------------------------------------


def own_inputs(loaded: Loaded, prompt: Prompt, after: Sequence[int] = ()) -> dict[str, Any]:
    """What the processor makes of a chat by its public call, with the tokens `after` it, as the forward takes it."""
    from r3v.data.images import decode

    processor, model = loaded.processor, base_model(loaded.model)
    chat = processor.apply_chat_template(prompt.chat(), add_generation_prompt=True, tokenize=False)
    bos = processor.tokenizer.bos_token
    options = {"add_special_tokens": False} if bos and chat.startswith(bos) else {}
    pictures = [decode(image) for image in prompt.images]
    output = processor(text=[chat], images=[pictures] if pictures else None, return_tensors="pt", **options)
    own = {k: v for k, v in output.items() if isinstance(v, torch.Tensor)}
    taken = inspect.signature(model.forward).parameters
    marks = (own["input_ids"] == loaded.encoder.image_token_id).int()
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in taken and name not in own:
            own[name] = marks
    shape, tail = own["input_ids"].shape, torch.tensor([list(after)], dtype=torch.long)
    for name, value in own.items():
        if value.shape == shape and after:
            rest = tail if name == "input_ids" else torch.full_like(tail, int(name == "attention_mask"))
            own[name] = torch.cat([value, rest.to(value.dtype)], dim=1)
    for part in (model, getattr(model, "model", None)):
        if part is not None and hasattr(part, "rope_deltas"):
            part.rope_deltas = None
    passed = any(p.kind == p.VAR_KEYWORD for p in taken.values())
    return {k: v.to(model.dtype) if v.is_floating_point() else v for k, v in own.items() if k in taken or passed}


def own_logprobs(loaded: Loaded, prompt: Prompt, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of `ids` after the prompt by one forward over all of it."""
    logits = loaded.model(**own_inputs(loaded, prompt, ids)).logits[0, -len(ids) - 1 : -1].float()
    return logits.log_softmax(-1).gather(-1, torch.tensor(list(ids))[:, None])[:, 0]


def prompts() -> list[Prompt]:
    """Two problems with pictures of unlike size, one with two pictures."""
    one = some_prompts(3)
    return [one[0], Prompt("two", (*one[1].messages, *one[2].messages)), one[2]]


# ---- the checks: None where all is well, else what is wrong --------------------------------------


def sample(loaded: Loaded) -> str | None:
    rows = HFPolicy(loaded, slots=2).generate(prompts(), 1, SamplingParams(temperature=0, max_new_tokens=10))
    size = base_model(loaded.model).get_output_embeddings().weight.shape[0]
    banned = [*loaded.encoder.banned_ids, *range(len(loaded.encoder.tokenizer), size)]
    for prompt, (candidate,) in zip(prompts(), rows, strict=True):
        own = own_inputs(loaded, prompt)
        found = base_model(loaded.model).generate(
            **own, do_sample=False, max_new_tokens=10, suppress_tokens=[i for i in banned if i < size] or None
        )
        wanted = found[0, own["input_ids"].shape[1] :].tolist()
        if list(candidate.token_ids) != wanted:
            return f"{prompt.problem_id}: {list(candidate.token_ids)} for {wanted}"
    return None


def select(loaded: Loaded) -> str | None:
    """Select prompts of one picture in two orders, and a solve prompt, each with two continuations."""
    asked = problem(1)
    texts = ["1 + 1 = 2. Answer: 2", "Answer: 1"]
    shown = [words.select(asked, STYLE, order) for order in (texts, texts[::-1])] + [words.solve(asked, STYLE)]
    replies = ["[1] Answer: 2", "[2] Answer: 1"]
    scores = HFPolicy(loaded, slots=2).score(shown, [replies] * 3)
    with torch.no_grad():
        for prompt, row in zip(shown, scores, strict=True):
            for score in row:
                gap = own_logprobs(loaded, prompt, score.token_ids) - torch.tensor(score.logprobs)
                if not float(gap.abs().max()) <= FAR:
                    return f"{float(gap.abs().max()):.2g} nats off"
    return None


def fused(loaded: Loaded) -> str | None:
    """Loss and LoRA gradient of eight branches of two problems, on one row each, against one example at a time."""
    config = ModelConfig(lora_r=4, lora_alpha=8)
    lora = replace(loaded, model=add_lora(loaded.model, config, 0), config=config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in lora.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    trained = [p for p in lora.model.parameters() if p.requires_grad]
    problems = [examples_of(2), examples_of(3)]
    tries = [build_trie(some, lora.encoder, model=lora.model)[0] for some in problems]
    batch = collate(
        [trie for trie in tries if trie is not None], fused=True, pad_id=0, collate_images=lora.encoder.collate_images
    )
    fast = -token_logprobs(lora.model, batch, "fused").sum()
    plain = torch.zeros(())
    for example in [e for some in problems for e in some]:
        plain = plain - own_logprobs(lora, example.prompt, _target(lora, example)).sum()
    ways = [
        (loss, torch.cat([_flat(g, p) for g, p in zip(grads, trained, strict=True)]))
        for loss in (fast, plain)
        for grads in [torch.autograd.grad(loss, trained, allow_unused=True)]
    ]
    loss = abs(float(ways[0][0] - ways[1][0])) / float(ways[1][0])
    gradient = float((ways[0][1] - ways[1][1]).norm() / ways[1][1].norm())
    return None if loss < 1e-4 and gradient < FAR else f"loss {loss:.1e} off, gradient {gradient:.1e}"


def _target(loaded: Loaded, example: Example) -> tuple[int, ...]:
    return loaded.encoder.target(example.target)


def _flat(gradient: torch.Tensor | None, parameter: torch.Tensor) -> torch.Tensor:
    return (torch.zeros_like(parameter) if gradient is None else gradient).flatten()


def nf4(config: ModelConfig, dry_run: bool) -> str | None:
    """Its linear layers are in 4 bits, those of the tower are not, and it samples and scores what it says itself."""
    loaded = load(replace(config, dtype="bfloat16", quantization="nf4"), dry_run=dry_run)
    names = quantised_names(loaded.model)
    if not names or any("vis" in name for name in names):
        return f"quantised {names[:3]}"
    rows = HFPolicy(loaded, slots=2).generate(prompts()[:1], 1, SamplingParams(temperature=0, max_new_tokens=6))
    with torch.no_grad():
        own = own_logprobs(loaded, prompts()[0], rows[0][0].token_ids)
    gap = float((own - torch.tensor(rows[0][0].logprobs)).abs().max())
    return None if gap < 0.5 else f"{gap:.2g} nats off"


# ---- the table -----------------------------------------------------------------------------------


def row(title: str, config: ModelConfig, dry_run: bool = False, vllm: bool = False) -> Row:
    """Every feature tried on the model of a config."""
    cells: dict[str, Cell] = dict.fromkeys(COLUMNS, Cell(UNKNOWN))
    held: list[Loaded] = []

    def loading() -> str | None:
        held.append(load(config, dry_run=dry_run))
        return None

    cells["load"] = tried(loading)
    if not held:
        return Row(title, {**cells, **{c: Cell("-") for c in COLUMNS[1:-1]}})
    (loaded,) = held
    cells["sample"] = tried(lambda: sample(loaded))
    cells["select"] = tried(lambda: select(loaded))
    policy = HFPolicy(loaded)
    one = policy._plain_reason and f"{policy._plain_reason}: prompts are sampled one after another"
    copies = one or (why_not_shared(loaded.model) or "").partition(" (")[0]  # what was measured differs by machine
    cells["shared prompts"] = Cell("no", copies) if copies else cells["sample"]
    reason = why_not_fusable(loaded.model)
    cells["fused fit"] = Cell("no", reason) if reason else tried(lambda: fused(loaded))
    cells["nf4"] = tried(lambda: nf4(config, dry_run))
    cells["vLLM"] = Cell(TESTED if vllm else UNKNOWN)
    return Row(title, cells)


def tried(check: Callable[[], str | None]) -> Cell:
    """What a check finds, or the library's own words where it refuses. Every other exception is a fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = check()
        except R3VError as error:
            return Cell("refuses", re.sub(r"(/\S+)?/r3v-[a-z0-9_]+-\w+", "MODEL", str(error)))
        except Exception as error:
            return Cell(WRONG, f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}")
    return Cell(TESTED) if found is None else Cell(WRONG, found)


def other_row(name: str) -> Row:
    """The row of a family of `family_kit`; unknown where its processor asks for a package that is not here."""
    try:
        folder = folder_of(name)
    except ImportError as error:
        missing = Cell(UNKNOWN, " ".join(str(error).split("\n")[0].split()))
        return Row(FAMILIES[name].title, {**dict.fromkeys(COLUMNS, Cell(UNKNOWN)), "load": missing})
    return row(FAMILIES[name].title, ModelConfig(path=str(folder), device="cpu"))


def made(names: Sequence[str]) -> list[Row]:
    """The rows of these families, each said on stderr as it is made."""
    rows = []
    for name in names:
        if name in OWN:
            rows.append(row(OWN[name], ModelConfig(path=NAMES[name]), dry_run=True, vllm=name in VLLM))
        else:
            rows.append(other_row(name))
        cells = {c: (v.state, v.why[:110]) for c, v in rows[-1].cells.items() if v.state not in (TESTED, UNKNOWN, "-")}
        print(name, cells, file=sys.stderr, flush=True)
        gc.collect()
    return rows


def render(rows: Sequence[Row]) -> str:
    """The table as Markdown, each different reason a numbered note below it."""
    notes: dict[str, int] = {}
    lines = ["| family | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for one in rows:
        cells = []
        for column in COLUMNS:
            cell = one.cells[column]
            number = f" ({notes.setdefault(cell.why, len(notes) + 1)})" if cell.why else ""
            cells.append(f"{cell.state}{number}")
        lines.append(f"| {one.title} | " + " | ".join(cells) + " |")
    out = io.StringIO()
    out.write("\n".join(lines) + "\n")
    for why, number in notes.items():
        said = textwrap.fill(f"{number}. {why}", 120, subsequent_indent="   ", break_long_words=False)
        out.write(f"\n{said}\n" if number == 1 else f"{said}\n")
    return out.getvalue()


HEAD = """\
# Families of models

Which family works with which feature, tried on a tiny random model of each with the family's own processor, in float32
on a CPU against transformers' own `generate` and forward. Weights of the real size were not tried, but for those that
[the results](results.md) name.

```sh
python tests/families/family_table.py > docs/families.md
```

- **tested**: greedy samples are `generate`'s token for token; log-probabilities of select prompts are the model's own
  to 0.002 nats; a fused fit has the loss and the gradient of one example at a time.
- **no**: the library says so by itself and goes another way with the same result: a copy of the prompt for each sample,
  one prompt at a time, or one branch a row.
- **refuses**: an error before any work, with what works in its place.
- **unknown**: not tried. A dash: nothing to try.

What stands under vLLM is what `tests/policies/server/test_engine_vllm.py` serves with vLLM for CPUs (`make vllm`).

"""


def page(rows: Sequence[Row]) -> str:
    return HEAD + render(rows)
