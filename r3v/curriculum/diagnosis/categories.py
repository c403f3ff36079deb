"""What answers are counted under: the skills of the dataset, DPE's twelve image types, or clusters of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from r3v.curriculum.agents.prompts import image_type
from r3v.errors import ConfigError, DataError
from r3v.records import Problem

if TYPE_CHECKING:
    from r3v.policies.base import Policy

CATEGORIES = ("skills", "image-types", "clusters")
IMAGE_TYPES = (
    "geometric",
    "medical",
    "chart_graph",
    "text_dense",
    "diagram",
    "math_formula",
    "map",
    "natural_scene",
    "artistic",
    "everyday_object",
    "architectural",
    "mixed",
)
"""DPE's taxonomy (arXiv 2602.22859, released code)."""
TYPE_OF_SOURCE = {"geoworld": "geometric", "geoqa": "geometric", "geometry3k": "geometric", "chartqa": "chart_graph"}
"""Datasets whose pictures are all of one type."""


def by_skills(problems: Sequence[Problem]) -> dict[str, tuple[str, ...]]:
    """Problem id -> skills. Raises DataError where no problem names any."""
    found = {problem.id: problem.skills for problem in problems}
    if not any(found.values()):
        raise DataError(
            f"found no skills on {len(problems)} problems, so there is nothing to diagnose by",
            field="skills",
            fix="Use --categories image-types, or clusters with --vectors",
        )
    return found


def by_image_type(problems: Sequence[Problem], policy: Policy | None = None) -> dict[str, tuple[str, ...]]:
    """Problem id -> its image type: meta.image_type, else what its dataset is known for, else the type the policy
    finds most likely for the picture (per token, so that long names are not at a disadvantage).

    A type is never made up: without a policy, problems of unknown type raise DataError.
    """
    found: dict[str, tuple[str, ...]] = {}
    unknown: list[Problem] = []
    for problem in problems:
        named = problem.meta.get("image_type") or TYPE_OF_SOURCE.get(problem.source.partition(":")[0])
        if named is None:
            unknown.append(problem)
        elif named not in IMAGE_TYPES:
            raise DataError(
                f"found {named!r}, expected one of {', '.join(IMAGE_TYPES)}", row=problem.id, field="meta.image_type"
            )
        else:
            found[problem.id] = (str(named),)
    if unknown and policy is None:
        raise DataError(
            f"found {len(unknown)} problems of unknown image type",
            row=unknown[0].id,
            field="meta.image_type",
            fix="Name the types in the data, or let a model tell them",
        )
    if unknown and policy is not None:
        prompts = [image_type(p, IMAGE_TYPES) for p in unknown]
        for problem, scores in zip(unknown, policy.score(prompts, [list(IMAGE_TYPES)] * len(unknown)), strict=True):
            means = [score.total / max(1, len(score.logprobs)) for score in scores]
            found[problem.id] = (IMAGE_TYPES[int(np.argmax(means))],)
    return {problem.id: found[problem.id] for problem in problems}


def by_cluster(vectors: Mapping[str, np.ndarray], seed: int = 0, most: int = 24) -> dict[str, tuple[str, ...]]:
    """Problem id -> `cluster NN`, by k-means on unit vectors, k chosen by the simplified silhouette."""
    ids = sorted(vectors)
    found = discover(np.stack([np.asarray(vectors[i], float) for i in ids]), seed, most)
    return {name: (f"cluster {label:02d}",) for name, label in zip(ids, found.label_N, strict=True)}


@dataclass(frozen=True)
class Clusters:
    """`label_N`: cluster of each vector, the largest is 0. `silhouette`: k -> score, the largest was taken."""

    label_N: np.ndarray
    centre_KD: np.ndarray
    silhouette: dict[int, float]


def discover(vector_ND: np.ndarray, seed: int = 0, most: int = 24) -> Clusters:
    """Spherical k-means (k-means++ start, 4 restarts) for k = 2 .. `most`; k by the largest simplified silhouette
    (Hruschka et al. 2004: distances to centres). Raises ConfigError for fewer than 4 vectors or bad values."""
    if vector_ND.ndim != 2 or len(vector_ND) < 4 or not np.isfinite(vector_ND).all():
        raise ConfigError(f"found vectors of shape {vector_ND.shape}, expected at least 4 finite ones of one length")
    length_N = np.linalg.norm(vector_ND, axis=1, keepdims=True)
    unit_ND = vector_ND / np.where(length_N > 0, length_N, 1)
    distinct = len(np.unique(unit_ND.round(9), axis=0))
    scores: dict[int, float] = {}
    best: tuple[np.ndarray, np.ndarray] | None = None
    for k in range(2, min(most, distinct, len(unit_ND) // 2) + 1):
        fits = [_kmeans(unit_ND, k, np.random.default_rng([seed, k, start])) for start in range(4)]
        label_N, centre_KD, _ = min(fits, key=lambda fit: fit[2])
        score = _silhouette(unit_ND, label_N, centre_KD)
        if not scores or score > max(scores.values()) + 1e-12:
            best = label_N, centre_KD
        scores[k] = score
    if best is None:
        return Clusters(np.zeros(len(unit_ND), int), unit_ND.mean(0, keepdims=True), {})
    label_N, centre_KD = best
    order = np.argsort(-np.bincount(label_N, minlength=len(centre_KD)), kind="stable")
    return Clusters(np.argsort(order)[label_N], centre_KD[order], scores)


def _distances(unit_ND: np.ndarray, centre_KD: np.ndarray) -> np.ndarray:
    """Squared distances [N, K]."""
    square = (unit_ND**2).sum(1)[:, None] - 2 * unit_ND @ centre_KD.T + (centre_KD**2).sum(1)
    return square.clip(0)


def _kmeans(unit_ND: np.ndarray, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    centres = [unit_ND[rng.integers(len(unit_ND))]]
    for _ in range(1, k):
        nearest_N = _distances(unit_ND, np.stack(centres)).min(1)
        weight = nearest_N / nearest_N.sum() if nearest_N.sum() > 0 else None
        centres.append(unit_ND[rng.choice(len(unit_ND), p=weight)])
    centre_KD = np.stack(centres)
    label_N = np.full(len(unit_ND), -1)
    for _ in range(100):
        distance_NK = _distances(unit_ND, centre_KD)
        new_N = distance_NK.argmin(1)
        for empty in set(range(k)) - set(new_N.tolist()):  # an empty cluster takes the vector farthest from its own
            far = int(distance_NK[np.arange(len(new_N)), new_N].argmax())
            new_N[far], distance_NK[far] = empty, 0.0
        if (new_N == label_N).all():
            break
        label_N = new_N
        centre_KD = np.stack([unit_ND[label_N == j].mean(0) for j in range(k)])
    return label_N, centre_KD, float(_distances(unit_ND, centre_KD)[np.arange(len(label_N)), label_N].sum())


def _silhouette(unit_ND: np.ndarray, label_N: np.ndarray, centre_KD: np.ndarray) -> float:
    """Mean of (b - a) / max(a, b): a distance to the own centre, b to the nearest other; 0 for a single vector."""
    distance_NK = np.sqrt(_distances(unit_ND, centre_KD))
    rows = np.arange(len(label_N))
    own_N = distance_NK[rows, label_N]
    distance_NK[rows, label_N] = np.inf
    other_N = distance_NK.min(1)
    alone_N = np.bincount(label_N, minlength=len(centre_KD))[label_N] == 1
    value_N = (other_N - own_N) / np.maximum(np.maximum(own_N, other_N), 1e-12)
    return float(np.where(alone_N, 0.0, value_N).mean())
