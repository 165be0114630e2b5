"""Databases fail under load."""

import time


def test_it_trades_without_a_fault(floor):
    begun = time.monotonic()
    floor.settle(begun)
