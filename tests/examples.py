"""How many examples hypothesis draws.

``pytest --hypothesis-profile``: ``dev``, which is the default, draws anew in every run; ``ci`` draws the same in every
run, and ``make test`` uses it; ``nightly`` draws 20 times as many. What a run finds becomes a fixed ``@example``.
"""

from hypothesis import HealthCheck, settings

_USUAL = 100  # hypothesis' own default

settings.register_profile(
    "dev", max_examples=_USUAL, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=20 * _USUAL, print_blob=True)
settings.load_profile("dev")


def draws(n_examples):
    """Return the settings of a test that is worth so many examples, in proportion to those of the profile."""
    return settings(max_examples=n_examples * settings.default.max_examples // _USUAL)
