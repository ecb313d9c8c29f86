"""Can a small language model, read offline, tell a statement from its negation well enough to be a judge?

    python benchmarks/reading_judge.py [--model FOLDER_OR_NAME] [--pairs 25]

The exam of polarity (`steadfast.graders.exam.polarity`) must not be fitted on, so methods are fitted and chosen on
development pairs: statements of the training scenarios, each with itself negated, or with its negation taken out. There
are as many pairs of each of four cells: the negation stands in the false answer or in the true one, and the answer that
a person wrote is the true one or the false one. So neither counting negations nor preferring natural text earns more
than a half. A pair's remaining statements are the examples of what meets its criterion and of what does not.

Two methods read each answer twice, as the reply to the question after "Say it like this:" with the met examples and
with the unmet ones:

- likelihood ratio: the answer's log-probability after the met examples less that after the unmet ones, with nothing
  fitted.
- probe: a linear head without a bias on the same difference of the answer's mean hidden states in one layer, fitted by
  a pairwise logistic loss. To exchange the examples' sides turns its sign round.

Each development pair is judged by a head that saw no pair of its trait nor of the others of its fold of three traits;
the exam by one that saw all of them. Printed is the share of pairs whose true answer scores higher, with its 95% Wilson
interval. A judge needs 0.75 of both kinds of negation.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from statsmodels.stats.proportion import proportion_confint
from torch import Tensor
from torch.nn import functional

from steadfast.graders.exam.polarity import KINDS, LEAST, NEGATIONS, MinimalPair, minimal_pairs
from steadfast.messages import Message
from steadfast.models import load_model
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.tasks import Task, built_in_scenarios
from steadfast.tasks.rubric import Criterion

FOLDS = 5
DEPTH = 0.6
"""The probe reads the layer at this share of the model's depth, the best of seven on other pairs and prompts."""

DECAY = 0.1
LONGEST_STATEMENT = 22
LONGEST_QUESTION = 40
"""Statements and questions of more words are left out, which keeps the benchmark short."""

