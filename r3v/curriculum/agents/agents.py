"""Practice written by agents: planner, searcher and selector, editor, question writer, and an independent checker.

Each role is a Policy of its own. A job is one item: the planner sees a seed item and the target, pictures are found in
the pool or on the web, the selector picks one, an edit may change it, the writer asks and answers, and the checker
solves the question k times without seeing that answer. Only agreement accepts an item. Every call goes through the
journal, so a killed run asks nothing twice. Read `AgentGenerator._job` first.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from r3v.curriculum.agents import prompts as words
from r3v.curriculum.agents.config import AgentConfig
from r3v.curriculum.agents.messages import Pick, Plan, Question, to_dict
from r3v.curriculum.agents.roles import Desk, Rejected, Role
from r3v.curriculum.images.fetch import FetchError
from r3v.curriculum.images.finders import Finder, Found, interleave
from r3v.curriculum.images.png import png
from r3v.curriculum.practice.edit_ops import OPS
from r3v.curriculum.practice.item import (
    HELD_OUT,
    KEY,
    Checked,
    Provenance,
    Target,
    provenance_of,
    target_dict,
    with_provenance,
)
from r3v.curriculum.practice.quality import form_fault
from r3v.curriculum.practice.relabel import EditRefused
from r3v.curriculum.practice.solve import Solved, judged
from r3v.errors import ConfigError, DataError, ImageError
from r3v.prompts import solve, style
from r3v.records import BytesImage, Candidate, ImageSource, Problem
from r3v.run.journal import Meter, key_of


class ImageEditor(Protocol):
    """Changes a picture by an instruction, for example `remote_edit.ImageEditEndpoint`. `price`: what one costs."""

    @property
    def model(self) -> str: ...

    @property
    def price(self) -> float: ...

    def edit(self, image: ImageSource, instruction: str) -> BytesImage: ...


class AgentGenerator:
    """Practice from pictures without labels. `roles` has a Role for each of `ROLES`; `folder` keeps the journal and
    downloaded pictures; `finders` are asked in order; without any, the seed item's own picture is used.

    `meters` counts calls by role, `spent` all that the journal holds, `rejected` has (job, stage, reason). Items do not
    depend on the number of workers. Raises ConfigError for missing roles or seeds; EngineError of a policy stops the
    run, which goes on from the journal when started again.
    """

    name = "agents"

    def __init__(
        self,
        roles: Mapping[str, Role],
        seeds: Sequence[Problem],
        folder: str | Path,
        finders: Sequence[Finder] = (),
        editor: ImageEditor | None = None,
        config: AgentConfig | None = None,
    ) -> None:
        if not seeds:
            raise ConfigError("found no seed items, expected at least one with a picture")
        held = next((p for p in seeds if p.split in HELD_OUT), None)
        if held is not None:
            raise ConfigError(f"seed item {held.id} is of split {held.split!r}, which practice must not be made from")
        self._seeds, self._finders, self._editor = seeds, tuple(finders), editor
        self._config = config or AgentConfig()
        self._desk = Desk(roles, Path(folder) / "calls.jsonl", ("search", "editor"))
        self.rejected: list[tuple[str, str, str]] = []

    def __enter__(self) -> AgentGenerator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._desk.close()

    @property
    def meters(self) -> dict[str, Meter]:
        """What this process asked, by role, `search` and `editor`."""
        return self._desk.meters

    @property
    def spent(self) -> dict[str, float]:
        """`tokens` and `money` of everything in the journal, earlier processes included; searches have no price."""
        return self._desk.spent

    @property
    def counts(self) -> dict[str, int]:
        """Stage -> jobs rejected there."""
        return dict(Counter(stage for _, stage, _ in self.rejected))

    def generate(self, target: Target, n: int, *, seed: int = 0) -> Iterator[Problem]:
        """Up to `n` accepted items out of at most `n * attempts` jobs, in the order of the jobs. No more jobs are under
        way than items are missing, so that nothing is paid for and thrown away."""
        jobs, waiting, made = self._jobs(target, n, seed), deque[tuple[str, Future[Problem]]](), 0
        self._desk.stop.clear()
        with ThreadPoolExecutor(self._config.workers, "r3v-agents") as pool:
            try:
                while made < n:
                    while len(waiting) < min(self._config.workers, n - made) and (job := next(jobs, None)):
                        waiting.append((job[0], pool.submit(self._job, *job, target, seed)))
                    if not waiting:
                        return
                    name, future = waiting.popleft()
                    try:
                        problem = future.result()
                    except Rejected as no:
                        self.rejected.append((name, no.stage, no.reason))
                        continue
                    made += 1
                    yield problem
            finally:
                self._desk.stop.set()  # jobs under way end with the answer they wait for
                for _, future in waiting:
                    future.cancel()

    def _jobs(self, target: Target, n: int, seed: int) -> Iterator[tuple[str, Problem]]:
        """(name, seed item) of every job that may be tried; seed items of the target's skill where there are any."""
        places = [i for i, p in enumerate(self._seeds) if p.images and _fits(p, target)]
        places = places or [i for i, p in enumerate(self._seeds) if p.images]
        for number in range(n * self._config.attempts if places else 0):
            job = f"agents-{key_of(target_dict(target), seed, number)[:12]}"
            yield job, self._seeds[random.Random(job).choice(places)]

    def check(self, problem: Problem) -> Checked:
        """Nobody knows these answers by construction: an item is right when it carries the checker's agreement."""
        checks = provenance_of(problem).checks if KEY in problem.meta else ()
        agreed = next((c for c in checks if c["by"] == "checker"), None)
        if agreed is None:
            return Checked("unknown", "written by a model, and no checker agreed")
        return Checked("right", f"{agreed['correct']} of {agreed['counted']} independent answers agree")

    def _job(self, job: str, item: Problem, target: Target, seed: int) -> Problem:
        c = self._config
        plan = self._desk.message("planner", words.plan(job, item, target, c.guidance, self._editor is not None), Plan)
        found = self._select(job, plan, self._search(plan, item))
        picture, edits = self._edit(job, plan, found.image)
        question = self._desk.message("writer", words.write(job, plan, picture), Question)
        problem = self._problem(job, question, picture, plan, target)
        solved = self._check(problem)
        if not solved.agrees(c.agreement):
            named = f"{solved.correct} of {solved.counted} answers agree, the most frequent is {solved.majority!r}"
            raise Rejected("checker", named)
        reasoning = next(t for t, v in zip(solved.texts, solved.verdicts, strict=True) if v.correct)
        check = {"by": "checker", "correct": solved.correct, "counted": solved.counted, "reasoning": reasoning[:1000]}
        return with_provenance(
            problem,
            Provenance(
                generator=self.name,
                target=target_dict(target),
                seed=seed,
                answer="agreed",
                seed_item=item.id,
                source=found.address,
                plan=to_dict(plan),
                edits=edits,
                models={name: role.policy.name for name, role in self._desk.roles.items()},
                checks=({"by": "writer", "reasoning": question.solution[:1000]}, check),
            ),
        )

    def _search(self, plan: Plan, item: Problem) -> list[Found]:
        """The best candidates of every query and finder, each picture once and not the seed item's own, which stands in
        for none at all.

        A finder that fails is passed over; where nothing is found because of that, the job is rejected.
        """
        c, own = self._config, hashlib.sha256(item.images[0].read()).hexdigest()
        lists: list[list[Found]] = []
        failed: list[str] = []
        for query in plan.queries[:2]:
            for finder in self._finders:
                started = time.monotonic()
                try:
                    hits, cached = finder.find(query, c.candidates, self._desk.journal, item.images[0])
                except FetchError as error:
                    failed.append(error.what)
                    continue
                self._desk.count("search", cached=cached, seconds=time.monotonic() - started)
                lists.append(hits)
        found = interleave(lists, c.candidates, without=own)
        if found:
            return found
        if failed:
            raise Rejected("search", failed[0])
        return [Found(item.images[0], item.images[0].describe(), item.question, own)]

    def _select(self, job: str, plan: Plan, found: Sequence[Found]) -> Found:
        prompt = words.pick(job, plan, [f.image for f in found], [f.caption for f in found])
        pick = self._desk.message("selector", prompt, Pick)
        if not 0 <= pick.picture <= len(found):
            raise Rejected("selector", f"picked picture {pick.picture} of {len(found)}")
        if pick.picture == 0:
            raise Rejected("selector", f"no usable picture: {pick.reason[:200]}")
        return found[pick.picture - 1]

    def _edit(self, job: str, plan: Plan, image: ImageSource) -> tuple[ImageSource, tuple[Mapping[str, Any], ...]]:
        """The edited picture and what was done. The question is written afterwards, so any edit is allowed."""
        from r3v.data.images import decode

        if plan.edit == "none":
            return image, ()
        if plan.edit == "endpoint" and self._editor is not None:
            return self._remote(plan, image, self._editor)
        if plan.edit not in OPS:
            raise Rejected("editor", f"unknown edit {plan.edit!r}")
        if OPS[plan.edit].flips:
            raise Rejected("editor", f"{plan.edit} would mirror writing in an unknown picture")
        try:
            opened = decode(image)
            parameters = OPS[plan.edit].choose(opened, random.Random(f"{job}|edit"))
        except EditRefused as error:
            return image, ({"op": plan.edit, "refused": error.what},)
        except ImageError as error:
            raise Rejected("editor", error.what) from error
        edited = png(OPS[plan.edit].apply(opened, parameters))
        return BytesImage(edited, f"{plan.edit} of {image.describe()}"), ({"op": plan.edit, **parameters},)

    def _remote(
        self, plan: Plan, image: ImageSource, editor: ImageEditor
    ) -> tuple[ImageSource, tuple[Mapping[str, Any], ...]]:
        """Journalled by model, instruction and picture; the picture itself is kept in the journal's folder."""
        key = key_of("edit", editor.model, plan.instruction, hashlib.sha256(image.read()).hexdigest())
        store = self._desk.journal.path.parent / "pictures"

        def edit() -> Mapping[str, Any]:
            try:
                edited = editor.edit(image, plan.instruction)
            except FetchError as error:
                raise Rejected("editor", error.what) from error
            return {"sha256": keep(store, edited.data), "cost": editor.price}

        row = self._desk.once("editor", key, edit)
        record = {"op": "endpoint", "model": editor.model, "instruction": plan.instruction, "sha256": row["sha256"]}
        return BytesImage((store / row["sha256"]).read_bytes(), f"edit of {image.describe()}"), (record,)

    def _problem(self, job: str, q: Question, picture: ImageSource, plan: Plan, target: Target) -> Problem:
        """The question as a Problem that can be graded; refused where it cannot."""
        if q.kind == "choice" and len(q.choices or ()) < 3:
            raise Rejected("writer", f"found {len(q.choices or ())} choices, expected at least 3")
        answer = q.answer.strip().strip("().").upper() if q.kind == "choice" else q.answer.strip()
        try:
            problem = Problem(
                id=job,
                question=q.question,
                answer=answer,
                kind=q.kind,
                images=(picture,),
                choices=q.choices if q.kind == "choice" else None,
                unit=q.unit or None,
                skills=(target.skill or plan.skill,),
                split="practice",
                source="agents",
                meta={} if target.level is None else {"level": target.level},
            )
        except DataError as error:
            raise Rejected("writer", error.what) from error
        fault = form_fault(problem)
        if fault:
            raise Rejected("writer", f"{fault[0]}: {fault[1]}")
        return problem

    def _check(self, problem: Problem) -> Solved:
        prompt = solve(problem, style(self._config.style))
        texts = self._desk.ask("checker", prompt, self._config.checks)
        return judged(problem, [Candidate(problem.id, 0, i, 0, text) for i, text in enumerate(texts)])


def keep(store: Path, data: bytes) -> str:
    """Put a picture into a folder under its sha256, which is returned."""
    from r3v.io import atomic_write

    name = hashlib.sha256(data).hexdigest()
    if not (store / name).exists():
        atomic_write(store / name, data)
    return name


def _fits(problem: Problem, target: Target) -> bool:
    level = problem.meta.get("level")
    return (target.skill is None or target.skill in problem.skills) and target.level in (None, level)
