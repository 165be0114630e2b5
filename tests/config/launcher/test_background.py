"""Loops in threads: started again after a crash, ended when asked."""

from __future__ import annotations

import threading

import pytest

from config.launcher import background
from config.launcher.background import Background, supervise
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.filterwarnings("error")


RUNS, LET_GO = threading.Event(), threading.Event()


def wait_for_stop(stop: threading.Event) -> None:
    stop.wait(PATIENCE_SECONDS)


def never_stop(stop: threading.Event) -> None:
    RUNS.set()
    LET_GO.wait(PATIENCE_SECONDS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(background, "BACK_OFF_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(background, "STOP_SECONDS_MAX", PATIENCE_SECONDS)


def test_a_loop_that_crashes_is_started_again_and_the_crash_logged(caplog):
    stop = threading.Event()
    runs = []

    def run(stop: threading.Event) -> None:
        runs.append(1)
        if len(runs) < 4:
            raise RuntimeError("no luck")
        stop.set()

    supervise("feed", run, stop)

    assert len(runs) == 4
    assert caplog.text.count("feed crashed") == 3


def test_a_loop_that_ends_unasked_is_started_again(caplog):
    stop = threading.Event()
    runs = []

    def run(stop: threading.Event) -> None:
        runs.append(1)
        if len(runs) == 2:
            stop.set()

    supervise("feed", run, stop)

    assert len(runs) == 2
    assert "feed ended without being asked to" in caplog.text


def test_loops_run_until_they_are_told_to_stop():
    running = Background([f"{__name__}.wait_for_stop"])
    running.start()
    assert [thread.name for thread in threading.enumerate()].count("wait_for_stop") == 1

    assert running.stop() is True
    assert "wait_for_stop" not in [thread.name for thread in threading.enumerate()]


def test_one_that_does_not_stop_is_named_and_not_waited_for(caplog, monkeypatch):
    monkeypatch.setattr(background, "STOP_SECONDS_MAX", 0.05)
    running = Background([f"{__name__}.never_stop"])
    running.start()
    assert RUNS.wait(PATIENCE_SECONDS)

    assert running.stop() is False
    LET_GO.set()
    assert "never_stop did not stop in time" in caplog.text


def test_stopping_before_the_start_is_no_trouble():
    assert Background([f"{__name__}.wait_for_stop"]).stop() is True
