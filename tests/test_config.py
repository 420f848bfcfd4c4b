"""Settings: presets, ranges, flags with help, and a faithful way to the disk and back."""

import argparse
import json

import pytest
from helpers import SHIPPED

from minireason.config import Config, ModelConfig, TaskConfig, option, preset
from minireason.settings import changed_settings, from_dict, settings_of, to_dict
from minireason.tasks import TASKS
from minireason.tools.flags import Parser, add_flags, apply_flags


def parsed(*arguments):
    parser = Parser("")
    add_flags(parser, preset("laptop"), shown=[setting.name for setting in settings_of(Config())])
    return vars(parser.parse_args(arguments)), parser


@pytest.mark.parametrize("name", ["smoke", "laptop", "gpu"])
def test_a_preset_survives_the_disk(name):
    config = preset(name)
    assert config.preset == name
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_stored_settings_have_the_names_that_they_always_had():
    """Those of runs that people have. The values of lengths and amounts may change, the names may not.
    A task of somebody's own adds settings with its name, and no others."""
    stored = to_dict(preset("laptop"))
    for task in TASKS.keys() - set(SHIPPED):
        del stored["tasks"][f"{task}_levels"], stored["tasks"][f"{task}_share"]
        stored["evaluate"].pop(f"num_{task}s", None)
    assert stored["tasks"] == {
        "arithmetic_levels": "2,3", "countdown_levels": "2,3", "program_levels": "2,3,4",
        "arithmetic_share": 0.36, "countdown_share": 0.54, "program_share": 0.10,
        "max_tries": TaskConfig().max_tries, "chat_share": 0.60}
    assert stored["evaluate"].keys() == {"num_problems", "num_programs", "max_new_tokens", "seed", "every",
                                         "num_quick"}
    assert stored["evaluate"]["num_problems"] == 1000 and stored["evaluate"]["seed"] == 1234
    assert {"learning_rate", "num_iterations", "max_new_tokens"} <= stored["rl"].keys()
    assert {"num_preference_prompts", "language_price", "rl_snapshots"} <= stored.keys()


def test_an_unknown_preset_raises():
    with pytest.raises(ValueError, match="smoke, laptop or gpu"):
        preset("huge")


def test_a_missing_setting_takes_its_default_and_an_unknown_one_is_named():
    values = to_dict(preset("smoke"))
    del values["rl"]["clip_high"], values["aha"], values["align"]
    config = from_dict(values)
    assert config.rl.clip_high == 0.28 and config.aha and config.align == Config().align
    values["rl"]["momentum"] = 0.9
    with pytest.raises(ValueError, match="rl.momentum"):
        from_dict(values)
    with pytest.raises(ValueError, match="depth"):
        from_dict({"depth": 3}, ModelConfig)


def test_a_value_of_another_kind_is_refused_by_name():
    values = to_dict(Config())
    for section, key, value in (("rl", "learning_rate", "fast"), ("rl", "num_prompts", 1.5),
                                ("model", "width", None),
                                ("tasks", "arithmetic_share", "all"), ("rl", "num_prompts", True)):
        with pytest.raises(ValueError, match=key.replace("_", "-")):
            from_dict(values | {section: values[section] | {key: value}})


def test_a_run_from_before_a_task_was_added_goes_without_it():
    """Else its corpus and its prompts would be others than those that it was begun with."""
    values = to_dict(preset("laptop"))
    for task in TASKS.keys() - {"arithmetic", "countdown"}:
        del values["tasks"][f"{task}_levels"], values["tasks"][f"{task}_share"]
        values["evaluate"].pop(f"num_{task}s", None)
    config = from_dict(values)
    assert list(config.tasks.levels) == list(config.tasks.shares) == ["arithmetic", "countdown"]
    assert config.evaluate.num_by_task == {} and to_dict(config) == values


def test_what_differs_between_two_configs_is_named():
    one, other = preset("laptop"), preset("laptop")
    assert changed_settings(one, other) == []
    other.seed, other.rl.learning_rate, other.tasks.levels["countdown"] = 1, 1e-5, (2,)
    assert changed_settings(one, other) == ["seed", "tasks.countdown_levels", "rl.learning_rate"]


def test_only_what_was_given_is_changed():
    given, _ = parsed("--rl-learning-rate", "1e-5", "--no-align-scale-advantages", "--seed", "4",
                      "--tasks-countdown-levels", "1,3", "--evaluate-num-programs", "7")
    assert given == {"rl.learning_rate": 1e-5, "align.scale_advantages": False, "seed": 4,
                     "tasks.countdown_levels": "1,3", "evaluate.num_programs": 7}
    config, plain = apply_flags(preset("laptop"), given), preset("laptop")
    plain.rl.learning_rate, plain.align.scale_advantages, plain.seed = 1e-5, False, 4
    plain.tasks.levels["countdown"], plain.evaluate.num_by_task["program"] = (1, 3), 7
    assert config == plain


def test_every_setting_has_a_flag_and_every_flag_says_what_it_does():
    _, parser = parsed()
    help_of = {}
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            help_of[action.dest] = action.help
    names = [setting.name for setting in settings_of(Config())]
    assert len(names) > 80 and set(names) <= set(help_of)
    assert all(len(help_of[name]) > 4 for name in names)
    assert {f"tasks.{task}_share" for task in TASKS} <= set(names)


@pytest.mark.parametrize("given, says", [
    ({"rl.group_size": 1}, "--rl-group-size must be at least 2"),
    ({"rl.group_size": 1, "rl.num_prompts": 1, "rl.batch_baseline": True},
     "--rl-batch-baseline needs at least 2 completions"),
    ({"model.num_heads": 3}, "--model-num-heads must be an even"),
    ({"model.num_kv_heads": 3}, "multiple of --model-num-kv-heads"),
    ({"align.max_new_tokens": 413}, "--align-max-new-tokens 413 leaves no room for prompts: at most 412"),
    ({"rl.normalize": "none"}, "token, sequence or constant"), ({"algo": "dpo"}, "grpo or ppo"),
    ({f"tasks.{task}_share": 0.0 for task in TASKS}, "--tasks-countdown-share .* cannot all be 0"),
])
def test_settings_that_cannot_work_raise_one_line(given, says):
    with pytest.raises(ValueError, match=says) as error:
        apply_flags(preset("laptop"), given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("default, longest", [(0, 40), (False, 34)])
def test_a_meaning_that_does_not_fit_on_a_line_of_the_help_is_refused(default, longest):
    option(default, "x" * longest)
    with pytest.raises(ValueError, match=f"has {longest + 1} characters: at most {longest}"):
        option(default, "x" * (longest + 1))
