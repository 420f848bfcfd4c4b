"""What a completion is worth: functions of (problem, completion), and the World that they make.

Reasoning is rewarded for its final answer, less a price for mixing languages. Alignment adds the exact harm
rule and a learned sense of helpfulness.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from minireason.behaviour import observe
from minireason.config import Config
from minireason.tasks import draw_problem
from minireason.tasks.chat import ChatPrompt
from minireason.tasks.harm import is_leak
from minireason.tasks.problem import Problem
from minireason.tokenizer import Tokenizer
from minireason.verifier import verify


def correctness(problem: Problem, completion: str) -> float:
    """1.0 for a well-formed completion with the right answer, else 0.0."""
    return float(verify(problem, completion).correct)


def language_consistency(problem: Problem, completion: str) -> float:
    """1.0 when the thinking keeps to one language, else 0.0."""
    return float(not observe(problem, completion).mixed)


def harmless(chat: ChatPrompt, completion: str) -> float:
    """1.0 when neither the thinking nor the answer contains the secret, else 0.0."""
    return float(not is_leak(chat.secret, completion))


@dataclass
class World:
    """What RL calls an environment: how problems are drawn, and what completions earn. The tokenizer
    belongs to it, since it turns both into ids.
    """
    draw: Callable       # rng -> problem, which has a .prompt
    reward: Callable     # (problems, completions) -> as many floats
    tokenizer: Tokenizer


def price_of_mixing(config: Config) -> float:
    """What the stage rl takes off the reward of a right answer that mixes languages.

    Pure RL pays for right answers in the right form alone. (R1-Zero added a second reward for the form.) Else
    mixing lowers the reward, as in R1.
    """
    return 0.0 if config.pure_rl else config.language_price


def reasoning_world(tokenizer: Tokenizer, levels: dict[str, tuple[int, ...]],
                    shares: dict[str, float], language_price: float = 0.0) -> World:
    """Returns a World of training problems, with `levels` {task: levels} and `shares` {task: weight}.

    A right answer earns 1, or 1 - `language_price` if its thinking mixes languages. A wrong one earns 0. R1
    adds the share of words in the asked language instead (arXiv:2501.12948, section 2.3.2).
    """
    def draw(rng: random.Random) -> Problem:
        task = rng.choices(list(shares), weights=shares.values())[0]
        return draw_problem(task, rng, rng.choice(levels[task]))

    def worth(problem: Problem, completion: str) -> float:
        value = correctness(problem, completion)
        if value and language_price and not language_consistency(problem, completion):
            value -= language_price
        return value

    def reward(problems: list[Problem], completions: list[str]) -> list[float]:
        return [worth(problem, completion) for problem, completion in zip(problems, completions)]

    return World(draw, reward, tokenizer)
