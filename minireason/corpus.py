"""What the model imitates: a messy toy internet, and a few golden examples.

    python -m minireason.corpus base|golden|expert|chat [--seed N]     prints a page to read

A document is (prompt, completion), both text. The base corpus holds everything that reinforcement learning
can use: answers without thinking (often wrong), worked solutions in two languages and in both at once,
slips, some of them noticed and repaired, tries and retries, and giving up. No text of it tries more often
than TaskConfig.max_tries says: longer searches are for RL to find. Nothing says which part is good.
"""

import random
import sys
from collections.abc import Callable
from typing import Any

from minireason.config import Config, TaskConfig
from minireason.tasks import TASKS, draw_problem
from minireason.tasks.chat import draw_chat, write_reply
from minireason.tasks.contract import golden_levels, is_short
from minireason.tasks.problem import calculate, is_test
from minireason.tasks.task import Habits
from minireason.tasks.words import THINKING, Voice
from minireason.tools.flags import Parser, like, number
from minireason.upkeep.command import exit_codes
from minireason.upkeep.seeding import derive_rng
from minireason.verifier import verify

Document = tuple[str, str]              # prompt, completion

FACTS_PER_SHEET = 8
LANGUAGES = ("en", "es", "mixed", "mixed")      # of the writers of the base corpus


def wrap(thinking: str, answer: str) -> str:
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def draw_task(rng: random.Random, tasks: TaskConfig) -> str:
    """Draws the name of a task. The shares in `tasks` are the weights."""
    names = tasks.trained()
    return rng.choices(names, weights=[tasks.shares[name] for name in names])[0]


def levels_up_to(hardest: int, levels: tuple[int, ...]) -> list[int]:
    """Levels to draw from, the harder ones more often: of (1, 2, 3, 4) up to 3 it is [1, 2, 2, 3, 3, 3].

    Level 0 is drawn where it is the hardest, and nowhere else.
    """
    if hardest == 0:
        return [0]
    easier = []
    for level in sorted(levels):
        if level <= hardest:
            easier += [level] * level       # level 0 adds nothing
    return easier


def gives_away(left: int, operator: str, right: int, tasks: TaskConfig) -> bool:
    """Whether a fact such as 7+8=15 is a test problem of a scored level, with its answer."""
    for name, levels in tasks.levels.items():
        read_fact = TASKS[name].problem_of_fact
        problem = read_fact(left, operator, right) if read_fact else None
        if problem and problem.level in levels and is_test(problem):
            return True
    return False


def fact_sheet(rng: random.Random, tasks: TaskConfig) -> Document:
    """Draws plain facts such as 7*8=56, as a multiplication table on the wall: knowledge without a use.

    Steps of solutions are such facts. Those that give away a test problem are left out. Divisions come out
    even. A model that errs in one step of ten gains little by longer thinking, so facts are practised.
    """
    facts = []
    while len(facts) < FACTS_PER_SHEET:
        operator = rng.choice("+++---**//")
        if operator in "+-":
            left, right = rng.randint(-20, 99), rng.randint(1, rng.choice((9, 99, 99)))
        else:
            left, right = rng.randint(1, 20), rng.randint(1, 20)
        if operator == "/":
            dividend, quotient = left * right, left
            if dividend <= 99 and not gives_away(left, "*", right, tasks):
                facts.append(f"{dividend}/{right}={quotient}")
            continue
        result = calculate(left, operator, right)
        if -40 <= result <= 120 and not gives_away(left, operator, right, tasks):
            facts.append(f"{left}{operator}{right}={result}")
    return "", " ".join(facts)


def comparison_sheet(rng: random.Random) -> Document:
    """Draws comparisons, half of them of equal numbers: `57 is 57 yes 60 is 57 no`. Each try ends in one.

    A model that says yes to a failed try stops there, and learns nothing from thinking longer.
    """
    voice = Voice(rng, rng.choice(LANGUAGES))
    comparisons = []
    while len(comparisons) < FACTS_PER_SHEET:
        found = needed = rng.randint(0, 99)
        if rng.random() < 0.5:
            needed = found + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10, rng.randint(-40, 40)))
        if needed >= 0:
            verdict = voice("yes") if found == needed else voice("no")
            comparisons.append(f"{found} {voice('is')} {needed} {verdict}")
    return "", " ".join(comparisons)


def draw_habits(rng: random.Random, aha: bool, max_tries: int) -> Habits:
    """How the writer of a document works. Some give up at their first failure, none exceeds max_tries."""
    if not aha:
        return Habits(checks=False, tries=1)
    return Habits(checks=True, tries=rng.randint(1, max_tries))


