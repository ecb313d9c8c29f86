import pytest

from steadfast.tasks import Task
from tests.tasks.examples import record


@pytest.fixture
def scenario() -> Task:
    return Task.model_validate(record())