_TAKES_NOT = re.compile(r"\b(is|are|was|were|can|will|would|should|must|may|could)\b(?! not|n't)", re.IGNORECASE)
_HAS_NOT = re.compile(
    r"\b(is|are|was|were|has|have|had|would|should|must|could|does|do|did)(?: not|n't)\b", re.IGNORECASE
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|nothing|nobody|none|neither|nor|without|cannot|\w+n['\u2019]t)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Pair:
    """A development or exam pair: its kind, the minimal pair, and the development cell that it belongs to."""

    kind: str
    text: MinimalPair
    cell: tuple[str, str] = ("", "")


def negated(statement: str) -> tuple[str, bool] | None:
    """Give a statement with its one negation taken out or a "not" put in, and whether the change put one in.

    None is given where it is not plain how: with several negations or verbs that could take one, or another negation.
    """
    if _NEGATION.search(statement):
        found = list(_HAS_NOT.finditer(statement))
        if len(found) != 1 or len(_NEGATION.findall(statement)) != 1:
            return None
        return statement[: found[0].end(1)] + statement[found[0].end() :], False
    found = list(_TAKES_NOT.finditer(statement))
    if len(found) != 1:
        return None
    changed = f"{statement[: found[0].end()]} not{statement[found[0].end() :]}"
    return changed.replace("can not", "cannot").replace("Can not", "Cannot"), True


def pairs_of(scenario: Task, criterion: Criterion) -> list[Pair]:
    """Make a criterion's development pairs, one of each statement that can be negated and has a sibling."""
    asked = scenario.messages[-1].content
    pairs: list[Pair] = []
    for written, own, other in (("true", criterion.met, criterion.unmet), ("false", criterion.unmet, criterion.met)):
        for statement in own:
            rest = tuple(s for s in own if s != statement)
            change = negated(statement)
            if not rest or not other or change is None or len(statement.split()) > LONGEST_STATEMENT:
                continue
            changed, put_in = change
            true, false = (statement, changed) if written == "true" else (changed, statement)
            kind = "added" if put_in == (written == "true") else "removed"
            text = MinimalPair(
                trait=scenario.trait or "",
                domain=scenario.domain or "",
                asked=asked,
                criterion=criterion.criterion,
                met=rest if written == "true" else other,
                unmet=other if written == "true" else rest,
                true=true,
                false=false,
            )
            pairs.append(Pair(kind, text, (kind, written)))
    return pairs


def development_pairs(number: int) -> list[Pair]:
    """Draw so many pairs of each of the four cells from the training scenarios."""
    cells: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for scenario in built_in_scenarios():
        if scenario.split == "train" and len(scenario.messages[-1].content.split()) <= LONGEST_QUESTION:
            for criterion in scenario.rubric:
                for pair in pairs_of(scenario, criterion):
                    cells[pair.cell].append(pair)
    return [pair for _, cell in sorted(cells.items()) for pair in Random(0).sample(cell, min(number, len(cell)))]


class Reader:
    """A language model that reads the answers of a pair after the examples of either side."""

    def __init__(self, model: str | None) -> None:
        loaded = load_model(model) if model else load_model()
        self.lm, self.chat = loaded.lm, loaded.chat
        prepack_frozen_linears(self.lm)
        self.layer = round(DEPTH * self.lm.config.num_hidden_layers)

    @torch.no_grad()
    def after(self, prompt: str, answers: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Compute the answers' log-probabilities in nats, [answers], and mean hidden states, [answers, size]."""
        ids = torch.tensor([self.chat.encode([Message(role="user", content=prompt)])])
        read = self.lm(ids, use_cache=True, logits_to_keep=1)
        nats: list[Tensor] = []
        states: list[Tensor] = []
        for answer in answers:
            tokens = torch.tensor(self.chat.encode_reply(answer))
            out = self.lm(tokens[None], past_key_values=deepcopy(read.past_key_values), output_hidden_states=True)
            predicted = torch.cat([read.logits[0, -1:], out.logits[0, :-1]]).log_softmax(-1)
            nats.append(predicted.gather(1, tokens[:, None]).sum())
            states.append(out.hidden_states[self.layer][0].mean(0))
        return torch.stack(nats), torch.stack(states)

    def differences(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        """Compute what sets the true answers apart from the false ones, after met examples less after unmet ones.

        Returns:
            The log-likelihood ratios, [pairs], and the differences of hidden states, [pairs, size].
        """
        ratios: list[Tensor] = []
        states: list[Tensor] = []
        for pair in pairs:
            text = pair.text
            sides = [
                self.after(f"{text.asked} Say it like this: {' '.join(examples)}", (text.true, text.false))
                for examples in (text.met, text.unmet)
            ]
            nats, hidden = (met - unmet for met, unmet in zip(*sides, strict=True))
            ratios.append(nats[0] - nats[1])
            states.append(hidden[0] - hidden[1])
        return torch.stack(ratios), torch.stack(states)


def fit(differences: Tensor) -> Tensor:
    """Fit a head, [size], by which true answers score above false ones, from [pairs, size] of unit scale."""
    head = torch.zeros(differences.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.softplus(-(differences @ head)).mean() + DECAY * head.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return head.detach()


def left_out(pairs: Sequence[Pair], states: Tensor) -> Tensor:
    """Compute the probe's margins of development pairs, [pairs], by heads that saw nothing of the pair's fold."""
    traits = sorted({p.text.trait for p in pairs})
    fold = torch.tensor([traits.index(p.text.trait) % FOLDS for p in pairs])
    margins = torch.zeros(len(pairs))
    for number in range(FOLDS):
        margins[fold == number] = states[fold == number] @ fit(states[fold != number])
    return margins


def share(margins: Tensor, chosen: Callable[[int], bool]) -> tuple[float, str]:
    """Compute the share of the chosen pairs with a margin above zero (a tie counts half), and tell it."""
    values = margins[[i for i in range(len(margins)) if chosen(i)]].numpy()
    right = float(np.where(values == 0, 0.5, values > 0).sum())
    low, high = proportion_confint(right, len(values), method="wilson")
    return right / len(values), f"{right / len(values):.2f} [{low:.2f}, {high:.2f}], n {len(values)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="another language model than the default")
    parser.add_argument("--pairs", type=int, default=25, help="development pairs of each of the four cells")
    options = parser.parse_args()
    reader = Reader(options.model)
    development = development_pairs(options.pairs)
    exam = [Pair(kind, text) for kind in KINDS for text in minimal_pairs(kind)]
    ratios, states = reader.differences(development)
    exam_ratios, exam_states = reader.differences(exam)
    scale = states.std()
    probed = left_out(development, states / scale), (exam_states / scale) @ fit(states / scale)
    methods = {"likelihood ratio": (ratios, exam_ratios), f"probe of layer {reader.layer}": probed}

    columns = [
        (pairs, name, kind)
        for pairs, name, kinds in ((development, "development", NEGATIONS), (exam, "exam", KINDS))
        for kind in kinds
    ]
    print(f"| method | {' | '.join(f'{name}: {kind}' for _, name, kind in columns)} | passes |")
    print("|---" * (len(columns) + 2) + "|")
    for method, (on_development, on_exam) in methods.items():
        shares = [
            share(on_exam if pairs is exam else on_development, lambda i, p=pairs, k=kind: p[i].kind == k)
            for pairs, _, kind in columns
        ]
        passes = all(s >= LEAST for (s, _), (_, _, kind) in zip(shares, columns, strict=True) if kind in NEGATIONS)
        print(f"| {method} | {' | '.join(told for _, told in shares)} | {'yes' if passes else 'no'} |")


if __name__ == "__main__":
    main()
