"""Starts the server, prints its address and opens the browser."""

import os
import threading
import webbrowser

from minireason.run import PRETRAINED, runs_by_age
from minireason.tools.flags import Parser, number
from minireason.tools.playground.server import HOST, make_server, stages_in
from minireason.upkeep.command import exit_codes

PORT = 8017
OWN_RUNS = 7        # the newest runs in runs/ that are offered


def default_runs() -> list[str]:
    """The included weights, then the newest of one's own runs that have a model."""
    own = [str(folder) for folder in reversed(runs_by_age()) if stages_in(str(folder))]
    return [PRETRAINED, *own[:OWN_RUNS]]


@exit_codes("playground")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Look at a model while it thinks and learns, in the browser.",
                    prog="python -m minireason.playground")
    parser.add_argument("--run", action="append",
                        help=f"folder of a run, or {PRETRAINED}, the weights that come with the repository; "
                             f"may be given several times; by default {PRETRAINED} and the {OWN_RUNS} newest "
                             "in runs/")
    parser.add_argument("--port", type=number(int, 0, 65_535), default=PORT,
                        help=f"0 for any free one; by default {PORT}")
    parser.add_argument("--host", default=HOST,
                        help="address at which others reach this computer, to let them use the page; "
                             "by default it is for this computer alone")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    args = parser.parse_args(argv)
    server = make_server(list(dict.fromkeys(args.run or default_runs())), args.port, args.host)
    address = f"http://{args.host}:{server.server_port}/"
    print(f"{address}   Ctrl-C ends it", flush=True)
    if not args.no_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()


if __name__ == "__main__":
    # Python's own way out takes time for cleaning up, and torch aborts if a request still computes meanwhile.
    os._exit(main())
