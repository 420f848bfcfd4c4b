"""Settings: presets, flags with help, and a faithful way to the disk and back."""

import argparse
import dataclasses
import json

import pytest

from minireason.config import Config, RLConfig, add_flags, apply_flags, comments, from_dict, preset, to_dict


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(arguments)), parser


@pytest.mark.parametrize("name", ["smoke", "laptop", "gpu"])
def test_a_preset_survives_the_disk(name):
    config = preset(name)
    assert config.preset == name
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_an_unknown_preset_raises():
    with pytest.raises(ValueError, match="smoke, laptop or gpu"):
        preset("huge")


def test_settings_of_another_version_raise():
    values = to_dict(Config())
    values["rl"]["momentum"] = 0.9
    with pytest.raises(ValueError, match="momentum"):
        from_dict(values)
    del values["rl"]["momentum"], values["align"]
    with pytest.raises(ValueError, match="align"):
        from_dict(values)


def test_only_what_was_given_is_changed():
    given, _ = parsed("--rl-learning-rate", "1e-5", "--no-align-scale-advantages", "--seed", "4")
    assert given == {"rl.learning_rate": 1e-5, "align.scale_advantages": False, "seed": 4}
    config, plain = apply_flags(preset("laptop"), given), preset("laptop")
    plain.rl.learning_rate, plain.align.scale_advantages, plain.seed = 1e-5, False, 4
    assert config == plain


def test_every_setting_has_a_flag_and_every_flag_says_what_it_does():
    given, parser = parsed()
    help_of = {action.dest: action.help for action in parser._actions}
    for section in dataclasses.fields(Config):
        default = getattr(Config(), section.name)
        names = ([f"{section.name}.{f.name}" for f in dataclasses.fields(default)]
                 if dataclasses.is_dataclass(default)
                 else [] if section.name in ("preset", "algo") else [section.name])
        for name in names:
            assert len(help_of[name]) > 5, name


def test_both_algorithms_read_one_set_of_settings():
    shared = [f.name for f in dataclasses.fields(RLConfig)]
    assert {"clip_low", "clip_high", "kl_coef", "value_coef", "value_clip", "gamma",
            "gae_lambda"} <= set(shared)
    assert set(comments(RLConfig)) == set(shared)


@pytest.mark.parametrize("given, says", [
    ({"rl.group_size": 1}, "at least 2"), ({"rl.learning_rate": 0.0}, "above 0"),
    ({"rl.temperature": 0.0}, "above 0"),
    ({"base.batch_size": 0}, "at least 1"), ({"model.num_heads": 3}, "num_heads"),
    ({"model.num_kv_heads": 3}, "num_kv_heads"), ({"rl.learning_rate": float("inf")}, "finite"),
    ({"tasks.chat_share": 1.5}, "shares"), ({"tasks.arithmetic_levels": ""}, "unknown level"),
])
def test_settings_that_cannot_work_raise_one_line(given, says):
    with pytest.raises(ValueError, match=says) as error:
        apply_flags(preset("laptop"), given)
    assert "\n" not in str(error.value)
