"""Sends a note through Apprise, in a process of its own that can be ended when it hangs.

Reads a JSON object from stdin: ``urls``, ``title``, ``body``. Prints a JSON list with what went
wrong for each address, empty texts where nothing did. Addresses hold passwords: they come through
stdin, where no other user sees them, and are never printed.
"""

from __future__ import annotations

import json
import logging
import sys


def main() -> None:
    """Sends to one address after the other."""
    asked = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        missing = "Apprise is not installed; pip install 'moco-tui[notify]'"
        print(json.dumps([missing] * len(asked["urls"])))
        return
    logging.disable()  # it would print addresses
    said = []
    for url in asked["urls"]:
        one = apprise.Apprise()
        if not one.add(url):
            said.append("Apprise does not know such an address")
        elif not one.notify(title=asked["title"], body=asked["body"]):
            said.append("it was not delivered")
        else:
            said.append("")
    print(json.dumps(said))


if __name__ == "__main__":
    main()
