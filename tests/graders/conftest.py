import pytest

from steadfast.tasks import Scenario
from tests.tasks.examples import record


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.model_validate(record())
