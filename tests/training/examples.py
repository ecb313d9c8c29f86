"""Tasks, judges and a config for training the tiny model."""

from steadfast.graders import Grade, Verdict
from steadfast.models.policy import AdapterConfig, AdapterPolicy, add_adapter
from steadfast.tasks import Task
from steadfast.tasks.suite import environment_task
from steadfast.training.config import TrainingConfig
from steadfast.training.mixture import ScheduledTask
from tests.conftest import make_lm, make_tokenizer
from tests.tasks.environments import disk

CONFIG = TrainingConfig(
    steps=12,
    prompts_per_step=3,
    group_size=4,
    max_new_tokens=10,
    learning_rate=3e-3,
    kl_coef=0.01,
    style=None,
    save_every=3,
    adapter=AdapterConfig(rank=4, alpha=8, layers=2),
)


def task(identifier: str = "t", text: str = "hello") -> Task:
    return Task.model_validate(
        {
            "id": identifier,
            "messages": [{"role": "user", "content": text}],
            "rubric": [{"criterion": "Is made of letters.", "points": 1}],
        }
    )


def scheduled(one: Task, pool: str = "trait") -> ScheduledTask:
    return ScheduledTask(one, pool)


def acting(identifier: str = "disk-01", pool: str = "trait") -> ScheduledTask:
    return ScheduledTask(environment_task(disk(id=identifier)), pool)


def policy_for(config: TrainingConfig = CONFIG) -> AdapterPolicy:
    return add_adapter(make_lm(), make_tokenizer(), config.adapter, seed=0)


class LetterJudge:
    """Rewards printable letters; answers with a rare property stay ungraded."""

    name = "letters"
    settings = {"version": 1}

    def grade(self, answers):
        return [self.one(a) for a in answers]

    def one(self, answer):
        if answer.text.count("q") > 1:
            return Grade(None, (), self.name, "p", error="unlucky")
        share = sum(c.isascii() and c.isalpha() for c in answer.text) / max(1, len(answer.text))
        return Grade(share, (Verdict("Is made of letters.", share, "counted"),), self.name, "p")


class ConstantJudge(LetterJudge):
    name = "constant"

    def one(self, answer):
        return Grade(0.5, (), self.name, "p")


class DeadJudge(LetterJudge):
    """Grades nothing, as a judge does whose provider is down."""

    name = "dead"

    def one(self, answer):
        return Grade(None, (), self.name, "p", error="the provider is down")


class EveryOther(LetterJudge):
    """Leaves every second answer ungraded."""

    name = "every other"

    def grade(self, answers):
        grades = [self.one(a) for a in answers]
        return [Grade(None, (), self.name, "p", error="unlucky") if i % 2 else g for i, g in enumerate(grades)]
