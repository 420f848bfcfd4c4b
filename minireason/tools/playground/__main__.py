"""Starts the server, prints its address and opens the browser."""

import sys
import threading
import webbrowser

from minireason.run import PRETRAINED
from minireason.tools.flags import Parser, number
from minireason.tools.playground.server import HOST, make_server
from minireason.upkeep.command import exit_codes

PORT = 8017


@exit_codes("playground")
def main(argv: list[str] | None = None) -> None:
    parser = Parser("Look at a model while it thinks and learns, in the browser.",
                    prog="python -m minireason.playground")
    parser.add_argument("--run", help=f"folder of a run; by default {PRETRAINED}: the included weights")
    parser.add_argument("--port", type=number(int, 0, 65_535), default=PORT,
                        help=f"0 for any free one; by default {PORT}")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    args = parser.parse_args(argv)
    server = make_server(args.run or PRETRAINED, args.port)
    address = f"http://{HOST}:{server.server_port}/"
    print(f"{address}   Ctrl-C ends it", flush=True)
    if not args.no_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
