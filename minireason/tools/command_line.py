"""The command line of train.py: what it asks for, as settings."""

import argparse
import shlex
import sys

from minireason.config import Config, preset
from minireason.run import STAGES
from minireason.settings import quoted, settings_of
from minireason.tokenizer import get_tokenizer
from minireason.tools.flags import Parser, add_flags, apply_flags, help_formatter, settings_to_show
from minireason.upkeep import logs, parallel
from minireason.upkeep.command import BadInput

MORE_HELP = """\
A setting is shown with its default. What is (on) is switched off by --no-NAME.

  python train.py rl --help       the settings of a stage
  python train.py all --help      all settings

presets:
  smoke     every stage in 2 to 3 minutes, to see that all works
  laptop    what the README shows, in 22 to 33 minutes on two cores
  gpu       a wider model and larger rollouts, for one GPU
"""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line. With --help it prints and exits."""
    args = make_parser(preset("laptop"), []).parse_args(argv)
    args.command = shlex.join([*parallel.starter(), "train.py", *(sys.argv[1:] if argv is None else argv)])
    if args.stage not in (None, "all", *STAGES):
        raise BadInput(f"unknown stage {quoted(args.stage)}: choose all, {', '.join(STAGES)}")
    if args.help:
        config = preset(getattr(args, "preset", "laptop"))
        make_parser(config, settings_to_show(args.stage)).print_help()
        sys.exit(0)
    if args.stage is None:
        args.stage = "all"
    if args.log:
        logs.check_installed(args.log)
    return args


def make_parser(config: Config, shown: list[str]) -> Parser:
    """The flags of train.py, with defaults as in `config`. Help lists the settings named in `shown`."""
    parser = Parser(
        "Trains a toy reasoner from random weights.",
        usage="python train.py [STAGE] [--preset NAME] [--SETTING VALUE ...]",
        epilog=MORE_HELP, formatter_class=help_formatter, add_help=False)
    parser.add_argument("stage", nargs="?", help=f"all (default), {', '.join(STAGES)}")
    parser.add_argument("-h", "--help", action="store_true", help="print this and exit")
    parser.add_argument("--out", metavar="FOLDER", help="of the run; by default a new one in runs/")
    parser.add_argument("--from", dest="source", metavar="RUN",
                        help="run to copy earlier stages from; pretrained: the included weights")
    parser.add_argument("--resume", action="store_true", help="go on with the newest run, or with --out")
    parser.add_argument("--device", help="cuda, mps or cpu; by default the best one")
    parser.add_argument("--log", choices=logs.NAMES, help="copy the metrics to a logger that you installed")
    add_flags(parser, config, shown)
    return parser


def given_flags(args: argparse.Namespace) -> dict:
    """The settings on the command line, as {name: value}. The preset is left out, since it sets others."""
    names = {setting.name for setting in settings_of(Config())} - {"preset"}
    return {name: value for name, value in vars(args).items() if name in names}


def config_asked(args: argparse.Namespace) -> Config:
    """The settings of a new run: those of the preset, and the given ones in their place."""
    config = apply_flags(preset(getattr(args, "preset", "laptop")), given_flags(args))
    config.model.vocab_size = get_tokenizer().vocab_size
    return config
