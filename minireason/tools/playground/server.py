"""The server of the page: who may ask, what may be asked, and how much at a time.

It listens on this computer alone, unless --host says otherwise. It answers only requests that name it as
their host, and that come from its own page: another page that is open in the same browser could otherwise
reach it (DNS rebinding). A request is one JSON object; an answer is a line of JSON for each event, as soon as
it is known. What is wrong with a request is said in one line.
"""

import collections
import contextlib
import json
import random
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from minireason.run import STAGES, checkpoint_path, config_of, folder_of, open_model
from minireason.tasks import TASKS, Problem, draw_problem
from minireason.tasks.chat import ChatPrompt
from minireason.tasks.prompts import read_prompt
from minireason.tokenizer import get_tokenizer
from minireason.tools.playground import thinking
from minireason.tools.playground.film import film
from minireason.tools.playground.lab import LAB_BUGS, LEARNING_RATES, MAX_STEPS, Lab
from minireason.tools.playground.thinking import Speaker
from minireason.upkeep import kernels
from minireason.upkeep.command import BadInput, Fault

FOLDER = Path(__file__).parent
HOST = "127.0.0.1"          # this computer alone
FILES = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css"),
         "/charts.js": ("charts.js", "text/javascript"), "/page.js": ("page.js", "text/javascript"),
         "/lab.js": ("lab.js", "text/javascript"), "/film.js": ("film.js", "text/javascript"),
         "/state.js": ("state.js", "text/javascript")}
MAX_BODY = 20_000           # bytes of a request
MAX_SEED = 999_999          # the page's box for it has the same limit
MAX_AT_ONCE = 8             # requests that compute at the same time
MAX_MODELS = 24             # that stay in memory; the one that was not used for longest goes first
MAX_LABS = 4                # copies of a model that learn; the one that was not used for longest goes first
TIMEOUT = 30                # seconds that a browser may take to send its request
# No script but our own runs on the page, and nothing is loaded from elsewhere.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " \
         "base-uri 'none'"


