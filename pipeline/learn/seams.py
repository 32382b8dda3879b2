"""The seam head: a small attention network over the patches of a face crop, trained on self-blended twins.

A line on the mean of the patches sees what a face as a whole looks like; a seam is a disagreement between patches, of
which a mean keeps little. The network compares patches with one another, and is asked two things at once: is the face
blended (as the line is), and which patches are, so that it looks at the seam and not at who is in the picture. The
encoder stays frozen. It is far smaller than what it reads, and trained for a few rounds only: it has seen three
thousand faces.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.models import graphs
from pipeline.models.seam import EPSILON, HEADS, STEEP, SeamWeights, shapes

Floats = NDArray[np.float32]
Weights = Mapping[str, Any]

DEPTH, WIDTH = 2, 128
ROUNDS, BATCH = 3, 32
PEAK, DECAY = 1e-3, 0.05
"""AdamW's largest step, reached after a seventh of the way and left along a cosine; and its decay of weights."""
DROPPED = 0.1
TOUCHED = 0.3
"""A patch counts as blended in when at least this share of it is."""


class Crops(Protocol):
    """Reads patches when they are wanted: all at once are gigabytes."""

    def __call__(self, rows: NDArray[np.intp]) -> NDArray[np.float16]:
        """The patches of these crops: n × 196 × PATCH_COUNT."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Crops with what is known of each. `cells`: share of each patch that was blended in, n × 196; fake: n."""

    crops: Crops
    cells: Floats
    fake: NDArray[np.bool_]


def train_seam(
    data: Labelled,
    rows: NDArray[np.intp],
    seed: int,
    told: Callable[[str], None] = lambda _: None,
) -> SeamWeights:
    """Train on the crops `rows` of `data`. The same rows, seed and machine give the same weights."""
    import jax
    import optax

    rng = np.random.default_rng(seed)
    mean, spread = _scales(data, rows, rng)
    weights = _drawn(rng)
    size = min(BATCH, len(rows))
    steps = ROUNDS * (len(rows) // size)
    pace = optax.cosine_onecycle_schedule(steps, PEAK, pct_start=0.15)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(pace, weight_decay=DECAY))
    state = optimiser.init(weights)

    @jax.jit
    def step(weights: Weights, state: Any, seen: Any, cells: Any, fake: Any, key: Any) -> tuple[Weights, Any, Any]:
        loss, slope = jax.value_and_grad(_loss)(weights, seen, cells, fake, mean, spread, key)
        change, state = optimiser.update(slope, state, weights)
        return optax.apply_updates(weights, change), state, loss

    key = jax.random.PRNGKey(seed)
    for turn in range(ROUNDS):
        losses = []
        for seen, cells, fake in _batches(data, rng.permutation(rows), size, rng):
            key, now = jax.random.split(key)
            weights, state, loss = step(weights, state, seen, cells, fake, now)
            losses.append(loss)
        told(f"seam head: round {turn + 1} of {ROUNDS}, loss {float(np.mean([float(x) for x in losses])):.3f}")
    return _finished(weights, mean, spread)


def logits(weights: SeamWeights, crops: Crops, rows: NDArray[np.intp], at_once: int = 64) -> Floats:
    """What the network says of each of these crops."""
    told = [weights(crops(rows[i : i + at_once]).astype(np.float32)) for i in range(0, len(rows), at_once)]
    return np.concatenate(told) if told else np.zeros(0, np.float32)


def packed(weights: SeamWeights) -> bytes:
    """The file that `read_seam` reads: half precision, and the same weights give the same bytes."""
    stream = io.BytesIO()
    halves: dict[str, Any] = {name: array.astype(np.float16) for name, array in weights.arrays.items()}
    np.savez(stream, **halves)
    return stream.getvalue()


def _batches(
    data: Labelled, order: NDArray[np.intp], size: int, rng: np.random.Generator
) -> Iterator[tuple[Any, Any, Any]]:
    """Crops in this order, so many at once, each batch as it is or mirrored; a rest that fills none is left out."""
    grid = (size, graphs.GRID, graphs.GRID, -1)
    for start in range(0, len(order) - size + 1, size):
        rows = order[start : start + size]
        seen, cells = data.crops(rows), (data.cells[rows] > TOUCHED).astype(np.float32)
        if rng.random() < 0.5:
            seen = np.ascontiguousarray(seen.reshape(grid)[:, :, ::-1].reshape(seen.shape))
            cells = np.ascontiguousarray(cells.reshape(grid)[:, :, ::-1].reshape(cells.shape))
        yield seen, cells, data.fake[rows].astype(np.float32)


