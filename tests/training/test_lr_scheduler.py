"""Schedules of the learning rate against their formulas."""
import math

import pytest

from jitnet import lr_scheduler as schedules


def test_factor_steps_down_to_its_floor():
    rate = schedules.FactorScheduler(step=10, factor=0.5, base_lr=1.0, stop_factor_lr=0.2)
    assert [rate(n) for n in (0, 1, 10, 11, 20, 21, 31, 1000)] == [1, 1, 1, 0.5, 0.5, 0.25, 0.2, 0.2]


def test_multi_factor_steps_at_its_numbers():
    rate = schedules.MultiFactorScheduler(step=[3, 5, 9], factor=0.5, base_lr=8.0)
    assert [rate(n) for n in (3, 4, 5, 6, 9, 10, 99)] == [8, 4, 4, 2, 2, 1, 1]
    assert schedules.MultiFactorScheduler(step=[3, 5], factor=0.5, base_lr=8.0)(100) == 2


def test_falling_rates_end_where_they_should():
    poly = schedules.PolyScheduler(100, base_lr=1.0, pwr=2, final_lr=0.1)
    cosine = schedules.CosineScheduler(100, base_lr=1.0, final_lr=0.1)
    for n in (0, 25, 50, 100):
        assert poly(n) == pytest.approx(0.1 + 0.9 * (1 - n / 100) ** 2)
        assert cosine(n) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * n / 100)))
    assert poly(500) == pytest.approx(0.1) and cosine(500) == pytest.approx(0.1)


def test_warm_up():
    rate = schedules.CosineScheduler(20, base_lr=1.0, warmup_steps=10, warmup_begin_lr=0.5)
    assert [rate(0), rate(5), rate(10), rate(20)] == pytest.approx([0.5, 0.75, 1.0, 0.0])
    constant = schedules.FactorScheduler(5, 0.5, base_lr=1.0, warmup_steps=4, warmup_begin_lr=0.1, warmup_mode="constant")
    assert [constant(3), constant(4)] == [0.1, 1.0]


@pytest.mark.parametrize("make, message", [
    (lambda: schedules.FactorScheduler(0), "greater or equal than 1"),
    (lambda: schedules.FactorScheduler(1, 2), "no more than 1"),
    (lambda: schedules.MultiFactorScheduler([5, 3]), "increasing"),
    (lambda: schedules.PolyScheduler(0), "strictly positive"),
    (lambda: schedules.LRScheduler(0.1, warmup_begin_lr=0.2), "higher than warmup_begin_lr"),
    (lambda: schedules.LRScheduler(0.1, warmup_mode="odd"), "linear and constant")])
def test_senseless_schedules_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
