"""Accounts go through random lives on the real floor, beside a model that is obvious code."""

from __future__ import annotations

from random import Random

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import LONG
from tests.trading.conftest import forget_market
from tests.trading.lives.asking import Asking
from tests.trading.lives.dice import throw
from trading.execution.matching import FillModel

pytestmark = pytest.mark.django_db


class RandomLives(RuleBasedStateMachine):
    """Each life is lived in a savepoint, so that the next one finds nothing of it."""

    lives: Asking | None = None

    @initialize(model=st.sampled_from((FillModel.NBBO, FillModel.QUEUE)))
    def begin(self, model: FillModel) -> None:
        self._fees = override_settings(FEES="us")
        self._fees.enable()
        self._savepoint = transaction.savepoint()
        forget_market()
        self.lives = Asking(model)

    @rule(dice=st.randoms(use_true_random=True), times=st.integers(1, 12))
    def time_goes_on(self, dice: Random, times: int) -> None:
        for _ in range(times):
            what, how = throw(dice)
            note(f"{what} {how}")
            getattr(self.lives, what)(**how)
            self.lives.compare()

    def teardown(self) -> None:
        if self.lives is None:
            return
        try:
            self.lives.prove()
        finally:
            self.lives.floor.restart()
            transaction.savepoint_rollback(self._savepoint)
            forget_market()
            self._fees.disable()


def test_lives_are_as_the_model_says() -> None:
    run_state_machine_as_test(
        RandomLives,
        settings=settings(
            max_examples=40 if LONG else 6,
            stateful_step_count=40 if LONG else 12,
            deadline=None,
            derandomize=not LONG,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
