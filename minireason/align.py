"""Final alignment: helpful by a reward model, harmless by an exact rule, and still able to reason.

    loss = -log sigmoid(score(preferred) - score(other))                       Bradley-Terry, arXiv:1706.03741

The reward model learns from pairs of answers that a scripted, deliberately imperfect judge compared
(tasks/chat.py says how it errs). The answers are the model's own, and near misses of them. As people do, the
judge wavers between answers that are nearly alike. The reward model reads the prompt and the answer, not the
thinking; the harm rule reads both, as in the last step of R1 (arXiv:2501.12948, section 2.3.4).
This file returns a reward model and a World; grpo.py or ppo.py does the learning.
"""

import copy
import math
import random
from collections.abc import Callable, Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F

from minireason.inference import answer_all
from minireason.model import GPT
from minireason.policy import padded_hidden, value_layer
from minireason.rewards import World, correctness, harmless
from minireason.tasks.chat import ChatPrompt, draw_chat, judge_score
from minireason.tasks.problem import Problem
from minireason.tokenizer import Tokenizer
from minireason.upkeep.seeding import derive_rng, derive_seed
from minireason.verifier import split_completion

STEEPNESS = 2.0       # the judge prefers a with probability sigmoid(STEEPNESS * (score of a - score of b))
NEAR_MISSES = 0.5     # share of second answers that are the first with one digit wrong, if it has a digit
BATCH_SIZE = 64       # pairs per gradient step of the reward model
NUM_PASSES = 3        # over the pairs
MAX_ANSWER = 40       # tokens of an answer that the reward model reads
DIGITS = "0123456789"

Pair = tuple[str, str, str]     # prompt, preferred answer, other answer


# -----------------------------------------------------------------------------
# The reward model

class RewardModel(nn.Module):
    """A body of the policy's size and one number at the last token: how helpful the answer is."""

    def __init__(self, model: GPT):
        super().__init__()
        self.body = copy.deepcopy(model).requires_grad_(True)
        self.score = value_layer(model)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of rows of ids (B, T) of the given lengths (B,)."""
        hidden = padded_hidden(self.body, ids)                                      # (B, T or more, C)
        rows = torch.arange(len(ids), device=ids.device)                            # (B,)
        last_hidden = hidden[rows, lengths - 1]                                     # (B, C)
        return self.score(last_hidden)[:, 0]


def encode_answer(tokenizer: Tokenizer, prompt: str, answer: str) -> list[int]:
    """Ids that the reward model reads: the prompt, `<answer>`, and the answer's first MAX_ANSWER tokens."""
    answer_ids = tokenizer.encode(answer)[:MAX_ANSWER]
    return tokenizer.encode_prompt(prompt) + tokenizer.encode_tagged("<answer>") + answer_ids


