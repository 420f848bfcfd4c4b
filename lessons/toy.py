"""A toy world for the lessons: eight tokens, and a model so small that it learns in seconds.

Token 0 is the digit 0, token 1 the digit 1, and so on to 7. A problem is one digit. The model reads it and a
4, which ends the prompt. It writes a completion such as 2 3 0: the 0 ends it. The text of this is "230".
"""

from dataclasses import dataclass

import shared  # noqa: F401   so that minireason is found

from minireason.config import ModelConfig
from minireason.model import GPT
from minireason.rewards import World

END_OF_PROMPT = 4


@dataclass
class ToyProblem:
    prompt: str      # one digit


class ToyTokenizer:
    """Text to tokens and back, with the names that a rollout uses."""

    eos_id = 0      # ends a completion
    pad_id = 0      # fills the columns after the end

    def encode_prompt(self, text):
        return [int(text), END_OF_PROMPT]

    def decode(self, ids):
        return "".join(str(token) for token in ids)


def toy_world(prompts, reward):
    """A world for ppo.train, grpo.train and collect_rollout.

    `prompts` is a string of digits, such as "12": each is drawn equally often. `reward(prompt, text)` returns
    what one completion earns.
    """
    def draw(rng):
        return ToyProblem(rng.choice(prompts))

    def rewards(problems, texts):
        return [reward(problem.prompt, text) for problem, text in zip(problems, texts)]

    return World(draw, rewards, ToyTokenizer())


def toy_model(seed, width=32, num_layers=2):
    """A fresh model of eight tokens. It has random weights, so each token is about equally likely."""
    config = ModelConfig(vocab_size=8, width=width, num_layers=num_layers, mlp_width=2 * width, max_length=32)
    return GPT(config).init_weights(seed)
