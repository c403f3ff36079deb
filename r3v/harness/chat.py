"""The model class of `lmms-eval --model r3v`: requests in, the answers of our solver out, a whole batch at a time.

It asks as `r3v serve` does: the same selectors, notes and prompts, in this process.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, cast

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts  # pyright: ignore[reportMissingImports]
from lmms_eval.api.model import lmms  # pyright: ignore[reportMissingImports]
from lmms_eval.models.model_utils.gen_metrics import log_metrics  # pyright: ignore[reportMissingImports]
from lmms_eval.protocol import ChatMessages  # pyright: ignore[reportMissingImports]
from tqdm import tqdm

from r3v.errors import ConfigError, EngineError, R3VError
from r3v.grading.judge import find
from r3v.grading.number import Unread
from r3v.harness.arguments import read, whole
from r3v.harness.asking import asked_of
from r3v.harness.messages import messages_of
from r3v.notebook.retrieval.flags import recall_with
from r3v.reflection.stages import make_policy, release
from r3v.selection.selector import selector_of
from r3v.serve.asked import Asked, defaults_of
from r3v.serve.solve import Done, Solver, readable
from r3v.serve.tokens import tokens_of


def note(line: str) -> None:
    """Progress goes to stderr, where it takes no part in lmms-eval's tables."""
    print(line, file=sys.stderr, flush=True)


class R3V(lmms):
    """A model, adapter or run of r3v, with a selector and, where given, the notes of a notebook.

    Keywords are those of `--model_args` (r3v/harness/arguments.py) and of lmms-eval's own flags: `batch_size` requests
    are answered together, `device` is `model.device`. Raises ConfigError, ModelError, RunError.
    """

    is_simple = False

    def __init__(
        self, *, batch_size: int | str = 1, max_batch_size: int | None = None, device: str | None = None, **given: Any
    ) -> None:
        super().__init__()
        self.batch_size = whole("batch_size", batch_size)
        if max_batch_size is not None:
            raise ConfigError("found max_batch_size, which goes with batch_size auto; give --batch_size a number")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "found several processes, expected one: r3v would ask every question in each of them. Start lmms-eval "
                "without a launcher; policy.engine=vllm or server.url takes more devices"
            )
        if device is not None:
            given = {**given, "model.device": device}
        config, self.asking, notes = read(given, note)
        self.defaults = defaults_of(config)
        self._open = ExitStack()
        policy = make_policy(config.model, config, say=note)
        if hasattr(policy, "close"):
            self._open.enter_context(closing(cast(Any, policy)))
        recall = None
        if notes.get("notebook"):
            recall = self._open.enter_context(recall_with(notes, policy, config, note, measures=True))
        self.solver: Solver | None = Solver(selector_of(policy, config, recall), tokens_of(policy))
        note(f"r3v: {policy.name}, {self.asking.method}@{self.asking.n}" + (", with notes" if recall else ""))

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """An answer to each request, in order. Raises R3VError where one cannot be answered: an empty answer would be
        counted as wrong."""
        found: list[GenerationResult] = []
        for batch in self._batches(requests, "r3v"):
            asked = [self._asked(request, self._messages(request), repeat) for request, repeat in batch]
            found += [
                GenerationResult(text=self._text(one, done), token_counts=TokenCounts(done.tokens_in, done.tokens_out))
                for one, done in zip(asked, self._solve([request for request, _ in batch], asked), strict=True)
            ]
        return found

    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """For each request the answers of its rounds. The task decides, from the answers so far, what is asked in the
        next round and when it ends; rounds of one batch are answered together."""
        found: list[list[str]] = []
        for batch in self._batches(requests, "r3v, several rounds"):
            talks = [_Talk(request, repeat, self._messages(request)) for request, repeat in batch]
            while open_ := [talk for talk in talks if talk.messages is not None]:
                asked = [self._asked(talk.request, talk.messages, talk.repeat) for talk in open_]
                for talk, one, done in zip(open_, asked, self._solve([t.request for t in open_], asked), strict=True):
                    talk.said.append(self._text(one, done))
                    talk.go_on(self._doc(talk.request))
            found += [talk.said for talk in talks]
        return found

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Refused: what is selected among several answers has no probability, and a greedy one is asked for by name."""
        raise ConfigError(
            "found a task that compares log-probabilities (output_type loglikelihood or multiple_choice); r3v writes "
            "answers and selects among them. Take a task with output_type generate_until"
        )

    def clean(self) -> None:
        """lmms-eval has all answers: the notebook is closed and the model let go."""
        self._open.close()
        self.solver = None
        release()
        super().clean()

    # ---- parts -----------------------------------------------------------------------------------

    def _batches(self, requests: Sequence[Instance], title: str) -> Iterator[list[tuple[Instance, int]]]:
        """(request, how often the same was asked before) in batches; times and tokens are told to lmms-eval."""
        before: Counter[tuple[Any, ...]] = Counter()
        numbered = []
        for request in requests:
            key = tuple(request.args[3:6])
            numbered.append((request, before[key]))
            before[key] += 1
        began, self._written = time.monotonic(), 0
        with tqdm(total=len(requests), desc=title, unit="request", disable=self.rank != 0) as bar:
            for start in range(0, len(numbered), self.batch_size):
                batch = numbered[start : start + self.batch_size]
                yield batch
                bar.update(len(batch))
        seconds = time.monotonic() - began
        log_metrics(seconds, self._written, self._written / seconds if seconds else 0.0)

    def _doc(self, request: Instance) -> Any:
        _, _, _, doc_id, task, split = request.args
        return self.task_dict[task][split][doc_id]

    def _messages(self, request: Instance) -> Any:
        return request.args[1](self._doc(request))

    def _asked(self, request: Instance, messages: Any, repeat: int) -> Asked:
        try:
            chat = ChatMessages(messages=messages).messages
            return asked_of(
                messages_of(chat), self._doc(request), request.args[2], self.asking, self.defaults, repeat
            )  # fmt: skip
        except R3VError as error:
            raise ConfigError(f"{_name(request)}: {error}") from error

    def _solve(self, requests: Sequence[Instance], asked: Sequence[Asked]) -> list[Done]:
        assert self.solver is not None, "asked after clean()"
        found: list[Done] = []
        for request, done in zip(requests, self.solver(asked), strict=True):
            if isinstance(done, Exception):
                raise EngineError(f"{_name(request)}: {done}") from done
            found.append(done)
        self._written += sum(done.tokens_out for done in found)
        return found

    def _text(self, asked: Asked, done: Done) -> str:
        """What the harness is given: the text, or the answer in it as it is written; the text if it names none."""
        said = done.choices[0].text
        if self.asking.reply == "text":
            return said
        found = find(readable(asked, done.selection.candidates), said)
        return said if isinstance(found, Unread) else found.raw


class _Talk:
    """A request of several rounds: what was said, and the messages of the next round, None when it has ended."""

    def __init__(self, request: Instance, repeat: int, messages: Any) -> None:
        self.request, self.repeat, self.messages = request, repeat, messages
        self.said: list[str] = []
        self._state: Any = None

    def go_on(self, doc: Any) -> None:
        given = self.request.args[1](
            doc, round_idx=len(self.said), previous_output=list(self.said), previous_round_info=self._state
        )
        if not (isinstance(given, tuple) and len(given) == 4) or given[1]:
            self.messages = None  # a task of one round, or its end
            return
        self.messages, _, _, self._state = given


def _name(request: Instance) -> str:
    _, _, _, doc_id, task, split = request.args
    return f"task {task}, split {split}, document {doc_id}"
