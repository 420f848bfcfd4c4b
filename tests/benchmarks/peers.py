"""Their side: transformers and TRL with the same weights, prompts, rewards and sizes.
Read next to measure.py.

Their settings are their own defaults, but for those that would make them do other work than we do: 32 bits,
no gradient checkpointing (less memory for one more forward pass), no reports, no checkpoints.
"""

import tempfile
import time

import torch
import transformers
from datasets import Dataset
from measure import LEARNING_RATE, MICRO_BATCH, benchmark_model, prompt_texts, rate, reward, step_numbers

from minireason.tools.export import export


def load(folder):
    """The benchmark's model as a Llama, written into an empty folder and read back, and its tokenizer."""
    ours, ids = benchmark_model(), torch.randint(0, 256, (4, 50))
    export(ours, folder)
    llama = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert torch.allclose(ours(ids), llama(ids).logits, atol=1e-4)
    return llama, transformers.AutoTokenizer.from_pretrained(folder)


def prompt_lines(number):
    return [f"\n{text}\n" for text in prompt_texts(number)]       # as encode_prompt


def generation(rows, length, ragged, seconds, seed):
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = load(folder)
    prompts = tokenizer(prompt_lines(rows), return_tensors="pt")        # 16 tokens each, no padding
    if not ragged:
        model.generation_config.eos_token_id = None

    def call(number):
        torch.manual_seed(1000 * seed + number)
        ids = model.generate(**prompts, max_new_tokens=length, do_sample=True, temperature=1.0, top_k=0,
                             top_p=1.0)
        return int((ids[:, 16:] != tokenizer.pad_token_id).sum())
    return rate("new tokens", call, seconds)


def clock(marks):       # writes down the time at each step's end
    callback = transformers.TrainerCallback()
    callback.on_step_end = lambda *_, **__: marks.append(time.perf_counter())
    return callback


def trainer_settings(folder, rows, seed):
    return dict(output_dir=folder, per_device_train_batch_size=min(MICRO_BATCH, rows), seed=seed,
                logging_steps=1, gradient_accumulation_steps=max(1, rows // MICRO_BATCH),
                learning_rate=LEARNING_RATE, temperature=1.0,
                lr_scheduler_type="constant", gradient_checkpointing=False, bf16=False, use_cpu=True,
                report_to="none", dataloader_pin_memory=False, disable_tqdm=True, save_strategy="no")


def grpo_step(prompts, group, length, steps, kl_coef, seconds, seed):
    from trl import GRPOConfig, GRPOTrainer
    with tempfile.TemporaryDirectory() as folder:
        (model, tokenizer), marks = load(f"{folder}/llama"), []
        config = GRPOConfig(**trainer_settings(folder, prompts * group, seed), num_generations=group,
                            beta=kl_coef, max_steps=1 + steps, max_completion_length=length,
                            epsilon_high=0.28, loss_type="dapo", use_bias_correction_kl=False)
        trainer = GRPOTrainer(model, lambda completions, **_: list(map(reward, completions)), config,
                              Dataset.from_dict({"prompt": prompt_lines(prompts)}),
                              processing_class=tokenizer, callbacks=[clock(marks)])
        trainer.train()
    means = [line["completions/mean_length"] for line in trainer.state.log_history if "reward" in line]
    return step_numbers(marks, [mean * prompts * group for mean in means])


class FreeReward(torch.nn.Module):
    """The PPO trainer wants a network that rewards: this one costs as little as our function,
    and counts tokens."""
    base_model_prefix = "body"
    tokens = []     # of each step's completions; there is one such network in a process

    def body(self, input_ids, attention_mask, **_):
        self.tokens.append(int(attention_mask[:, 16:].sum()))
        return transformers.modeling_outputs.BaseModelOutput(hidden_states=(input_ids.cumsum(1)[..., None],))

    def score(self, sums):
        return (sums % 2).float()


def ppo_step(prompts, group, length, steps, kl_coef, seconds, seed):
    from trl.experimental.ppo import PPOConfig, PPOTrainer
    with tempfile.TemporaryDirectory() as folder:
        (model, tokenizer), marks, judge, rows = load(f"{folder}/llama"), [], FreeReward(), prompts * group
        critic = transformers.AutoModelForSequenceClassification.from_pretrained(f"{folder}/llama",
                                                                                 num_labels=1)
        config = PPOConfig(**trainer_settings(folder, rows, seed), total_episodes=(1 + steps) * rows,
                           num_ppo_epochs=1, local_rollout_forward_batch_size=rows, response_length=length,
                           stop_token="eos", kl_coef=kl_coef, lam=1.0, vf_coef=1.0, num_sample_generations=0)
        prompt_ids = []                                                 # each `group` times
        for ids in tokenizer(prompt_lines(prompts))["input_ids"]:
            prompt_ids += [ids] * group
        data = Dataset.from_dict({"input_ids": prompt_ids})
        trainer = PPOTrainer(config, tokenizer, model, None, judge, data, critic, eval_dataset=data,
                             callbacks=[clock(marks)])
        trainer.train()
    return step_numbers(marks, judge.tokens)
