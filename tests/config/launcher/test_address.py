"""Where the platform listens and by which names it may be asked for."""

from __future__ import annotations

import socket

import pytest

from config.launcher import address
from config.launcher.problems import Problem


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("HOST", "")
    monkeypatch.setenv("ALLOWED_HOSTS", "")


def test_it_listens_on_this_machine_alone():
    with address.bind() as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_a_plain_sentence(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("PORT", str(other.getsockname()[1]))
        with pytest.raises(Problem, match=r"cannot listen on 127\.0\.0\.1, port \d+: .*in use"):
            address.bind()


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", "0"), ("127.0.0.1", "70000")])
def test_an_impossible_address_is_a_plain_sentence(monkeypatch, host, port):
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("PORT", port)

    with pytest.raises(Problem, match=r"\.$|PORT=\d+$"):
        address.bind()


def test_the_printed_address_can_be_typed(monkeypatch):
    with address.bind() as listener:
        port = listener.getsockname()[1]
        assert address.public_url(listener) == f"http://127.0.0.1:{port}"
    monkeypatch.setenv("HOST", "0.0.0.0")
    with address.bind() as listener:
        assert address.public_url(listener).startswith("http://127.0.0.1:")


def test_a_platform_open_to_the_network_knows_its_own_names(monkeypatch):
    import os

    monkeypatch.setenv("HOST", "0.0.0.0")
    address.allow_own_names()

    allowed = os.environ["ALLOWED_HOSTS"].split(",")
    assert {"localhost", "127.0.0.1", socket.gethostname()} <= set(allowed)
    assert "*" not in allowed


def test_names_that_were_given_stand(monkeypatch):
    import os

    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("ALLOWED_HOSTS", "desk.example.com")
    address.allow_own_names()

    assert os.environ["ALLOWED_HOSTS"] == "desk.example.com"
