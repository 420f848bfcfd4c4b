"""minireason: how reasoning models are trained, small enough to read.

A reading order: tasks/, tokenizer, verifier, behaviour, corpus   (the world; no torch)
                 config, model, sampling, policy, stats           (the model and what it says)
                 batch, rewards, rollout                          (what it did, and what that was worth)
                 optimizer, sft, grpo, ppo, rejection, align      (the algorithms, each readable alone)
                 stages, run                                      (the pipeline, and the folder of a run)
                 evaluate, inference                              (how good it is; more thought at test time)
The rest is upkeep/ (files, seeds, processes) and tools/ (reports and other ways to look at a run).
Nothing is re-exported here: every import shows where the code lives.
"""

from pathlib import Path

# Looks for modules in tools/ too, so that users can type `python -m minireason.report`. Imports in code say
# minireason.tools.report.
__path__.append(str(Path(__file__).parent / "tools"))
