"""Quality control of generated items: what is dropped, and why, is counted.

    stage       dropped with reason
    form        broken_picture, repeated_choices, ungradable (the grader must take the gold and refuse another answer)
    verify      refuted (the verifier knows better), no_agreement, unverified (no verifier and no solver)
    repeats     duplicate (near-equal picture, text and answer), contradiction (equal picture and text, other answer)
    benchmarks  benchmark_picture, benchmark_item, benchmark_text
    difficulty  too_easy, too_hard, unanswered (no answer could be judged)

Cheap stages come first; a model is asked only about what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from r3v.curriculum.practice.hashes import NearPrints, NearTexts, fingerprint, jaccard, mirrored, plain, shingles
from r3v.curriculum.practice.item import KEY, Checked, add_check
from r3v.curriculum.practice.solve import Solved, solve_problems
from r3v.errors import ConfigError, ImageError
from r3v.grading import answers_equal, grade
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import question_text, style
from r3v.records import LETTERS, Problem

Check = Callable[[Problem], Checked]


@dataclass(frozen=True)
class QualityConfig:
    """Limits of the quality control."""

    same_text: float = 0.9
    """Jaccard similarity of three-word shingles from which two texts are near-equal."""
    dhash_bits: int = 12
    phash_bits: int = 8
    """Pictures that differ in at most so many of 256 and 64 bits are near-equal."""
    picture_dhash_bits: int = 4
    picture_phash_bits: int = 4
    """Pictures this close to one of a benchmark are dropped whatever is asked about them."""
    benchmark_text: float = 0.6
    """Similarity to a benchmark's text from which a near-equal picture counts as that item."""
    agreement_k: int = 5
    agreement: float = 0.6
    """Share of `agreement_k` independent answers that must agree with the gold where no verifier can tell."""
    pass_k: int = 8
    low: float = 0.125
    high: float = 0.875
    """Difficulty window: the model's pass rate over `pass_k` answers, both ends included."""
    temperature: float = 1.0
    max_new_tokens: int = 384
    style: str = "full"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(f"found low {self.low} and high {self.high}, expected 0 <= low <= high <= 1")
        if self.agreement_k < 1 or self.pass_k < 1 or not 0 < self.agreement <= 1:
            raise ConfigError("expected agreement_k and pass_k of at least 1 and agreement in (0, 1]")


@dataclass(frozen=True, slots=True)
class Dropped:
    problem_id: str
    reason: str
    detail: str