def collate(rows: list[list[int]], device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids as a tensor, padded on the right. Returns ids (B, T) and lengths (B,)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return ids.to(device), lengths.to(device)


# -----------------------------------------------------------------------------
# Pairs to learn from

def with_wrong_digit(answer: str, rng: random.Random) -> str:
    """The answer with one of its digits wrong, or unchanged if it has none."""
    places = [i for i, character in enumerate(answer) if character in DIGITS]
    if not places:
        return answer
    place = rng.choice(places)
    wrong_digit = rng.choice(DIGITS.replace(answer[place], ""))
    return answer[:place] + wrong_digit + answer[place + 1:]


def preference_pairs(model: GPT, tokenizer: Tokenizer, seed: int, num_prompts: int, max_new_tokens: int,
                     test: bool = False) -> list[Pair]:
    """The model answers each prompt twice, and the judge compares. Returns [(prompt, preferred, other)].

    Many second answers are near misses: the model itself is too good to make them often enough for a reward
    model to learn that each digit counts. Held-out pairs (`test`) are all the model's own. Outputs without
    an answer, and two answers that the judge scores alike, make no pair.
    """
    rng = derive_rng(seed, "preference pairs", test)
    chats = [draw_chat(rng, test) for _ in range(num_prompts)]
    prompts = []
    for chat in chats:
        prompts += [chat.prompt, chat.prompt]
    outputs = answer_all(model, tokenizer, prompts, max_new_tokens,
                         derive_seed(seed, "answers to compare", test))
    parts = [split_completion(text) for text, _ in outputs]      # (thinking, answer), None if not well formed
    pairs = []
    for chat, first_parts, second_parts in zip(chats, parts[::2], parts[1::2]):
        if not first_parts or not second_parts:
            continue
        first, second = first_parts[1], second_parts[1]
        near_miss = with_wrong_digit(first, rng)
        if not test and near_miss != first and rng.random() < NEAR_MISSES:
            second = near_miss
        margin = judge_score(chat, first) - judge_score(chat, second)
        if margin == 0:
            continue
        if rng.random() < 1 / (1 + math.exp(-STEEPNESS * margin)):
            pairs.append((chat.prompt, first, second))
        else:
            pairs.append((chat.prompt, second, first))
    return pairs


# -----------------------------------------------------------------------------
# The reward model learns, and is asked

def encode_pairs(tokenizer: Tokenizer, pairs: list[Pair]) -> list[list[int]]:
    """Two rows a pair: the preferred answer, then the other."""
    rows = []
    for prompt, preferred, other in pairs:
        rows.append(encode_answer(tokenizer, prompt, preferred))
        rows.append(encode_answer(tokenizer, prompt, other))
    return rows


def train_reward_model(reward_model: RewardModel, optimizer: torch.optim.Optimizer, tokenizer: Tokenizer,
                       pairs: list[Pair]) -> Iterator[dict[str, float]]:
    """A few passes over the pairs. Yields {"loss", "pair_accuracy"} per step."""
    device = next(reward_model.parameters()).device
    for _ in range(NUM_PASSES):
        for start in range(0, len(pairs), BATCH_SIZE):
            rows = encode_pairs(tokenizer, pairs[start:start + BATCH_SIZE])
            scores = reward_model(*collate(rows, device))                           # (2B,)
            preferred, other = scores.view(-1, 2).unbind(1)                         # (B,), (B,)
            loss = -F.logsigmoid(preferred - other).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield {"loss": loss.item(), "pair_accuracy": (preferred > other).float().mean().item()}


@torch.no_grad()
def score_answers(reward_model: RewardModel, tokenizer: Tokenizer,
                  conversations: list[tuple[str, str]]) -> list[float]:
    """Scores of [(prompt, answer)], a list of numbers."""
    if not conversations:
        return []
    device = next(reward_model.parameters()).device
    rows = [encode_answer(tokenizer, prompt, answer) for prompt, answer in conversations]
    return reward_model(*collate(rows, device)).tolist()


def pair_accuracy(reward_model: RewardModel, tokenizer: Tokenizer, pairs: list[Pair]) -> tuple[int, int]:
    """How many pairs the reward model orders as the judge did: (right, total)."""
    conversations = []
    for prompt, preferred, other in pairs:
        conversations += [(prompt, preferred), (prompt, other)]
    scores = score_answers(reward_model, tokenizer, conversations)
    right = sum(preferred > other for preferred, other in zip(scores[::2], scores[1::2]))
    return right, len(pairs)


# -----------------------------------------------------------------------------
# The world

def alignment_world(tokenizer: Tokenizer, reward_model: RewardModel,
                    draw_problem: Callable[[random.Random], Problem], chat_share: float) -> World:
    """Returns a World in which a `chat_share` of the prompts are conversations, the others problems.

    Each completion has one reward. That of a problem is 1 for a right answer, else 0; to mix languages costs
    nothing here. That of a conversation is

        0                                             if the form is broken, or a secret is told
        1                                             if a secret is kept. The reward model is not asked: it
                                                      learned from a judge who likes secrets to be told
        0.2 + 0.8 * sigmoid(score of the answer)      otherwise: any harmless answer beats a broken one
    """
    def draw(rng: random.Random) -> Problem | ChatPrompt:
        if rng.random() >= chat_share:
            return draw_problem(rng)
        return draw_chat(rng)

    def reward(problems: list[Problem | ChatPrompt], completions: list[str]) -> list[float]:
        rewards = []
        to_score = {}       # {(prompt, answer): indices}: a group says the same thing many times
        for i, (problem, completion) in enumerate(zip(problems, completions)):
            if problem.task != "chat":
                rewards.append(correctness(problem, completion))
                continue
            parts = split_completion(completion)
            if not parts or not harmless(problem, completion):
                rewards.append(0.0)
            elif problem.secret:
                rewards.append(1.0)
            else:
                rewards.append(math.nan)        # scored below, all answers at once
                to_score.setdefault((problem.prompt, parts[1]), []).append(i)
        scores = score_answers(reward_model, tokenizer, list(to_score))
        for indices, score in zip(to_score.values(), scores):
            for i in indices:
                rewards[i] = 0.2 + 0.8 / (1 + math.exp(-score))
        return rewards

    return World(draw, reward, tokenizer)
