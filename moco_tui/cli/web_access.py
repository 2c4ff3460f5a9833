"""Who may speak to the server of ``moco-tui serve``: who knows its token, from its own page."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable

_TOKEN_BYTES = 32
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?", re.IGNORECASE)


def new_token() -> str:
    """256 random bits that can stand in an address."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return ipaddress.ip_address(address).is_loopback


def name_of(host: str) -> str:
    """The name or address in a ``Host`` header, in lower case, without port and brackets.

    Empty for what can be none (RFC 9110, section 7.2).
    """
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


class Access:
    """Judges requests by their headers.

    The token alone keeps out other users of the machine. A page of another site that a browser
    shows could still have the browser ask, with its cookie: it cannot name another origin than its
    own (``Origin``, RFC 6454), and where its own name was made to mean this machine (DNS
    rebinding), that name stands in ``Host``. An address in digits cannot be made to mean another.

    Args:
        token: what a request has to bring along.
        names: names of the server besides ``localhost``.
    """

    def __init__(self, token: str, names: Iterable[str] = ()) -> None:
        self._token = token.encode()
        self._names = {"localhost", *(name.lower() for name in names)}

    def knows(self, given: str) -> bool:
        """Whether somebody knows the token; takes as long wherever it differs."""
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token)

    def refusal(self, *, host: str, origin: str | None, needs_origin: bool = False) -> str:
        """Why a request is refused, as a sentence; empty where its headers are those of our page.

        Args:
            host: of the header ``Host``.
            origin: of the header ``Origin``; None: without.
            needs_origin: a browser always sends one with this kind of request.
        """
        if not self._is_ours(name_of(host)):
            return "This server does not go by the name in the address."
        if origin is None:
            return "A web socket needs an Origin." if needs_origin else ""
        if origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return "The request comes from a page of another site."
        return ""

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
