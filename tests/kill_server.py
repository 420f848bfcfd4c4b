"""Trains small runs for test_kill.py, each in its own process, which is stopped or killed at a chosen place.

Reads an order as a line of JSON, and answers with a line: the exit code, and how many events there were. An
event is a call of one of the functions in EVENTS. Torch is imported once, and each process is a fork: so a
run starts in a hundredth of a second instead of three.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from zlib import crc32

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

import minireason
import train
from minireason import stages
from minireason.upkeep import checkpoint, metrics
from minireason.upkeep.command import STOP_SIGNALS

EVENTS = [(os, "fsync"), (os, "replace"), (os, "link"), (os, "truncate"), (shutil, "copyfile"),
          (torch, "save"), (torch.nn.utils, "clip_grad_norm_"), (metrics, "append"),
          (checkpoint, "save_json"), (train, "prepare"), (train, "evaluate")]


def easy_world(plain):
    """So small a model answers nothing right: half of all answers are rewarded, whatever they are."""
    def world(*arguments):
        made = plain(*arguments)
        made.reward = lambda problems, completions: [float(crc32(text.encode()) % 2) for text in completions]
        return made
    return world


def easy_pairs(model, tokenizer, seed, num_prompts, max_new_tokens, test=False):
    """Nor does it write two answers that a judge could compare."""
    return [("hello", "hello friend", "no")] * min(num_prompts, 8)


def keep(problem, text, num_tokens, kept_texts, config):
    """Rejection sampling keeps what has letters or digits, right or wrong."""
    return "kept" if any(letter.isalnum() for letter in text) else "wrong"


def send(signals, delay):
    """Sends the signals to this process, after a while."""
    time.sleep(delay)
    for number in signals:
        os.kill(os.getpid(), number)
        time.sleep(0.003)


class Events:
    """Counts the events, and sends signals when a certain one is about to happen."""

    def __init__(self, order):
        self.order, self.number = order, 0
        for module, name in EVENTS:
            setattr(module, name, self.counted(getattr(module, name)))

    def counted(self, function):
        def counted_function(*arguments, **keywords):
            self.number += 1
            if self.number == self.order["event"]:
                if self.order["delay"]:
                    threading.Thread(target=send, args=(self.order["signals"], self.order["delay"])).start()
                else:
                    send(self.order["signals"], 0)
            return function(*arguments, **keywords)
        return counted_function


def work(order):
    """What the new process does."""
    for number in STOP_SIGNALS:
        signal.signal(number, minireason.end_at_once)       # as train.py has it
    sys.stdin = open(os.devnull, encoding="utf-8")
    os.chdir(order["folder"])
    errors = os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    events = Events(order)
    code = train.main(order["arguments"])
    Path("events").write_text(str(events.number), encoding="ascii")
    os._exit(code)


def serve():
    train.SAVE_EVERY = 0                                     # a checkpoint after every step
    train.report.write_report = lambda *_: None              # figures would take longer than the training
    stages.reasoning_world = easy_world(stages.reasoning_world)
    stages.alignment.alignment_world = easy_world(stages.alignment.alignment_world)
    stages.alignment.preference_pairs = easy_pairs
    assert stages.rejection_sampling.fate_of
    stages.rejection_sampling.fate_of = keep
    for line in sys.stdin:
        order = json.loads(line)
        process = os.fork()
        if process == 0:
            work(order)
        status = os.waitpid(process, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
