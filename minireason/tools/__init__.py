"""Ways to look at what was trained. Each is a command, such as `python -m minireason.report`.

report, page, plots   the page of a run           inspector   a rollout, token by token
compare               several runs side by side   export      to the format of transformers
memory                where the bytes go          thinking    tries and tokens, in texts and answers
pretrained            stores weights              playground  a page on which a model thinks and learns

shapes, large, fits and published belong to memory: they tell whether a large model fits. The commands share
flags (their options) and verdict (what is said of an answer). bugs holds the seven bugs of lesson 10, and
command_line is that of train.py.
"""
