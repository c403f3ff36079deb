"""`OpenAIPolicy`: any OpenAI-compatible chat-completions server behind the `Policy` protocol.

    policy = OpenAIPolicy(ServerConfig(url="http://localhost:8000/v1"))
    policy.generate([prompt], 4, SamplingParams())

Each sample has a seed of its own, so that it is the same whatever else is asked, is cached by itself, and is asked for
again by itself when something breaks. It is one request, and the image is sent with each of them; engines keep what
they computed for it. Where the server draws several in one request (`server.samples`, vLLM), it is sent once for them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from r3v.errors import ConfigError, EngineError
from r3v.policies.base import Choice, Given, SamplingParams, Score, chosen_by_scores, text_of
from r3v.policies.model.adapters.served import check_served
from r3v.policies.model.adapters.taught import Usage
from r3v.policies.server import score as scoring
from r3v.policies.server.adapters_http import ServedAdapter
from r3v.policies.server.choosing import choose_by_logprobs, choose_by_votes
from r3v.policies.server.client import Client, ServerError
from r3v.policies.server.cost import CostMeter
from r3v.policies.server.find import Teller, find
from r3v.policies.server.own_ids import OwnIds
from r3v.policies.server.response_cache import ResponseCache, cache_key
from r3v.policies.server.wire import (
    Reply,
    following_seed,
    messages,
    prompt_key,
    read_replies,
    request_seed,
    sampling_fields,
)
from r3v.records import Candidate, Prompt
from r3v.run.progress import answered
from r3v.settings.config import ModelConfig
from r3v.settings.server import Kind, ServerConfig, check

if TYPE_CHECKING:
    from r3v.policies.model.encode import Encoder

T = TypeVar("T")
CONCURRENCY = 16
_CHAT = "/chat/completions"


class OpenAIPolicy:
    """Samples from, and where it can scores with, the server of `config`.

    `adapter`: a LoRA folder to load into the server (vLLM, SGLang) under a fresh name; it is unloaded when the
    policy is closed or forgotten. `say` is told of attempts that are made again. `meter` counts what is spent. `key`
    and `unanswered` are for the server that a run has started itself (see `Client`).
    Making a policy asks the server for its models. Raises ConfigError, EngineError, RunError for the cache.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        adapter: str | Path | None = None,
        meter: CostMeter | None = None,
        say: Callable[[str], None] | None = None,
        key: str | None = None,
        unanswered: Callable[[bool], None] = lambda last: None,
    ) -> None:
        check(config)
        self.config = config
        self.meter = meter or CostMeter(config.prices)
        self.heard: Callable[[Candidate, Reply], None] | None = None
        """Told of every candidate with the reply it comes from, which knows more of its tokens."""
        self.own: OwnIds | None = None
        """Says whether the ids in replies are those of the model to be trained; without it they are nobody's."""
        self._teller = Teller(self.meter, say)
        self._client = Client(
            config, config.concurrency or CONCURRENCY, self._teller.retried, key=key, unanswered=unanswered
        )
        self._behind: int | None = None
        # What is finished must not hold the policy, or a forgotten policy would never be finished.
        closing = ExitStack()
        closing.callback(self._client.close)
        self._finish = weakref.finalize(self, closing.close)
        self.kind: Kind
        try:
            self.kind, self.model = find(self._client, config)
            self.concurrency = config.concurrency or (1 if self.kind == "transformers" else CONCURRENCY)
            self._client.limit(self.concurrency)
            self._cache = closing.enter_context(ResponseCache(config.cache)) if config.cache else None
            self._adapter = ServedAdapter(self._client, self.kind, adapter, self.model) if adapter else None
            if self._adapter:
                closing.callback(self._adapter.unload)
                self._adapter.load()
        except BaseException:
            self._finish()
            raise

    @classmethod
    def from_config(
        cls,
        config: ServerConfig,
        model: ModelConfig,
        say: Callable[[str], None] | None = None,
        *,
        taught: bool = False,
        usage: Usage | None = None,
    ) -> OpenAIPolicy:
        """The policy of a run whose config names a server. `taught`: `model` is trained on what is sampled, so ids that
        the server returns are checked against its tokenizer. `usage` is what an adapter is checked against besides.

        Raises ConfigError for settings of the model that only the server can have, ModelError for a folder that is no
        adapter, or whose adapter was taught with something else.
        """
        default = ModelConfig()
        for name, where in (
            ("quantization", "start the server with it"),
            ("max_pixels", "put it into server.extra, for vLLM as mm_processor_kwargs"),
            ("min_pixels", "put it into server.extra, for vLLM as mm_processor_kwargs"),
            ("revision", "start the server with it"),
        ):
            if getattr(model, name) != getattr(default, name):
                raise ConfigError(f"found model.{name} {getattr(model, name)!r} with a server: {where}")
        if model.adapter:
            limits = config.extra.get("mm_processor_kwargs") or {}
            seen = replace(model, **{name: limits.get(name) for name in ("min_pixels", "max_pixels")})
            check_served(model.adapter, seen, usage or Usage())
        if model.thinking is not None:
            switch = {"chat_template_kwargs": {"enable_thinking": model.thinking}}
            config = replace(config, extra={**switch, **config.extra})
        made = cls(config, adapter=model.adapter, say=say)
        if taught:
            made.own = OwnIds(lambda: _encoder_of(model), say)
        return made

    @property
    def name(self) -> str:
        """The model, and a hash of the adapter's files; not the fresh name the server knows the adapter by."""
        return f"{self.model}+{self._adapter.hash}" if self._adapter else self.model

    def generate(
        self,
        prompts: Sequence[Prompt],
        n: int,
        params: SamplingParams,
        *,
        seed: int = 0,
        round: int = 0,
        first_index: int = 0,
    ) -> list[list[Candidate]]:
        """`n` candidates per prompt; see `Policy.generate`.

        Log-probabilities and token ids are the server's, empty where it gives none (vLLM gives both). Raises
        EngineError when a request fails for good; what was answered by then is in the cache.
        """
        if n < 1 or params.max_new_tokens < 1:
            raise ValueError(f"found n={n}, max_new_tokens={params.max_new_tokens}, expected at least 1 of each")
        asked = [(p, i) for p in range(len(prompts)) for i in range(first_index, first_index + n)]
        replies = self._replies(prompts, asked, params, seed)
        if self.own and any(reply.ids for reply in replies):
            self.own.check(self._client.shown, prompts[0], lambda: self._prompt_ids(prompts[0]))
        hashes = [prompt.hash for prompt in prompts]
        rows: list[list[Candidate]] = [[] for _ in prompts]
        for (p, i), reply in zip(asked, replies, strict=True):
            logprobs = tuple(token.logprob for token in reply.tokens)
            rows[p].append(
                Candidate(
                    problem_id=prompts[p].problem_id, round=round, index=i, seed=seed, text=reply.whole,
                    token_ids=reply.ids, logprobs=logprobs, stop=reply.stop, model=self.name, prompt_hash=hashes[p],
                    tokenizer=self.own.fingerprint(reply) if self.own else "",
                )
            )  # fmt: skip
            if self.heard:
                self.heard(rows[p][-1], reply)
        return rows

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        """Log-probabilities of each continuation of each prompt, its end-of-turn token included (vLLM only). Chat takes
        no ids, so a candidate is scored by its text.

        Raises EngineError for other servers, whose chat completions score nothing; `choose_index` works there.
        """
        if len(prompts) != len(continuations):
            raise ValueError(f"found {len(prompts)} prompts and {len(continuations)} lists of continuations")
        if self.kind != "vllm":
            raise EngineError(
                f"{self._client.shown}: a server of kind {self.kind!r} cannot score given continuations through chat "
                "completions; use vLLM (server.kind vllm), or server.select logprobs or votes"
            )
        told = [[text_of(reply) for reply in several] for several in continuations]
        wanted = [(p, t) for p, texts in enumerate(told) for t in (None, *texts) if texts]
        keys = [prompt_key(prompt) for prompt in prompts]
        found = self._run(lambda p, t, stop: self._scored(prompts[p], keys[p], t, True, stop), wanted)
        rows: list[list[scoring.Scored]] = [[] for _ in prompts]
        for (p, _), scored in zip(wanted, found, strict=True):
            rows[p].append(scored)
        return [
            scoring.reply_scores(row[0], row[1:], self._after_reply(prompt, key, texts[0], row[1])) if row else []
            for prompt, key, texts, row in zip(prompts, keys, told, rows, strict=True)
        ]

    def choose_index(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, seed: int = 0, solutions: bool = False
    ) -> list[Choice]:
        """For each prompt, how likely each of its `options` is as the reply; shares sum to 1.

        `server.select` says how: by the probabilities of the tokens at which the options part (`logprobs`), by
        votes over several sampled answers, or by scoring the options (`score`). `auto` takes the first where the
        server gives `top_logprobs` and the answer is one of the options, else votes, and says so once.
        """
        if len(prompts) != len(options) or any(not o or len(set(o)) != len(o) for o in options):
            raise ValueError("expected, for each prompt, at least one option and no two alike")
        if self.config.select == "score":
            return [chosen_by_scores(scores, solutions=solutions) for scores in self.score(prompts, options)]

        def ask(asked: Sequence[tuple[int, int]], params: SamplingParams, top: int) -> list[Reply]:
            return self._replies(prompts, asked, params, seed, top)

        chosen: dict[int, Choice] = {}
        if self.config.select != "votes" and self.kind != "transformers" and self.config.logprobs:
            chosen = choose_by_logprobs(ask, options, self.config.votes)
        left = [p for p in range(len(prompts)) if p not in chosen]
        if left and self.config.select == "logprobs":
            raise EngineError(
                f"{self._client.shown}: {len(left)} of {len(prompts)} select answers came without usable "
                "`top_logprobs` (none given, or the answer is none of the options); set server.select to votes or auto"
            )
        if left:
            self._teller.votes(self._client.shown, len(left), self.config.votes)
            chosen |= choose_by_votes(ask, left, options, self.config.votes)
        return [chosen[p] for p in range(len(prompts))]

    def close(self) -> None:
        """Unload the adapter, close connections and cache. The policy cannot be used afterwards."""
        self._finish()

    def __enter__(self) -> OpenAIPolicy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _replies(
        self,
        prompts: Sequence[Prompt],
        asked: Sequence[tuple[int, int]],
        params: SamplingParams,
        seed: int,
        top: int = 0,
    ) -> list[Reply]:
        """The answers to (prompt, index) pairs, in order."""
        keys = {p: prompt_key(prompts[p]) for p in {p for p, _ in asked}}
        # Greedy answers are one and the same, and vLLM refuses to draw several.
        together = self.config.samples if self._takes_several and params.temperature > 0 and not top else 1
        seed_of = following_seed if together > 1 else request_seed

        def fields_of(p: int, index: int) -> dict[str, Any]:
            return sampling_fields(self.config, self.kind, params, seed_of(seed, prompts[p].problem_id, index), top)

        def some(p: int, indices: Sequence[int], stop: threading.Event) -> list[Reply]:
            found: dict[int, Reply] = {}
            where: dict[int, str] = {}
            for index in indices:
                parts = {k: v for k, v in fields_of(p, index).items() if k not in ("stream", "stream_options")}
                told = {"model": self.name, "messages": keys[p], "fields": parts, "index": index}
                where[index] = cache_key("chat", told)
                stored = self._stored(where[index])
                if stored is not None:
                    found[index] = Reply.from_dict(stored)
            for part in runs_of([i for i in indices if i not in found], together):
                fields = fields_of(p, part[0]) | ({"n": len(part)} if len(part) > 1 else {})
                replies = self._post(
                    lambda fields=fields: {"messages": messages(prompts[p]), **fields}, read_replies(len(part)), stop
                )
                out = sum(reply.tokens_out for reply in replies)
                self.meter.answered(replies[0].tokens_in, out, len(prompts[p].images))
                for index, reply in zip(part, replies, strict=True):
                    if reply.thought and reply.stop == "eos" and not reply.text.strip():
                        self._teller.thought_only(self._client.shown)
                    self._store(where[index], reply.to_dict())
                    answered(1, reply.tokens_out)
                    found[index] = reply
            return [found[index] for index in indices]

        jobs = [(p, part) for p, indices in _by_prompt(asked) for part in runs_of(indices, together)]
        rows = self._run(some, jobs, max(1, self.concurrency // together))
        return [reply for row in rows for reply in row]

    @property
    def _takes_several(self) -> bool:
        return self.kind == "vllm" and not self.config.stream

    def _scored(
        self, prompt: Prompt, key: Any, text: str | None, closed: bool, stop: threading.Event
    ) -> scoring.Scored:
        """The tokens of a prompt, without (`text` None) or with a reply."""
        fields = scoring.prefix_fields() if text is None else scoring.reply_fields(closed)
        fields |= self.config.extra
        where = cache_key("score", {"model": self.name, "messages": key, "fields": fields, "text": text})
        stored = self._stored(where)
        if stored is not None:
            return scoring.Scored(tuple(stored["ids"]), tuple(stored["logprobs"]), stored["tokens_in"])
        reply = [] if text is None else [{"role": "assistant", "content": text}]
        read = scoring.read_scored if text is not None and closed else scoring.read_prefix
        found = self._post(lambda: {"messages": [*messages(prompt), *reply], **fields}, read, stop)
        self.meter.answered(found.tokens_in, 1, len(prompt.images))
        self._store(where, {"ids": found.ids, "logprobs": found.logprobs, "tokens_in": found.tokens_in})
        return found

    def _prompt_ids(self, prompt: Prompt) -> Sequence[int]:
        return self._scored(prompt, prompt_key(prompt), None, True, threading.Event()).ids

    def _after_reply(self, prompt: Prompt, key: Any, text: str, closed: scoring.Scored) -> int:
        """Tokens of the chat template behind the end-of-turn token; a property of the template, asked once."""
        if self._behind is None:
            opened = self._scored(prompt, key, text, False, threading.Event())
            self._behind = scoring.after_reply(opened, closed)
        return self._behind

    def _run(self, one: Callable[..., T], jobs: Sequence[tuple[Any, ...]], at_once: int | None = None) -> list[T]:
        """`one(*job, stop)` for every job, `at_once` (`concurrency`) at a time, in order. The first failure ends the
        rest."""
        if not jobs:
            return []
        stop = threading.Event()
        with ThreadPoolExecutor(min(at_once or self.concurrency, len(jobs)), "r3v-server") as pool:
            futures = [pool.submit(one, *job, stop) for job in jobs]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException as error:
                stop.set()
                for future in futures:
                    future.cancel()
                if not isinstance(error, Exception):
                    self._client.abort()  # a person pressed Ctrl-C: do not wait for answers under way
                raise
        return [future.result() for future in futures]

    def _post(
        self,
        body: Callable[[], Mapping[str, Any]],
        read: Callable[[bytes, str], T],
        stop: threading.Event,
    ) -> T:  # fmt: skip
        """One request. A server that was restarted has lost its adapters; ours is then loaded again, once."""
        adapter = self._adapter
        if adapter is None:
            return self._client.post(_CHAT, {"model": self.model, **body()}, read, stop=stop)
        seen, name = adapter.loads, adapter.name
        try:
            return self._client.post(_CHAT, {"model": adapter.model, **body()}, read, stop=stop)
        except ServerError as error:
            if error.status not in (400, 404) or name not in error.detail:
                raise
        adapter.restore(seen)
        return self._client.post(_CHAT, {"model": adapter.model, **body()}, read, stop=stop)

    def _stored(self, key: str) -> Any | None:
        found = self._cache.get(key) if self._cache is not None else None
        if found is not None:
            self.meter.from_cache()
        return found

    def _store(self, key: str, value: Any) -> None:
        if self._cache is not None:
            self._cache.put(key, value)


def _by_prompt(asked: Sequence[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """Neighbours of one prompt together: (prompt, its indices), in order."""
    found: list[tuple[int, list[int]]] = []
    for p, index in asked:
        if found and found[-1][0] == p:
            found[-1][1].append(index)
        else:
            found.append((p, [index]))
    return found


def runs_of(indices: Sequence[int], most: int) -> list[list[int]]:
    """Indices in runs of neighbours, each at most so long: 0 1 2 5 by two are 0 1, 2, 5."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and len(runs[-1]) < most and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _encoder_of(model: ModelConfig) -> Encoder:
    from r3v.policies.model.loading import encoder_of  # asking a server needs no torch

    return encoder_of(model)
