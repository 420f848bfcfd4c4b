"""The playground: a page on which a model thinks, token by token, and learns, step by step.

    python -m minireason.playground [--run runs/NAME ...] [--port 8000] [--no-browser]

thinking   what one request computes: an answer, a vote, a budget, an accuracy
lab        one prompt, and one step of GRPO or PPO after the other
film       one prompt, answered at moments of RL
server     requests and answers; who may ask, and how much
page.html, page.css, *.js: what the browser shows. Nothing is loaded from a network.
           page.js answers and compares, lab.js learns, film.js looks back, charts.js draws,
           state.js keeps the settings in the address and starts the page
"""
