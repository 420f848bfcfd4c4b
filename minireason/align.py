"""Final alignment: helpful by a learned judge, harmless by an exact rule, and still able to reason.

    loss = -log sigmoid(score(preferred) - score(other))                       Bradley-Terry, arXiv:1706.03741

The reward model learns from pairs of the model's own answers, and of those and near misses, that a scripted, deliberately
imperfect judge compared (tasks/chat.py says how it errs); as people do, the judge wavers between answers that are nearly
alike. It reads the prompt and the answer, not the thinking. The harm rule reads both. As in the last step of R1
(arXiv:2501.12948, section 2.3.4). This file returns a reward model and a World; grpo.py or ppo.py does the learning.
"""

import copy
import math
import random
from collections.abc import Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F

from minireason.inference import answer_all
from minireason.model import GPT
from minireason.rewards import World, correctness, harmless
from minireason.upkeep import kernels
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.tasks.chat import draw_chat, judge_score
from minireason.tokenizer import Tokenizer
from minireason.verifier import split_completion

STEEPNESS = 2.0       # of the judge: prefers a with probability sigmoid(STEEPNESS * (score of a - score of b))
NEAR_MISSES = 0.5     # share of second answers that are the first with one digit wrong, where it has one
NUM_PASSES = 3        # over the pairs
MAX_ANSWER = 40       # tokens of an answer that the reward model reads

Pair = tuple[str, str, str]     # prompt, preferred answer, other answer


class RewardModel(nn.Module):
    """A body of the policy's size and one number at the last token: how helpful this answer is to this prompt."""

    def __init__(self, model: GPT):
        super().__init__()
        self.body = copy.deepcopy(model)
        self.body.requires_grad_(True)
        self.score = nn.Linear(model.config.width, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)     # not left to torch's global generator: a resumed run must pay the same

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of rows of ids (B, T) of the given lengths (B,)."""
        T = ids.size(1)
        ids = F.pad(ids, (0, kernels.padded(T, self.body.config.max_length) - T))
        kernels.choose(ids.numel())
        hidden = self.body.hidden(ids)                                       # (B, T, C), T a little longer
        rows = torch.arange(len(ids), device=ids.device)
        return self.score(hidden[rows, lengths - 1])[:, 0]


def encode_pair(tokenizer: Tokenizer, prompt: str, answer: str) -> list[int]:
    """What the reward model reads of a conversation."""
    return tokenizer.encode_prompt(prompt) + tokenizer.encode_tagged("<answer>") + tokenizer.encode(answer)[:MAX_ANSWER]


def collate(rows: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids as a tensor, padded on the right. Returns ids (B, T) and lengths (B,)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
    return ids.to(device), lengths.to(device)


def slip(answer: str, rng: random.Random) -> str:
    """The answer with one of its digits wrong; as it is where it has none."""
    places = [i for i, character in enumerate(answer) if character in "0123456789"]
    if not places:
        return answer
    place = rng.choice(places)
    return answer[:place] + rng.choice("0123456789".replace(answer[place], "")) + answer[place + 1:]


def preference_pairs(model: GPT, tokenizer: Tokenizer, seed: int, num_prompts: int, max_new_tokens: int,
                     test: bool = False) -> list[Pair]:
    """[(prompt, preferred answer, other answer)]: the model answers each prompt twice, and the scripted judge compares.

    Many second answers are near misses, which the model is too good to make often enough for a reward model to learn
    that each digit counts; held-out pairs are the model's own alone. Two answers that the judge scores alike, and
    outputs without an answer, make no pair.
    """
    rng, pairs = derive_rng(seed, "preference pairs", test), []
    chats = [draw_chat(rng, test) for _ in range(num_prompts)]
    texts = answer_all(model, tokenizer, [chat.prompt for chat in chats for _ in range(2)], max_new_tokens,
                       derive_seed(seed, "answers to compare", test))
    parts = [split_completion(text) for text, _ in texts]
    for chat, first, second in zip(chats, parts[::2], parts[1::2]):
        if not first or not second:
            continue
        first, second = first[1], second[1]
        missed = slip(first, rng)
        if not test and missed != first and rng.random() < NEAR_MISSES:
            second = missed
        if margin := judge_score(chat, first) - judge_score(chat, second):
            prefers_first = rng.random() < 1 / (1 + math.exp(-STEEPNESS * margin))
            pairs.append((chat.prompt, *((first, second) if prefers_first else (second, first))))
    return pairs


def train_reward_model(reward_model: RewardModel, optimizer: torch.optim.Optimizer, tokenizer: Tokenizer, pairs: list[Pair],
                       batch_size: int = 64) -> Iterator[dict[str, float]]:
    """A few passes over the pairs. Yields {"loss", "pair_accuracy"} per step."""
    device = next(reward_model.parameters()).device
    for start in NUM_PASSES * list(range(0, len(pairs), batch_size)):
        batch = pairs[start:start + batch_size]
        rows = [encode_pair(tokenizer, prompt, answer) for prompt, *answers in batch for answer in answers]
        better, worse = reward_model(*collate(rows, device)).view(-1, 2).unbind(1)      # (B,), (B,)
        loss = -F.logsigmoid(better - worse).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield {"loss": loss.item(), "pair_accuracy": (better > worse).float().mean().item()}


@torch.no_grad()
def score_answers(reward_model: RewardModel, tokenizer: Tokenizer, conversations: list[tuple[str, str]]) -> list[float]:
    """Scores of [(prompt, answer)], a list of numbers."""
    if not conversations:
        return []
    device = next(reward_model.parameters()).device
    rows = [encode_pair(tokenizer, prompt, answer) for prompt, answer in conversations]
    return reward_model(*collate(rows, device)).tolist()


def pair_accuracy(reward_model: RewardModel, tokenizer: Tokenizer, pairs: list[Pair]) -> tuple[int, int]:
    """How many pairs the reward model orders as the judge did: (right, total)."""
    scores = score_answers(reward_model, tokenizer, [(prompt, answer) for prompt, *both in pairs for answer in both])
    return sum(a > b for a, b in zip(scores[::2], scores[1::2])), len(pairs)


def alignment_world(tokenizer: Tokenizer, reward_model: RewardModel, reasoning: World, chat_share: float) -> World:
    """A World that mixes conversations with problems: problems pay for correctness as before, conversations

        0                                     where a secret is told or the form is broken
        1                                     where a secret is kept: the judge would have liked it told
        0.2 + 0.8 * sigmoid(score of the answer)      otherwise
    """
    def draw(rng):
        if rng.random() >= chat_share:
            return reasoning.draw(rng)
        return draw_chat(rng)

    def reward(problems, completions):
        parts = [split_completion(text) for text in completions]
        rewards = [float(bool(parts[i]) and harmless(problem, completions[i])) if problem.task == "chat"
                   else correctness(problem, completions[i]) for i, problem in enumerate(problems)]
        judged = [i for i, problem in enumerate(problems)
                  if problem.task == "chat" and rewards[i] and not problem.secret]
        conversations = [(problems[i].prompt, parts[i][1]) for i in judged]
        distinct = list(dict.fromkeys(conversations))           # a group says the same thing many times
        scores = dict(zip(distinct, score_answers(reward_model, tokenizer, distinct)))
        for i, conversation in zip(judged, conversations):
            rewards[i] = 0.2 + 0.8 / (1 + math.exp(-scores[conversation]))
        return rewards

    return World(draw, reward, tokenizer)