def _loss(weights: Weights, seen: Any, cells: Any, fake: Any, mean: Floats, spread: Floats, key: Any) -> Any:
    """Cross-entropy of the face being blended, and of each patch being so."""
    import jax
    import jax.numpy as jnp
    import optax

    keys = iter(jax.random.split(key, 2 + 2 * DEPTH))
    x = (seen.astype(jnp.float32) - mean) / spread
    patches = _patches(weights, x, keys)
    face = _answer(weights, patches, keys)
    where = (patches @ weights["where.weight"])[..., 0] + weights["where.bias"]
    return (
        optax.sigmoid_binary_cross_entropy(face, fake).mean() + optax.sigmoid_binary_cross_entropy(where, cells).mean()
    )


def _patches(weights: Weights, x: Any, keys: Iterator[Any]) -> Any:
    import jax
    import jax.numpy as jnp

    z = _dropped(x @ weights["project.weight"] + weights["project.bias"], 2 * DROPPED, next(keys)) + weights["place"]
    for i in range(DEPTH):
        block = {name.split(".", 1)[1]: v for name, v in weights.items() if name.startswith(f"block{i}.")}
        y = _norm(z, block["norm1.gain"], block["norm1.bias"]) @ block["qkv.weight"] + block["qkv.bias"]
        q, k, v = (part.reshape(*part.shape[:-1], HEADS, -1).swapaxes(1, 2) for part in jnp.split(y, 3, axis=-1))
        near = jax.nn.softmax(q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1]), axis=-1)
        seen = (near @ v).swapaxes(1, 2).reshape(z.shape)
        z = z + _dropped(seen @ block["out.weight"] + block["out.bias"], DROPPED, next(keys))
        y = _norm(z, block["norm2.gain"], block["norm2.bias"]) @ block["up.weight"] + block["up.bias"]
        y = (y * jax.nn.sigmoid(STEEP * y)) @ block["down.weight"] + block["down.bias"]
        z = z + _dropped(y, DROPPED, next(keys))
    return _norm(z, weights["norm.gain"], weights["norm.bias"])


def _answer(weights: Weights, z: Any, keys: Iterator[Any]) -> Any:
    import jax
    import jax.numpy as jnp

    share = jax.nn.softmax(z @ weights["attend.weight"], axis=1)
    pooled = jnp.concatenate([(share * z).sum(axis=1), z.mean(axis=1)], axis=-1)
    return (_dropped(pooled, 2 * DROPPED, next(keys)) @ weights["answer.weight"])[:, 0] + weights["answer.bias"]


def _dropped(x: Any, share: float, key: Any) -> Any:
    """`x` with this share of its numbers left out, and the rest as much larger; without a key as it is."""
    import jax

    return x if key is None else x * jax.random.bernoulli(key, 1 - share, x.shape) / (1 - share)


def _norm(x: Any, gain: Any, bias: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / ((centred**2).mean(axis=-1, keepdims=True) + EPSILON) ** 0.5 * gain + bias


def _scales(data: Labelled, rows: NDArray[np.intp], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Mean and spread of each number of a patch, over a few hundred crops."""
    some = np.sort(rng.choice(rows, min(300, len(rows)), replace=False))
    total, square, count = np.zeros(graphs.PATCH_COUNT), np.zeros(graphs.PATCH_COUNT), 0
    for start in range(0, len(some), BATCH):
        seen = data.crops(some[start : start + BATCH]).reshape(-1, graphs.PATCH_COUNT).astype(np.float64)
        total, square, count = total + seen.sum(axis=0), square + (seen**2).sum(axis=0), count + len(seen)
    mean = total / count
    spread = np.sqrt(np.maximum(square / count - mean**2, 0)) + 1e-3
    return mean.astype(np.float32), spread.astype(np.float32)


def _drawn(rng: np.random.Generator) -> dict[str, Any]:
    """Where training starts: weights of 1/√inputs, biases of nought, gains of one.

    `where` answers for each patch. It is asked in training alone.
    """

    def first(name: str, shape: tuple[int, ...]) -> Floats:
        if name.endswith(".weight"):
            return rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
        return np.full(shape, name.endswith(".gain"), np.float32)

    wanted = shapes(WIDTH, DEPTH) | {"where.weight": (WIDTH, 1), "where.bias": (1,)}
    return {name: first(name, shape) for name, shape in wanted.items()}


def _finished(weights: Weights, mean: Floats, spread: Floats) -> SeamWeights:
    """The weights as they are served: the scaling folded into the first map, rounded as the file rounds them."""
    arrays = {name: np.asarray(value, np.float32) for name, value in weights.items() if not name.startswith("where.")}
    scaled = arrays["project.weight"] / spread[:, None]
    arrays |= {"project.weight": scaled, "project.bias": arrays["project.bias"] - mean @ scaled}
    return SeamWeights({name: value.astype(np.float16).astype(np.float32) for name, value in arrays.items()})
