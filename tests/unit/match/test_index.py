"""The index finds what comparing everything finds."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.match.index import SCANNED, Near, build, cuts, open_saved, probes


def random_codes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def flipped(code, bits):
    """The same hash with these bits turned over."""
    whole = np.unpackbits(code)
    whole[list(bits)] ^= 1
    return np.packbits(whole)


@pytest.fixture(scope="module")
def many():
    return build(random_codes(3 * SCANNED))


@pytest.mark.parametrize("distance", [0, 8, 31, 40])
def test_nothing_within_the_distance_is_missed(many, distance):
    """Hashes at exactly the distance, with the changed bits spread or all in one place, are found, and none beyond."""
    rng = np.random.default_rng(distance)
    for row in rng.integers(0, len(many.codes), 20).tolist():
        for bits in (rng.choice(256, distance, replace=False), range(distance), range(256 - distance, 256)):
            query = flipped(many.codes[row], bits)
            hits = many.search(query[None], distance)
            assert row in hits.row
            assert (hits.distance <= distance).all()
            assert hits.distance[hits.row.tolist().index(row)] == distance
        assert row not in many.search(flipped(many.codes[row], range(distance + 1))[None], distance).row


def test_tables_and_comparing_everything_agree(many):
    """On hashes that crowd together too, where the tables' entries are long."""
    crowd = np.repeat(random_codes(3, seed=5), SCANNED, axis=0)
    rng = np.random.default_rng(6)
    noise = np.packbits(rng.random((len(crowd), 256)) < 0.06, axis=1)
    codes = crowd ^ noise
    tables, plain = build(codes), Near(codes)
    queries = codes[rng.integers(0, len(codes), 3)]
    with_tables, without = tables.search(queries, 31), plain.search(queries, 31)
    for one, other in zip(with_tables, without, strict=True):
        np.testing.assert_array_equal(one, other)
    assert tables.pieces
    assert not plain.pieces


def test_several_queries_are_answered_in_order(many):
    """`query` says which row of the queries each hit belongs to; no hit, no row."""
    queries = np.stack([many.codes[7], random_codes(1, seed=99)[0], many.codes[3]])
    hits = many.search(queries, 10)
    assert hits.query.tolist() == [0, 2]
    assert hits.row.tolist() == [7, 3]


@pytest.mark.parametrize("count", [0, 1, 100, SCANNED + 1])
def test_a_saved_index_is_the_same(tmp_path, count):
    """Mapped from its files it answers alike; an empty one too."""
    made = build(random_codes(count))
    made.save(tmp_path)
    opened = open_saved(tmp_path)
    assert len(opened.pieces) == len(made.pieces) == len(cuts(count))
    queries = made.codes[:5]
    for one, other in zip(made.search(queries, 31), opened.search(queries, 31), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_query_no_hit(many):
    """A video without a usable frame asks nothing."""
    assert many.search(np.empty((0, 32), np.uint8), 31).row.size == 0


@pytest.mark.parametrize("count", [SCANNED + 1, 10**6, 10**7, 10**9])
def test_the_pieces_cover_every_bit_once(count):
    """And are about as long as the logarithm of the count, so that few hashes have to be compared."""
    pieces = cuts(count)
    assert [first for first, _ in pieces] == [0, *(last for _, last in pieces[:-1])]
    assert pieces[-1][1] == 256
    assert max(last - first for first, last in pieces) <= 24
    assert probes(len(cuts(10**7)), 31) < 5_000
