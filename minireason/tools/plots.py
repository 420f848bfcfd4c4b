"""Figures, drawn only from saved numbers (results.json and metrics.jsonl)."""

from collections.abc import Sequence
from pathlib import Path

COLORS = {"arithmetic": "#1b6ca8", "countdown": "#d1495b", "program": "#5a9a5a"}
CURVES = (("reward", "reward"), ("completion_length", "tokens per completion"), ("entropy", "entropy (nats)"),
          ("kl", "KL to the start"), ("approx_kl", "KL of one update"), ("zero_std_frac", "groups without spread"))


def new_figure(*shape: int, **settings) -> tuple:
    """A figure and its axes. Without pyplot, so there is no window, no backend to choose and nothing to close; imported
    here, because it takes half a second that a command without figures need not wait."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=settings.pop("figsize"), layout="constrained")
    return figure, figure.subplots(*shape, **settings)


def smooth(values: Sequence[float], window: int = 9) -> list[float]:
    """Running mean over the last `window` values."""
    return [sum(values[max(0, i - window + 1):i + 1]) / len(values[max(0, i - window + 1):i + 1])
            for i in range(len(values))]


def plot_stages(results: dict, path: Path) -> None:
    """Bars of pass@1 by stage and task, with their 95% intervals."""
    stages = list(results["stages"])
    figure, axes = new_figure(figsize=(7.2, 3.6))
    for i, task in enumerate(COLORS):
        rates = [results["stages"][stage][task]["accuracy"] for stage in stages]
        x = [s + (i - 1) * 0.26 for s in range(len(stages))]
        y = [100 * r["value"] for r in rates]
        error = [[100 * (r["value"] - r["low"]) for r in rates], [100 * (r["high"] - r["value"]) for r in rates]]
        axes.bar(x, y, 0.24, yerr=error, capsize=2, color=COLORS[task], label=f"{task} (n={rates[0]['num_problems']})")
        for xi, yi in zip(x, y):
            axes.text(xi, 3, f"{yi:.0f}", ha="center", color="white", fontsize=8)
    axes.set_xticks(range(len(stages)), stages)
    axes.set_ylabel("held-out pass@1, %")
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    figure.savefig(path, dpi=150)


def plot_curves(lines: list[dict[str, float]], path: Path, title: str) -> None:
    """What RL does to reward, length, entropy, KL and the groups that teach nothing, over its iterations."""
    shown = [(key, label) for key, label in CURVES    # with one update per rollout its KL is rounding alone
             if any(abs(line.get(key, 0)) > 1e-6 for line in lines)]
    figure, grid = new_figure(2, 3, figsize=(9, 4.6))
    for axes, (key, label) in zip(grid.flat, shown):
        points = [(line["iteration"], line[key]) for line in lines if key in line]
        x, y = zip(*points)
        axes.plot(x, y, color="#b9c7d6", linewidth=0.8)
        axes.plot(x, smooth(y), color="#1b6ca8", linewidth=1.6)
        axes.set_title(label, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(shown):]:
        axes.set_visible(False)
    for axes in grid[1]:
        axes.set_xlabel("iteration", fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150)


def plot_held_out(lines: list[dict[str, float]], path: Path, title: str) -> None:
    """Held-out pass@1 within a stage, from the looks that --evaluate-every took."""
    looks = [line for line in lines if "held_out_arithmetic" in line]
    figure, axes = new_figure(figsize=(5.4, 3.2))
    for task, color in COLORS.items():
        axes.plot([look["iteration"] + 1 for look in looks], [100 * look[f"held_out_{task}"] for look in looks],
                  marker="o", markersize=3, color=color, label=task)
    axes.set_xlabel("steps", fontsize=9)
    axes.set_ylabel("held-out pass@1, %", fontsize=9)
    axes.set_ylim(0, 100)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def plot_memory(path: Path | str, sizes: list[int], curves: dict[str, tuple[list[int], int]]) -> None:
    """Bytes against group size. `curves` is {kind: ([bytes of GRPO at each size], bytes of PPO with one completion)}."""
    figure, all_axes = new_figure(1, len(curves), figsize=(3.8 * len(curves), 3.2), squeeze=False)
    for axes, (kind, (grpo_bytes, ppo_bytes)) in zip(all_axes[0], curves.items()):
        axes.plot(sizes, [number / 2**20 for number in grpo_bytes], "o-", ms=3, color="#1b6ca8", label="GRPO")
        axes.axhline(ppo_bytes / 2**20, color="#d1495b", label="PPO, one completion a prompt")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sizes[1::2], sizes[1::2])
        powers = [4**i for i in range(12)]                       # 1 MiB, 4 MiB ... 4 TiB
        axes.set_yticks(powers, [f"{n} MiB" if n < 2**10 else f"{n >> 10} GiB" if n < 2**20 else f"{n >> 20} TiB" for n in powers])
        axes.minorticks_off()
        axes.set_ylim(min(grpo_bytes) / 2**20 / 2, max(*grpo_bytes, 4 * ppo_bytes) / 2**20 * 2)
        axes.set_xlabel("completions a prompt, G")
        axes.set_title(kind, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0][0].set_ylabel("peak memory, by formula")
    all_axes[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
