"""minireason: how reasoning models are trained, small enough to read.

A reading order: tokenizer, tasks/, verifier, corpus  (the world, no torch)
                 model, sampling, policy, stats       (the model and what it says)
                 rollout, rewards                     (what it did, and how well)
                 sft, grpo, ppo, rejection, align     (the stages, each readable alone)
                 evaluate, report                     (what came of it)
Nothing is re-exported here: every import shows where the code lives.
"""
