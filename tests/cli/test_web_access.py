"""Who may speak to the server: by the token, and by the names in the headers."""

from __future__ import annotations

import pytest

from moco_tui.cli.web_access import Access, is_loopback, name_of, new_token

PAGE = "localhost:8000"


def test_each_token_is_another_and_long() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert min(map(len, tokens)) >= 43, "256 bits in base 64"


@pytest.mark.parametrize("given", ["", "secre", "secrets", "SECRET", "sécret", "\udcff", "s\0"])
def test_nothing_but_the_token_itself_is_known(given: str) -> None:
    access = Access("secret")
    assert access.knows("secret")
    assert not access.knows(given)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8000", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("", ""),
        ("a b", ""),
        ("localhost:8000; script-src *", ""),
        ('localhost:8000"><script>', ""),
        ("localhost:port", ""),
        ("localhost@evil.example", ""),
    ],
)
def test_the_name_in_a_host(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize("host", [PAGE, "127.0.0.1:9", "[::1]:8000", "192.168.1.7", "mine:8000"])
def test_own_names_and_addresses_in_digits_are_ours(host: str) -> None:
    access = Access("secret", ["Mine"])
    assert access.refusal(host=host, origin=None) == ""
    assert access.refusal(host=host, origin=f"http://{host}", needs_origin=True) == ""


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8000", "mine", ""])
def test_a_name_that_was_made_to_mean_this_machine_is_refused(host: str) -> None:
    assert "name" in Access("secret").refusal(host=host, origin=None)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost",
        "http://localhost:8001",
        "null",
        "",
        f"ws://{PAGE}",
    ],
)
def test_the_page_of_another_site_is_refused(origin: str) -> None:
    assert "another site" in Access("secret").refusal(host=PAGE, origin=origin)


def test_a_web_socket_says_where_it_comes_from() -> None:
    assert "Origin" in Access("secret").refusal(host=PAGE, origin=None, needs_origin=True)


def test_what_only_this_machine_reaches() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("192.168.1.7")
