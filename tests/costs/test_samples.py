from __future__ import annotations

from collections import Counter

from loom_dagster.costs import Sample


def drawn(size, records, seed=0):
    sample = Sample(size, seed)
    looked_at = 0
    for record in records:
        place = sample.place(record)
        if place is not None:
            looked_at += 1
            sample.put(place, record)
    return sample, looked_at


def test_a_few_records_are_all_in_it():
    sample, _ = drawn(10, [f"r{i}" for i in range(10)])
    assert sample.whole
    assert sorted(sample) == sorted(f"r{i}" for i in range(10))


def test_of_many_as_many_as_wanted_and_few_are_looked_at_in_vain():
    sample, looked_at = drawn(100, (f"r{i}" for i in range(20_000)))
    assert (len(sample), sample.seen, sample.whole) == (100, 20_000, False)
    assert looked_at < 100 * (1 + 8)  # size x (1 + ln(records / size)), and some luck


def test_the_same_seed_draws_the_same_whatever_the_order():
    names = [f"r{i}" for i in range(1000)]
    assert set(drawn(50, names)[0]) == set(drawn(50, reversed(names))[0])
    assert set(drawn(50, names)[0]) != set(drawn(50, names, seed=1)[0])


def test_every_record_is_as_likely_as_any_other():
    counts = Counter(name for seed in range(400) for name in drawn(10, [f"r{i}" for i in range(40)], seed)[0])
    assert len(counts) == 40
    assert all(60 < n < 145 for n in counts.values())  # 100 expected, deviation 8.7