class Refusal(ValueError):
    """A request that is not answered, with its HTTP status."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


# -----------------------------------------------------------------------------
# What a request may say

def number_in(request: dict, name: str, low: float, high: float, default: float) -> float:
    """A number of the request, within its range. Raises ValueError."""
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} is a number from {low} to {high}")
    return value


def count_in(request: dict, name: str, low: int, high: int, default: int) -> int:
    """A whole number of the request, within its range. Raises ValueError."""
    value = number_in(request, name, low, high, default)
    if value != int(value):
        raise ValueError(f"{name} is a whole number from {low} to {high}")
    return int(value)


def temperature_in(request: dict) -> float:
    """The temperature of one answer; 0 is greedy. Raises ValueError."""
    temperature = number_in(request, "temperature", 0, 3, 0)
    if 0 < temperature < 0.05:
        raise ValueError("temperature is 0, or a number from 0.05 to 3")
    return temperature


def seed_in(request: dict) -> int:
    return count_in(request, "seed", 0, MAX_SEED, 0)


def choice_in(request: dict, name: str, choices: list[str]) -> str:
    value = request.get(name)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}")
    return value


def prompt_in(request: dict, is_problem: bool = False) -> Problem | ChatPrompt:
    """The prompt as a Problem or ChatPrompt. Raises ValueError if it cannot be read.

    With `is_problem` chat is refused too.
    """
    prompt = request.get("prompt")
    if not isinstance(prompt, str) or not 0 < len(prompt) <= 200:
        raise ValueError("prompt is a text of 1 to 200 characters")
    problem = read_prompt(prompt)
    if is_problem and problem.task == "chat":
        raise ValueError("this needs a problem, whose answer can be verified: chat has none")
    return problem


def tokens_in(request: dict, speaker: Speaker) -> list[int]:
    """The tokens that the answer has to begin with."""
    tokens = request.get("written", [])
    if not isinstance(tokens, list) or len(tokens) > thinking.MAX_NEW_TOKENS:
        raise ValueError(f"written is a list of at most {thinking.MAX_NEW_TOKENS} token ids")
    for token in tokens:
        is_id = isinstance(token, int) and not isinstance(token, bool)
        if not is_id or not 0 <= token < speaker.tokenizer.vocab_size:
            raise ValueError("written is a list of token ids")
    return tokens


# -----------------------------------------------------------------------------
# What can be asked

def stages_in(run: str) -> list[str]:
    """The stages of a run that have a checkpoint."""
    return [stage for stage in STAGES if checkpoint_path(folder_of(run), stage).exists()]


class Playground:
    """The models of one run or of several, and the labs that learn.

    A method with the arguments (request, send) answers one kind of request: it checks the fields of the
    request, and calls send(event) with each part of the answer. On a bad field it raises ValueError.
    """

    def __init__(self, runs: list[str]):
        self.runs, self.lock = runs, threading.Lock()
        self.stages: dict[str, list[str]] = {}          # of each run
        for run in runs:
            self.stages[run] = stages_in(run)
            if not self.stages[run]:
                open_model(run, STAGES[0])      # raises BadInput, and says what is missing
        self.speakers: collections.OrderedDict[tuple[str, str], Speaker] = collections.OrderedDict()
        self.labs: collections.OrderedDict[str, tuple[Lab, threading.Lock]] = collections.OrderedDict()
        self.free = threading.Semaphore(MAX_AT_ONCE)        # the places for requests that compute

    def speaker(self, run: str, stage: str) -> Speaker:
        """The model of a stage, loaded when it is first asked for."""
        with self.lock:
            if (run, stage) not in self.speakers:
                model, state = open_model(run, stage)
                self.speakers[run, stage] = Speaker(model, get_tokenizer(), config_of(state))
                while len(self.speakers) > MAX_MODELS:
                    self.speakers.popitem(last=False)
            self.speakers.move_to_end((run, stage))
            return self.speakers[run, stage]

    def world(self, request: dict, send: Callable) -> None:
        """Sends what there is to choose from: runs, stages, tasks and bugs.

        Sends two limits as well: the steps of a lab, and the tokens of a budget.
        """
        first_run = self.runs[0]
        last_stage = self.stages[first_run][-1]
        scored_levels = self.speaker(first_run, last_stage).config.tasks.levels
        tasks = []
        for name, task in TASKS.items():
            tasks.append({"name": name, "word": task.word, "levels": list(task.levels),
                          "scored": list(scored_levels.get(name, ()))})
        bugs = []
        for name, (switch, algo, settings) in LAB_BUGS.items():      # the docstring of a switch tells its bug
            bugs.append({"name": name, "algo": algo, "meaning": " ".join(switch.__doc__.split()),
                         "settings": {key: str(value) for key, value in settings.items()}})
        send({"runs": [{"name": run, "stages": self.stages[run]} for run in self.runs], "tasks": tasks,
              "bugs": bugs, "max_steps": MAX_STEPS, "max_budget": thinking.MAX_BUDGET})

    def draw(self, request: dict, send: Callable) -> None:
        """Sends the prompt of a held-out problem, or of any problem if the level has no held-out one."""
        task = choice_in(request, "task", list(TASKS))
        level = count_in(request, "level", min(TASKS[task].levels), max(TASKS[task].levels), 2)
        seed = seed_in(request)
        try:
            problem = draw_problem(task, random.Random(seed), level, test=True)
        except ValueError:
            problem = draw_problem(task, random.Random(seed), level)
        send({"prompt": problem.prompt})

    def asked_run(self, request: dict) -> str:
        """The run of a request; the first one if it names none."""
        return choice_in({"run": self.runs[0]} | request, "run", self.runs)

    def asked(self, request: dict) -> Speaker:
        """The model that a request asks for, by its run and stage."""
        run = self.asked_run(request)
        return self.speaker(run, choice_in(request, "stage", self.stages[run]))

    def think(self, request: dict, send: Callable) -> None:
        speaker, problem = self.asked(request), prompt_in(request)
        budget = request.get("budget")
        if budget is not None:
            budget = count_in(request, "budget", 0, thinking.MAX_BUDGET, 0)
        thinking.think(speaker, problem, tokens_in(request, speaker), temperature_in(request),
                       seed_in(request), budget, send)

    def film(self, request: dict, send: Callable) -> None:
        film(self.asked_run(request), prompt_in(request), temperature_in(request), seed_in(request), send)

    def vote(self, request: dict, send: Callable) -> None:
        thinking.vote_on(self.asked(request), prompt_in(request, is_problem=True),
                         count_in(request, "number", 1, 256, 64),
                         number_in(request, "temperature", 0.05, 3, 1), seed_in(request), send)

    def budgets(self, request: dict, send: Callable) -> None:
        thinking.try_budgets(self.asked(request), prompt_in(request, is_problem=True),
                             count_in(request, "number", 1, 128, 32),
                             number_in(request, "temperature", 0.05, 3, 1), seed_in(request), send)

    def score(self, request: dict, send: Callable) -> None:
        speaker = self.asked(request)
        task = choice_in(request, "task", list(speaker.config.tasks.levels))
        thinking.score(speaker, task, count_in(request, "number", 1, 300, 100), seed_in(request), send)

    def lab(self, request: dict, send: Callable) -> None:
        """Begins a lab, or lets it sample a group, take a step or measure itself.

        A lab that begins ends the one that the request names.
        """
        action = choice_in(request, "action", ["begin", "group", "step", "measure"])
        name = str(request.get("lab"))
        if action == "begin":
            lab = self.new_lab(request)         # if this raises, the one before goes on
            new_name = secrets.token_hex(8)
            with self.lock:
                self.labs.pop(name, None)
                self.labs[new_name] = (lab, threading.Lock())
                while len(self.labs) > MAX_LABS:
                    self.labs.popitem(last=False)
            send({"lab": new_name})
            return
        with self.lock:
            if name not in self.labs:
                raise ValueError("this lab has ended: begin a new one")
            self.labs.move_to_end(name)
            lab, lab_lock = self.labs[name]
        with lab_lock:
            if action == "group":
                send(lab.sample_group())
            elif action == "step":
                send(lab.step())
            else:
                send(lab.pass_rate(send))

    def new_lab(self, request: dict) -> Lab:
        """Makes the lab that a request describes. Raises ValueError if its bug is of the other algorithm."""
        algo = choice_in(request, "algo", ["grpo", "ppo"])
        bug = choice_in({"bug": ""} | request, "bug", ["", *LAB_BUGS])
        if bug:
            _, algo_of_bug, _ = LAB_BUGS[bug]
            if algo_of_bug != algo:
                raise ValueError(f"this bug is one of {algo_of_bug}: choose that algorithm")
        rate = choice_in({"rate": "normal"} | request, "rate", list(LEARNING_RATES))
        return Lab(self.asked(request), prompt_in(request, is_problem=True), algo,
                   count_in(request, "group_size", 2, 32, 8), seed_in(request),
                   LEARNING_RATES[rate], bug, is_mended=request.get("mended") is True)


# -----------------------------------------------------------------------------
# The server

class Handler(BaseHTTPRequestHandler):
    """One request. `self.server.playground` answers it."""

    timeout = TIMEOUT
    server_version, sys_version = "minireason", ""

    def do_GET(self) -> None:
        try:
            self.check_sender()
            if self.path not in FILES:
                raise Refusal(404, "there is no such page")
        except Refusal as refusal:
            self.refuse(refusal.status, str(refusal))
            return
        name, kind = FILES[self.path]
        content = (FOLDER / name).read_bytes()
        with contextlib.suppress(ConnectionError):      # the page was closed
            self.begin(200, f"{kind}; charset=utf-8", len(content))
            self.wfile.write(content)

    def do_POST(self) -> None:
        self.begun = False      # was a part of the answer sent?
        playground = self.server.playground
        try:
            self.check_sender()
            request = self.read_request()
            action = self.server.actions.get(self.path)
            if action is None:
                raise Refusal(404, "there is no such request")
            if not playground.free.acquire(timeout=2):
                raise Refusal(503, "too much at once: try again in a moment")
            try:
                action(request, self.send_event)
            finally:
                playground.free.release()
        except (ConnectionError, TimeoutError):
            pass        # the page was closed
        except Refusal as refusal:
            self.refuse(refusal.status, str(refusal))
        except Fault as fault:
            self.refuse(500, str(fault))
        except ValueError as error:
            self.refuse(400, str(error))

    def check_sender(self) -> None:
        """Raises Refusal on a request that names another host, or that another page has sent."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.own_names:
            raise Refusal(403, "open the address that was printed at the start; for another one, start the "
                               "playground with --host and that address")
        if origin is not None and origin not in [f"http://{name}" for name in self.server.own_names]:
            raise Refusal(403, "this request comes from another page")

    def read_request(self) -> dict:
        """The JSON object of a request. Raises Refusal or ValueError."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or not length.isascii() or int(length) > MAX_BODY:
            raise Refusal(413, f"a request has at most {MAX_BODY} bytes")
        if self.headers.get("Content-Type", "").split(";")[0] != "application/json":
            raise Refusal(415, "a request is application/json")     # forms of other pages cannot send it
        try:
            request = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise ValueError("the request is not JSON") from None
        if not isinstance(request, dict):
            raise ValueError("the request is not a JSON object")
        return request

    def begin(self, status: int, kind: str, length: int | None = None) -> None:
        """Sends the status and the headers. Without `length`, the answer ends when the connection does."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", POLICY)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_event(self, event: dict) -> None:
        """Sends one line of the answer. Raises BrokenPipeError if the reader has left."""
        if not self.begun:
            self.begin(HTTPStatus.OK, "application/x-ndjson; charset=utf-8")
            self.begun = True
        self.wfile.write(json.dumps(event).encode() + b"\n")

    def refuse(self, status: int, reason: str) -> None:
        """Sends one line that says what is wrong: as the answer, or as its last event if it has begun."""
        line = json.dumps({"error": " ".join(reason.split())}).encode() + b"\n"
        try:
            if not getattr(self, "begun", False):       # do_GET sets no self.begun
                self.begin(status, "application/x-ndjson; charset=utf-8", len(line))
            self.wfile.write(line)
        except ConnectionError:
            pass

    def log_message(self, *_) -> None:
        pass        # else the standard library prints a line for each request