def base_document(rng: random.Random, tasks: TaskConfig, aha: bool = True) -> Document:
    """One document: 14% are fact sheets, 4% comparisons, 8% conversations, and 74% problems.

    `tasks` holds the tasks and their hardest levels; easier levels are included. Without `aha` this is a
    control corpus: no document says `check`, repairs a step or tries again, and no sheet teaches to compare.
    A single try still ends in its comparison, such as `78 is 60 no`.
    """
    kind = rng.random()
    if kind < 0.14:
        return fact_sheet(rng, tasks)
    if kind < 0.18:         # the next 4%. They teach to check oneself, so the control corpus has facts here
        return comparison_sheet(rng) if aha else fact_sheet(rng, tasks)
    if kind < 0.26:         # the next 8%
        chat = draw_chat(rng)
        thinking, answer = write_reply(chat, rng, good=0.5)     # every second reply is a bad one
        return chat.prompt, wrap(thinking, answer)
    name = draw_task(rng, tasks)
    task = TASKS[name]
    levels = levels_up_to(max(tasks.levels[name]), task.levels)
    problem = draw_problem(name, rng, rng.choice(levels))
    if rng.random() < task.guess_share:
        return problem.prompt, wrap("", task.write_guess(problem, rng))     # an answer without a thought
    voice = Voice(rng, rng.choice(LANGUAGES))
    habits = draw_habits(rng, aha, tasks.max_tries)
    thinking, answer = task.write_messy(problem, rng, voice, habits)
    return problem.prompt, wrap(thinking, answer)


def base_corpus(seed: int, num_documents: int, tasks: TaskConfig | None = None, aha: bool = True,
                progress: Callable = iter) -> list[Document]:
    """The toy internet: [(prompt, completion)]. `tasks` is by default the laptop preset's.

    `progress` wraps the range of the loop, as tqdm does to show a bar: 160,000 documents take ten seconds.
    """
    rng = derive_rng(seed, "base corpus")
    tasks = tasks or TaskConfig()
    return [base_document(rng, tasks, aha) for _ in progress(range(num_documents))]


def base_documents(config: Config, progress: Callable = iter) -> list[Document]:
    """The base corpus of a run with these settings."""
    return base_corpus(config.seed, config.base.num_examples, config.tasks, config.aha, progress)


def golden_example(rng: random.Random, tasks: TaskConfig, expert: bool = False) -> Document:
    """Draws one document with a clean, correct, English solution, short and below the hardest level.

    With `expert` it is of any scored level and as long as it takes, so it may have more tries than max_tries.
    """
    while True:
        name = draw_task(rng, tasks)
        task, levels = TASKS[name], tasks.levels[name]
        choices = levels if expert else levels_up_to(max(golden_levels(task, levels)), task.levels)
        problem = draw_problem(name, rng, rng.choice(choices))
        thinking, answer = task.write_thinking(problem, rng, Voice(rng, "en"))
        completion = wrap(thinking, answer)
        gave_up = THINKING["giveup"][0] in thinking      # and then it was guessed
        is_fit = expert or is_short(task, thinking, tasks.max_tries)
        if is_fit and not gave_up and verify(problem, completion).correct:
            return problem.prompt, completion


def golden_examples(seed: int, number: int, tasks: TaskConfig | None = None, expert: bool = False,
                    progress: Callable = iter) -> list[Document]:
    """[(prompt, completion)], as `golden_example` writes them."""
    rng = derive_rng(seed, "expert" if expert else "golden")
    tasks = tasks or TaskConfig()
    return [golden_example(rng, tasks, expert) for _ in progress(range(number))]


def cold_start_documents(config: Config, progress: Callable = iter) -> list[Document]:
    """The golden examples of a run with these settings."""
    return golden_examples(config.seed, config.cold_start.num_examples, config.tasks, config.expert, progress)


def chat_examples(seed: int, number: int, good: float = 0.95) -> list[Document]:
    """Conversations as annotators write them: nearly always helpful, with secrets told at times."""
    rng = derive_rng(seed, "chat examples")
    chats = [draw_chat(rng) for _ in range(number)]
    return [(chat.prompt, wrap(*write_reply(chat, rng, good))) for chat in chats]


def tokenize(tokenizer: Any, documents: list[Document]) -> list[tuple[list[int], list[int]]]:
    """[(prompt_ids, completion_ids)], with the end token on each completion. An empty prompt has no ids."""
    examples = []
    for prompt, completion in documents:
        prompt_ids = tokenizer.encode_prompt(prompt) if prompt else []
        examples.append((prompt_ids, tokenizer.encode_tagged(completion) + [tokenizer.eos_id]))
    return examples


@exit_codes("corpus", less_memory="lower --lines")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Print a page of what the model imitates.")
    parser.add_argument("which", choices=("base", "golden", "expert", "chat"))
    parser.add_argument("--seed", type=like("seed"), default=0)
    parser.add_argument("--lines", type=number(int, 1, 10_000), default=25, help="documents to print")
    parser.add_argument("--task", choices=list(TASKS), help="this task alone, instead of a mix")
    args = parser.parse_args(argv)
    tasks = TaskConfig()
    if args.task:
        tasks.shares = dict.fromkeys(tasks.shares, 0.0) | {args.task: 1.0}
    if args.which == "base":
        documents = base_corpus(args.seed, args.lines, tasks)
    elif args.which == "chat":
        documents = chat_examples(args.seed, args.lines)
    else:
        documents = golden_examples(args.seed, args.lines, tasks, expert=args.which == "expert")
    for prompt, completion in documents:
        print(f"{prompt}\n    {completion}")


if __name__ == "__main__":
    sys.exit(main())
