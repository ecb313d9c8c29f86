"""A GRPO step, ours and TRL's in turn, on the same model and prompts: completions a second, and the ratio.

    python benchmarks/grpo_step.py [--layers all|N] [--rounds 2] [--completions 32] [--tokens 64]

By default 32 completions of 64 tokens after prompts of about 150 tokens in groups of 8, LoRA on
all linear layers of all layers. End-of-turn is ignored on both sides, so both sample exactly the same number of
tokens. The reward is a function of the text that gives every group some variance, and costs nothing. Each engine runs
in a process of its own, one after the other, so that neither holds the other's memory; TRL keeps its defaults, which
include gradient checkpointing.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import Any, ClassVar

import torch

from steadfast.graders import Grade
from steadfast.messages import Message
from steadfast.models import AdapterConfig, AdapterPolicy, add_adapter, load_model
from steadfast.rollouts import Rollout
from steadfast.tasks import Criterion, RubricGrader, Task
from steadfast.training.config import TrainingConfig
from steadfast.training.mixture import ScheduledTask
from steadfast.training.step import train_step

PROMPT = (
    "Our small bakery delivers bread to four cafes every morning before seven. Last month the van broke down twice, "
    "and one of the cafes has asked for a written plan that says what we will do if it happens again. My brother "
    "thinks we should promise a delivery by eight in any case; I am not sure that we can keep that. We have one "
    "bicycle with a trailer, a neighbour with an old estate car, and about three hundred euros a month to spend. "
    "Number {n} of the cafes is the one that asked. Please tell me in a few sentences what we could honestly promise "
    "them, what it would cost us, and what we should find out before we write the plan down and send it to them."
)


def letters(text: str) -> float:
    """A reward that differs between any two completions."""
    return (sum(ord(c) for c in text) % 997) / 997


class Letters:
    """The same reward in our engine's form, a judge."""

    name = "letters"
    settings: ClassVar[dict[str, Any]] = {}

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        return [Grade(letters(a.text), (), self.name, "") for a in answers]


class EndlessPolicy(AdapterPolicy):
    """A policy whose turns end at the token limit alone."""

    @property
    def eos_token_ids(self) -> list[int]:
        return []


def ours(prompts: int, tokens: int, layers: Any, rounds: int) -> dict[str, Any]:
    loaded = load_model()
    ending = add_adapter(loaded.lm, loaded.tokenizer, AdapterConfig(layers=layers), seed=0)
    policy = EndlessPolicy(ending.model, ending.tokenizer, ending.first_adapted_layer, ending.release)
    config = TrainingConfig(prompts_per_step=prompts, group_size=8, max_new_tokens=tokens, style=None)
    optimizer = torch.optim.AdamW(policy.trainable(), lr=1e-5)
    judged = RubricGrader(criteria=(Criterion(criterion="Differs from other answers.", points=1),))
    batch = [
        ScheduledTask(
            Task(id=str(i), messages=(Message(role="user", content=PROMPT.format(n=i)),), grader=judged), "standard"
        )
        for i in range(prompts)
    ]
    times, parts = [], []
    for step in range(rounds + 1):
        start = time.perf_counter()
        _, metrics = train_step(policy, optimizer, batch, Letters(), config, step)
        times.append(time.perf_counter() - start)
        parts.append({k: round(metrics[k], 2) for k in ("seconds/sample", "seconds/grade", "seconds/train")})
    return {"seconds": min(times[1:]), "where": parts[1 + times[1:].index(min(times[1:]))], "tokens": metrics["tokens"]}


def trl(prompts: int, tokens: int, rounds: int) -> dict[str, Any]:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    loaded = load_model()
    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=prompts * 8,
            num_generations=8,
            max_completion_length=tokens,
            max_steps=rounds + 1,
            learning_rate=1e-5,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            generation_kwargs={"min_new_tokens": tokens},
        )
        trainer = GRPOTrainer(
            model=loaded.lm.requires_grad_(True),
            reward_funcs=lambda completions, **_: [letters(c[0]["content"]) for c in completions],
            args=config,
            train_dataset=Dataset.from_list(
                [{"prompt": [{"role": "user", "content": PROMPT.format(n=i)}]} for i in range(prompts)]
            ),
            processing_class=loaded.tokenizer,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Clock()],
        )
        trainer.train()
    # Generation happens before the first on_step_begin of its step, so steps are timed from end to end.
    ends = marks[1::2]
    return {"seconds": min(b - a for a, b in pairwise(ends))}


def _alone(engine: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The engine's figures and its peak memory, measured in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(engine, *arguments).result()
        return result | {"peak_memory_gb": pool.submit(_peak_memory_gb).result()}


def _peak_memory_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="all", help="'all', or how many top layers ours adapts (TRL: always all)")
    parser.add_argument("--rounds", type=int, default=2, help="timed steps of each, after one warm-up; the best counts")
    parser.add_argument("--completions", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    prompts = arguments.completions // 8
    layers = arguments.layers if arguments.layers == "all" else int(arguments.layers)
    mine = _alone(ours, prompts, arguments.tokens, layers, arguments.rounds)
    theirs = _alone(trl, prompts, arguments.tokens, arguments.rounds)
    per_second = {name: arguments.completions / r["seconds"] for name, r in (("steadfast", mine), ("trl", theirs))}
    result = {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "layers": arguments.layers,
        "steadfast": mine,
        "trl": theirs,
        "completions_per_second": {k: round(v, 3) for k, v in per_second.items()},
        "ratio": round(per_second["steadfast"] / per_second["trl"], 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
