"""From what score on is a note close enough? Measured on the user's own items, for one embedder.

A query is an item compared with `pool` items unrelated to it (as many keys as a notebook holds): its best score is
what a notebook without a fitting note would return. The threshold is the quantile of these best scores that leaves
the chosen false-positive rate, so the rate is one per *problem asked*, not per comparison. Items of one family or
subject are related; without labels every pair counts as unrelated, which makes the threshold cautious.

Intervals are distribution-free: the threshold's by order statistics, the rates' by Wilson.

Suffixes: N items, M notes, Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from r3v.embedding.protocol import Embedder, Part, Vectors
from r3v.errors import ConfigError, DataError
from r3v.notebook.retrieval.scoring import Calibration, Fusion, Measured, Scale, Scores, fuse_late, identities, parts
from r3v.notebook.store.identity import normal_text
from r3v.notebook.store.note import Note
from r3v.records import Problem
from r3v.stats import wilson

LABELS = ("auto", "family", "skill", "none")
_LEAST_SD = 1e-6


def labels_of(problems: Sequence[Problem], by: str = "auto") -> list[frozenset[str]]:
    """What makes items related: they share a label. `family` is `meta["family"]`, `skill` the skills, `auto` the
    first of the two that every item has, `none` no label at all. Raises ConfigError, DataError for missing labels."""
    if by not in LABELS:
        raise ConfigError(f"found --by {by!r}, expected one of {', '.join(LABELS)}")
    family = [frozenset(filter(None, [str(p.meta.get("family") or "")])) for p in problems]
    skills = [frozenset(p.skills) for p in problems]
    if by == "none":
        return [frozenset() for _ in problems]
    for name, found in (("family", family), ("skill", skills)):
        if by in ("auto", name) and all(found):
            return found
    lacking = next(p.id for p, f, s in zip(problems, family, skills, strict=True) if not (s if by == "skill" else f))
    raise DataError(
        f"no label to tell related items by ({'meta.family or skills' if by == 'auto' else by})",
        row=lacking,
        fix="Name another label with --by, or --by none to count every pair as unrelated",
    )


def least_queries(rate: float) -> int:
    """Queries needed before any threshold can be said, with 97.5 % confidence, to keep this rate:
    (1 - rate)^n <= 0.025. 72 for a rate of 5 %, 368 for 1 %."""
    if not 0.0 < rate < 0.5:
        raise ConfigError(f"found a false-positive rate of {rate}, expected a share above 0 and below 0.5")
    return math.ceil(math.log(0.025) / math.log(1.0 - rate))


def calibrate(
    problems: Sequence[Problem],
    embedder: Embedder,
    *,
    fusion: Fusion = "mixed",
    image_weight: float = 0.5,
    rate: float = 0.05,
    pool: int = 1,
    by: str = "auto",
    notes: Sequence[Note] = (),
    seed: int = 0,
    data: str = "",
) -> Calibration:
    """Scales and threshold of `embedder` on these items, at `rate` false positives per problem.

    `pool`: keys a problem meets. `notes`: with some, problem-to-note scores are calibrated too; a note whose subject
    equals a label of the item, or whose sources hold it, counts as related. Raises DataError for too few items or
    labels, ConfigError for settings out of range.
    """
    needed = least_queries(rate)
    if pool < 1 or not 0.0 <= image_weight <= 1.0:
        raise ConfigError(f"found pool {pool}, image_weight {image_weight}; expected at least 1, a share from 0 to 1")
    if len({p.id for p in problems}) != len(problems):
        raise DataError("some ids are there twice among the items to calibrate on", fix="Check with r3v data check")
    labels = labels_of(problems, by)
    _enough(len(problems), needed, rate, "items")
    rows: dict[Part, Vectors] = {part: embedder.embed_problems(problems, part) for part in parts(embedder, fusion)}
    related_NN = _related(labels)
    scales, score_NN = _item_scores(rows, related_NN, fusion, image_weight)
    threshold, measured = _threshold(score_NN, ~related_NN, rate, pool, seed, needed, items=True)
    np.fill_diagonal(related_NN, False)
    found = Calibration(
        identities(embedder, fusion), fusion, image_weight, rate, scales, threshold,
        _recall(score_NN, related_NN, threshold, measured, seed), data=data,
    )  # fmt: skip
    active = [note for note in notes if note.state == "active"]
    if not active:
        return found
    return _with_notes(found, problems, labels, active, embedder, rows, pool, seed, needed)


def _with_notes(
    found: Calibration,
    problems: Sequence[Problem],
    labels: Sequence[frozenset[str]],
    notes: Sequence[Note],
    embedder: Embedder,
    rows: Mapping[Part, Vectors],
    pool: int,
    seed: int,
    needed: int,
) -> Calibration:
    """The same for problem-to-note scores."""
    lead = next(iter(rows))
    cosine_NM = rows[lead] @ embedder.embed_notes(notes, lead).T
    names = [{normal_text(label.rpartition(":")[2].replace("_", " ")) for label in group} for group in labels]
    related_NM = np.array(
        [
            [normal_text(note.subject) in own or problem.id in note.sources for note in notes]
            for problem, own in zip(problems, names, strict=True)
        ]
    )
    scale = _scale(cosine_NM[~related_NM], "problem-to-note")
    score_NM = scale(cosine_NM)
    limit, measured = _threshold(score_NM, ~related_NM, found.rate, min(pool, len(notes)), seed, needed, items=False)
    measured = _recall(score_NM, related_NM, limit, measured, seed)
    return replace(found, note=scale, note_threshold=limit, note_measured=measured)


def _enough(found: int, needed: int, rate: float, what: str) -> None:
    if found < needed:
        raise DataError(
            f"found {found} {what}, expected at least {needed} to set a threshold at {100 * rate:g} % false positives",
            fix="Give more items, or allow a higher rate with --fpr",
        )


def _related(labels: Sequence[frozenset[str]]) -> Any:
    """N N: whether two items share a label; an item is related to itself."""
    names = sorted({label for group in labels for label in group})
    place = {name: i for i, name in enumerate(names)}
    has = np.zeros((len(labels), max(1, len(names))), dtype=np.float32)
    for row, group in zip(has, labels, strict=True):
        row[[place[label] for label in group]] = 1.0
    related_NN = has @ has.T > 0
    np.fill_diagonal(related_NN, True)
    return related_NN


def _item_scores(
    rows: Mapping[Part, Vectors], related_NN: Any, fusion: Fusion, image_weight: float
) -> tuple[dict[Part, Scale], Scores]:
    """Scale of each part over unrelated pairs, and the N N scores as the retriever makes them."""
    both_NN = np.ones_like(related_NN)
    if fusion == "late":
        has_N = np.asarray(rows["image"].any(axis=1), dtype=bool)
        both_NN = has_N[:, None] & has_N[None, :]
    scales: dict[Part, Scale] = {}
    scaled: dict[Part, Scores] = {}
    for part, part_ND in rows.items():
        cosine_NN = part_ND @ part_ND.T
        counted = ~related_NN & both_NN if part == "image" else ~related_NN
        scales[part] = _scale(cosine_NN[counted], part)
        scaled[part] = scales[part](cosine_NN)
    if fusion == "late":
        return scales, fuse_late(scaled["text"], scaled["image"], both_NN, image_weight)
    return scales, scaled[fusion]


def _scale(cosines: Any, what: str) -> Scale:
    if cosines.size < 2:
        raise DataError(
            f"found {cosines.size} unrelated pairs of {what}, expected many",
            fix="The items must not all be of one kind; name another label with --by, or --by none",
        )
    sd = float(cosines.std(dtype=np.float64))
    if sd < _LEAST_SD:
        raise DataError(f"all {what} cosines are {float(cosines.mean()):.4f}", fix="This embedder sees no difference")
    return Scale(float(cosines.mean(dtype=np.float64)), sd)


def _threshold(
    score_NK: Scores, unrelated_NK: Any, rate: float, pool: int, seed: int, needed: int, *, items: bool
) -> tuple[float, Measured]:
    """The threshold, and what it does: each row meets `pool` unrelated columns, drawn without replacement. Columns are
    the items themselves (`items`), or notes, of which a row may have fewer."""
    rng = np.random.default_rng(seed)
    best = []
    for i, (score_K, unrelated_K) in enumerate(zip(score_NK, unrelated_NK, strict=True)):
        others = np.flatnonzero(unrelated_K)
        others = others[others != i] if items else others
        if len(others) >= (pool if items else 1):
            best.append(float(score_K[rng.choice(others, size=min(pool, len(others)), replace=False)].max()))
    _enough(len(best), needed, rate, f"items with {pool} unrelated others" if items else "items with unrelated notes")
    best_Q = np.sort(np.array(best))
    low, at, high = quantile_ranks(len(best_Q), rate)
    # Half way to the next score, so that rounding changes nothing; above all equal ones where there are several.
    above = best_Q[at + 1] if at + 1 < len(best_Q) else best_Q[at]
    least = float(np.nextafter(np.float32(best_Q[at]), np.float32(np.inf)))
    threshold = max(least, float(best_Q[at] + above) / 2)
    passed = int((best_Q >= threshold).sum())
    return threshold, Measured(
        queries=len(best_Q),
        pool=pool,
        rate=passed / len(best_Q),
        rate_ci95=wilson(passed, len(best_Q)),
        threshold_ci95=(float(best_Q[low]), float(best_Q[high])),
    )


def quantile_ranks(n: int, rate: float) -> tuple[int, int, int]:
    """Positions (from 0, ascending) of the 1 - `rate` quantile of n scores and of its 95 % interval.

    The number of scores below the true quantile is Binomial(n, 1 - rate); the interval leaves at most 2.5 % of it
    on either side, cut to the scores there are. At most `rate` n scores lie above the middle position.
    """
    at = min(n - 1, max(0, n - 1 - math.floor(rate * n + 1e-9)))
    low, high, below = 0, n - 1, 0.0
    for k in range(n):
        below += _binomial(n, k, 1.0 - rate)
        if below <= 0.025:
            low = k
        if below >= 0.975:
            high = min(n - 1, k)
            break
    return min(low, at), at, max(high, at)


def _binomial(n: int, k: int, p: float) -> float:
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))


def _recall(score_NK: Scores, related_NK: Any, threshold: float, measured: Measured, seed: int) -> Measured:
    """Adds the share of rows for which one related column, drawn at random, reaches the threshold."""
    rng = np.random.default_rng(seed + 1)
    passed = []
    for score_K, related_K in zip(score_NK, related_NK, strict=True):
        others = np.flatnonzero(related_K)
        if len(others):
            passed.append(bool(score_K[rng.choice(others)] >= threshold))
    if not passed:
        return measured
    found = sum(passed)
    return replace(measured, related=len(passed), found=found / len(passed), found_ci95=wilson(found, len(passed)))


def describe(found: Calibration) -> str:
    """The calibration for people."""
    lines = [f"{', '.join(found.identities)} ({found.fusion}): at {100 * found.rate:g} % false positives"]
    for name, limit, measured in (
        ("problem to problem", found.threshold, found.measured),
        ("problem to note", found.note_threshold, found.note_measured),
    ):
        if limit is None or measured is None:
            continue
        low, high = measured.threshold_ci95
        lines.append(f"  {name}: threshold {limit:.3f} (95 % interval {low:.3f} to {high:.3f})")
        low, high = measured.rate_ci95
        lines.append(
            f"    false positives {100 * measured.rate:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of "
            f"{measured.queries} items against {measured.pool} unrelated each"
        )
        if measured.found is not None and measured.found_ci95 is not None:
            low, high = measured.found_ci95
            lines.append(
                f"    found {100 * measured.found:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {measured.related} "
                "related ones"
            )
    return "\n".join(lines)
