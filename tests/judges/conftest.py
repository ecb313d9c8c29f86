import pytest

from steadfast.corpus import Scenario
from tests.corpus.examples import record


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.model_validate(record())
