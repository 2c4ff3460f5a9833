"""What all tests share.

Tests of properties draw the same examples in every run, so that what passed once passes again.
``HYPOTHESIS_PROFILE=search`` draws others each time: to look for faults, by hand.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
