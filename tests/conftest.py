"""Hypothesis profiles: MINILLM_HYPOTHESIS=quick runs few examples (under the sanitizers)."""

import os

from hypothesis import HealthCheck, settings

# No deadline: timing never decides a test, and a shared machine may pause at any moment.
_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=60, **_common)
settings.register_profile("quick", max_examples=12, **_common)
settings.load_profile(os.environ.get("MINILLM_HYPOTHESIS", "default"))
