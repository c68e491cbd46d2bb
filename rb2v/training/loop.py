"""The loop over the steps of a training, whatever is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Protocol

import torch
from torch.optim import Optimizer

from rb2v.progress import Progress
from rb2v.training.curves import Curves
from rb2v.training.options import learning_rate
from rb2v.training.state import TrainingState
from rb2v.training.steps import is_finite

CURVES_NAME = "tensorboard"


logger = logging.getLogger(__name__)


class StepOptions(Protocol):
    """What the configuration of every training tells of its steps."""

    @property
    def steps(self) -> int:
        """All of them."""
        ...

    @property
    def lr(self) -> float:
        """Peak learning rate."""
        ...

    @property
    def warmup_steps(self) -> int:
        """Steps until the peak."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Steps between two states from which a stopped run can go on."""
        ...

    @property
    def log_every(self) -> int:
        """Steps between two rows of the table of training."""
        ...


def run_steps(
    state: TrainingState,
    options: StepOptions,
    optimizer: Optimizer,
    take_step: Callable[[int], Mapping[str, float]],
    *,
    rates: Callable[[int], Sequence[float]] | None = None,
    after_step: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Take the steps that a state has not behind it yet, and keep their table, their curves and states of them.

    Parameters
    ----------
    state : TrainingState
        Resumed, if there was anything to resume from.
    options : StepOptions
        How many steps, and how often what is written.
    optimizer : Optimizer
        Its learning rate is set before every step.
    take_step : callable
        Given the number of the step, from 0 on; returns the figures of `optimizer_step`, and what else the table holds.
    rates : callable, optional
        Returns the learning rates of the optimizer's groups for a step; by default all have that of `learning_rate`.
    after_step : callable, optional
        Called with the number of every step whose loss and gradient were finite.
    progress : callable, optional
        Called on the first process, with the steps done, all of them, and "training".
    """
    ranks = state.ranks
    with ExitStack() as stack:
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True))
        with ranks.sync_errors():
            folder = state.out_dir / CURVES_NAME
            curves = stack.enter_context(closing(Curves(folder, state.step))) if ranks.is_main_process else None
        for step in range(state.step, options.steps):
            groups = optimizer.param_groups
            of_groups = [_rate(options, step)] * len(groups) if rates is None else rates(step)
            for group, rate in zip(groups, of_groups, strict=True):
                group["lr"] = rate
            figures = take_step(step)
            if not is_finite(figures):
                state.skipped += 1
                if ranks.is_main_process:
                    logger.warning("step %d skipped: its loss or gradient is not finite", step)
            elif after_step is not None:
                after_step(step)
            state.step = step + 1
            ended = state.step == options.steps
            if should_log(options, step):
                told = {"lr": max(of_groups), **figures}
                state.rows.append({"step": state.step, **told, "skipped": state.skipped})
                with ranks.sync_errors():
                    if curves is not None:
                        curves.add(state.step, told)
            if state.step % options.checkpoint_every == 0 or ended:
                state.save()
            if progress is not None and ranks.is_main_process:
                progress(state.step, options.steps, "training")


def should_log(options: StepOptions, step: int) -> bool:
    """Tell whether the table of training gets a row for a step, numbered from 0."""
    return (step + 1) % options.log_every == 0 or step + 1 == options.steps


def _rate(options: StepOptions, step: int) -> float:
    return learning_rate(step, steps=options.steps, peak=options.lr, warmup_steps=options.warmup_steps)