def names_of(host: str, port: int) -> list[str]:
    """What a browser may call the server that listens at a host and a port."""
    hosts = [host, HOST, "localhost"]
    names = [f"{name}:{port}" for name in hosts]
    return names + hosts if port == 80 else names       # a browser leaves 80 out


class Server(ThreadingHTTPServer):
    daemon_threads = True       # Ctrl-C does not wait for an answer that is on its way

    def __init__(self, playground: Playground, host: str, port: int):
        super().__init__((host, port), Handler)
        self.playground = playground
        self.own_names = names_of(host, self.server_port)
        self.actions = {"/world": playground.world, "/draw": playground.draw, "/think": playground.think,
                        "/vote": playground.vote, "/budgets": playground.budgets, "/score": playground.score,
                        "/lab": playground.lab, "/film": playground.film}


def make_server(runs: list[str], port: int, host: str = HOST) -> Server:
    """A server that is ready to answer. Raises BadInput if the port is taken or a run has no model."""
    # The library that multiplies is chosen for the whole process. Requests that compute at the same time
    # would change each other's choice, and so their last bits.
    kernels.FASTER_WITH_ONEDNN = False
    playground = Playground(runs)
    for stage in playground.stages[runs[0]]:
        playground.speaker(runs[0], stage)      # now, so that the first answer does not wait
    try:
        return Server(playground, host, port)
    except OSError as error:
        advice = "give another --port or --host"
        raise BadInput(f"{host}:{port} cannot be used ({error.strerror}): {advice}") from None