@dataclass
class Sifted:
    """What is left and what went; `seen` items came in."""

    kept: list[Problem] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    seen: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number of dropped items."""
        return dict(sorted(Counter(d.reason for d in self.dropped).items()))


class Benchmarks:
    """Fingerprints of the items of the benchmarks the user names, so that practice does not repeat them.

    A picture and its mirror image are known. Holds no picture: about 100 bytes and the text's shingles for each item.
    """

    def __init__(self, config: QualityConfig | None = None) -> None:
        self._config = config or QualityConfig()
        self._prints, self._texts = NearPrints(), NearTexts()
        self._of_print: list[tuple[str, frozenset[str]]] = []
        self._of_text: list[str] = []

    def add(self, name: str, problems: Iterable[Problem]) -> int:
        """Take in a benchmark; returns how many items. Raises ImageError for a picture that cannot be read."""
        count = 0
        for problem in problems:
            count += 1
            label, text = f"{name}/{problem.id}", question_text(problem)
            for image in problem.images:
                for found in (fingerprint(image), mirrored(image)):
                    self._prints.add(found)
                    self._of_print.append((label, shingles(text)))
            if not problem.images:
                self._texts.add(text)
                self._of_text.append(label)
        return count

    def hit(self, problem: Problem) -> tuple[str, str] | None:
        """(reason, which benchmark item), or None."""
        c = self._config
        pieces = shingles(question_text(problem))
        for image in problem.images:
            found = fingerprint(image)
            same = self._prints.same(found)
            if same is not None:
                return "benchmark_picture", self._of_print[same][0]
            close = self._prints.near(found, c.picture_dhash_bits, c.picture_phash_bits)
            if close:
                return "benchmark_picture", self._of_print[close[0]][0]
            for number in self._prints.near(found, c.dhash_bits, c.phash_bits):
                label, text = self._of_print[number]
                if jaccard(pieces, text) >= c.benchmark_text:
                    return "benchmark_item", label
        if not problem.images:
            near = self._texts.near(question_text(problem), c.same_text)
            if near:
                return "benchmark_text", self._of_text[near[0]]
        return None


class Repeats:
    """The items kept so far, to find those that repeat or contradict one of them."""

    def __init__(self, config: QualityConfig | None = None) -> None:
        self._config = config or QualityConfig()
        self._prints, self._texts = NearPrints(), NearTexts()
        self._of_print: list[tuple[Problem, str]] = []
        self._of_text: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """Take in one item. Raises ImageError for a picture that cannot be read."""
        slim = replace(problem, images=())
        if problem.images:
            found = fingerprint(problem.images[0])
            self._prints.add(found)
            self._of_print.append((slim, found.pixels))
        else:
            self._texts.add(question_text(problem))
            self._of_text.append(slim)

    def hit(self, problem: Problem) -> tuple[str, str] | None:
        """(reason, the earlier item), or None. Near-equal pictures with another answer are two items: a changed number
        is a few pixels. Equal pictures and texts with another answer contradict each other."""
        c = self._config
        if not problem.images:
            old = [self._of_text[i] for i in self._texts.near(question_text(problem), c.same_text)]
            return _repeat(problem, old, [])
        found = fingerprint(problem.images[0])
        near = [self._of_print[i] for i in self._prints.near(found, c.dhash_bits, c.phash_bits)]
        exact = [old for old, pixels in near if pixels == found.pixels]
        return _repeat(problem, [old for old, _ in near if _near_text(problem, old, c.same_text)], exact)


def _near_text(a: Problem, b: Problem, at_least: float) -> bool:
    return jaccard(shingles(a.question), shingles(b.question)) >= at_least


def _repeat(problem: Problem, near: Sequence[Problem], exact: Sequence[Problem]) -> tuple[str, str] | None:
    for old in exact:
        if plain(old.question) == plain(problem.question) and not _same_gold(problem, old):
            return "contradiction", old.id
    for old in near:
        if _same_gold(problem, old):
            return "duplicate", old.id
    return None


def _same_gold(a: Problem, b: Problem) -> bool:
    """Whether the golds are the same value, letters aside."""
    first, second = a.open("text"), b.open("text")
    return answers_equal(first, first.answer, second.answer)


def form_fault(problem: Problem) -> tuple[str, str] | None:
    """(reason, detail) for an item that no answer could be graded on, or None: picture, choices, grading dry-run."""
    for image in problem.images:
        try:
            fingerprint(image)
        except ImageError as error:
            return "broken_picture", error.what
    if problem.choices and len({plain(c) or c for c in problem.choices}) < len(problem.choices):
        return "repeated_choices", " | ".join(problem.choices)
    right = grade(problem, f"Answer: {problem.answer}")
    if not right.correct:
        return "ungradable", f"the grader says {right.outcome.value} of the gold itself: {right.reason}"
    if problem.kind == "choice":
        for letter in LETTERS[: len(problem.choices or ())]:
            if grade(problem, f"Answer: {letter}").correct != (letter == problem.answer):
                return "ungradable", f"the grader takes {letter} for right"
    elif grade(problem, "Answer: 8675309.25").correct or not grade(problem, f"Answer: {problem.gold_text}").correct:
        return "ungradable", "the grader does not tell the gold from another answer"
    return None


def sift(
    problems: Iterable[Problem],
    *,
    check: Check | None = None,
    solver: Policy | None = None,
    learner: Policy | None = None,
    benchmarks: Benchmarks | None = None,
    repeats: Repeats | None = None,
    config: QualityConfig | None = None,
) -> Sifted:
    """Put items through all stages; what each check found goes into the provenance of those that are kept.

    `check` is the generator's verifier, `solver` the independent model asked where that says "unknown", `learner` the
    current model, whose pass rate decides on difficulty (None: no window). `repeats` holds earlier items and takes in
    the new ones. Raises EngineError when a model fails for good.
    """
    c = config or QualityConfig()
    result = Sifted()
    known = repeats if repeats is not None else Repeats(c)
    ready: list[Problem] = []
    unsure: list[Problem] = []
    for problem in problems:
        result.seen += 1
        fault = form_fault(problem) or (benchmarks.hit(problem) if benchmarks else None)
        if fault:
            result.dropped.append(Dropped(problem.id, *fault))
            continue
        checked = check(problem) if check else Checked("unknown", "no verifier")
        if checked.state == "wrong":
            result.dropped.append(Dropped(problem.id, "refuted", checked.reason))
        elif checked.state == "right":
            ready.append(_noted(problem, {"by": "verifier", "state": "right", "reason": checked.reason}))
        elif solver is None:
            result.dropped.append(Dropped(problem.id, "unverified", checked.reason))
        else:
            unsure.append(problem)
    if solver is not None and unsure:
        ready += _agreed(unsure, solver, c, result)
    fresh = _fresh(ready, known, result)
    result.kept = _fitting(fresh, learner, c, result) if learner is not None else fresh
    return result


def _fresh(problems: Sequence[Problem], known: Repeats, result: Sifted) -> list[Problem]:
    kept = []
    for problem in problems:
        hit = known.hit(problem)
        if hit:
            result.dropped.append(Dropped(problem.id, *hit))
        else:
            known.add(problem)
            kept.append(problem)
    return kept


def _noted(problem: Problem, check: dict) -> Problem:
    return add_check(problem, check) if KEY in problem.meta else problem


def _params(c: QualityConfig) -> SamplingParams:
    return SamplingParams(temperature=c.temperature, max_new_tokens=c.max_new_tokens)


def _agreed(problems: Sequence[Problem], solver: Policy, c: QualityConfig, result: Sifted) -> list[Problem]:
    kept = []
    solved = solve_problems(solver, problems, c.agreement_k, _params(c), style=style(c.style), seed=c.seed)
    for problem, found in zip(problems, solved, strict=True):
        if found.agrees(c.agreement):
            kept.append(_noted(problem, {"by": "agreement", "model": solver.name, **_summary(found)}))
        else:
            detail = f"{found.correct} of {found.counted} answers agree, the most frequent is {found.majority!r}"
            result.dropped.append(Dropped(problem.id, "no_agreement", detail))
    return kept


def _summary(found: Solved) -> dict:
    return {"correct": found.correct, "counted": found.counted, "majority": found.majority}


def _fitting(problems: Sequence[Problem], learner: Policy, c: QualityConfig, result: Sifted) -> list[Problem]:
    kept = []
    solved = solve_problems(learner, problems, c.pass_k, _params(c), style=style(c.style), seed=c.seed + 1)
    for problem, found in zip(problems, solved, strict=True):
        rate = found.rate
        if rate is None:
            result.dropped.append(Dropped(problem.id, "unanswered", "no answer could be judged"))
        elif rate < c.low or rate > c.high:
            reason = "too_hard" if rate < c.low else "too_easy"
            result.dropped.append(Dropped(problem.id, reason, f"pass rate {found.correct}/{found.counted}"))
        else:
            kept.append(_noted(problem, {"by": "learner", "model": learner.name, **_summary(found)}))
    return kept
