"""Options and fixtures of all tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

import hacluster

assert hacluster.VERSION  # imported before gRPC: what it sets counts for the tests as for the daemons

# A busy machine is no failure of a property. Where CI is set every run tries the same examples, so that a
# red run can be repeated; elsewhere each run tries new ones.
settings.register_profile(
    "default",
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow,),
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="write what the code answers into the scenario files"
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether scenario files are to be rewritten (`pytest --rewrite`; read the diff)."""
    return bool(request.config.getoption("--rewrite"))
