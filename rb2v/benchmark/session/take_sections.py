"""Measurements of one take, wherever an executor runs them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rb2v.artifacts import Take
from rb2v.benchmark.report.page import Section
from rb2v.benchmark.session import comparison, fidelity
from rb2v.benchmark.session.comparison import Outcome
from rb2v.benchmark.session.config import BenchmarkConfig
from rb2v.benchmark.session.fidelity import TakeFidelity
from rb2v.benchmark.session.green_screen import keying, keying_section
from rb2v.benchmark.session.green_screen.keying import Keying, TakeKeying
from rb2v.benchmark.session.inputs import MAIN_LABEL, Aligned, Inputs
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.execution import Executor
from rb2v.io.aligned import AlignedTakeReader
from rb2v.shards import ShardReader
from rb2v.simulator.truth import read_truth


@dataclass(frozen=True)
class _Item:
    """A take and what is to be measured of it."""

    name: str
    recorded: Take | None
    """Given where the sharp frames are to be compared with the truth."""
    keying: Keying | None
    """Given where its mattes are to be measured."""
    compared: bool
    """Whether other alignments of it are to be compared."""


@dataclass(frozen=True, eq=False)
class _Result:
    fidelity: TakeFidelity | None
    keying: TakeKeying | None
    outcomes: tuple[Outcome, ...]


def report(inputs: Inputs, aligned: Aligned, config: BenchmarkConfig, executor: Executor) -> list[Section]:
    """Return the sections that need every take's frames: those for which there are inputs.

    Raises
    ------
    InputError
        If a recording cannot be decoded, or the data set does not fit the aligned takes.
    """
    items = _list_items(inputs, aligned)
    measure = partial(
        _measure_take,
        aligned=aligned,
        others=inputs.compared,
        shards=inputs.shards,
        truth_dir=inputs.paths.truth_dir,
        config=config,
    )
    results = list(executor.map(measure, items))
    compared = [result.fidelity for result in results if result.fidelity is not None]
    keyed = [result.keying for result in results if result.keying is not None]
    sections = [fidelity.report(compared)] if compared else []
    if inputs.compared:
        outcomes = [outcome for result in results for outcome in result.outcomes]
        sections.append(comparison.report(outcomes, aligned, inputs.compared))
    return [*sections, keying_section.report(keyed, _find_keying(inputs))] if keyed else sections


def _find_keying(inputs: Inputs) -> Keying:
    return keying.find_keying(inputs.shards, inputs.paths.weights, inputs.paths.backgrounds_dir)


def _list_items(inputs: Inputs, aligned: Aligned) -> list[_Item]:
    recorded: dict[str, Take] = {}
    if inputs.raw is not None and inputs.truth is not None:
        recorded = {take.name: take for take in inputs.raw.takes}
    in_shards = set(inputs.shards.table["take"])
    compared = inputs.common_takes if inputs.compared else ()
    items = []
    for name in aligned.take_names:
        with aligned.open_take(name) as reader:
            is_keyed = reader.green_screen and name in in_shards
        keyed = _find_keying(inputs) if is_keyed else None
        if keyed is not None or name in recorded or name in compared:
            items.append(_Item(name, recorded.get(name), keyed, name in compared))
    return items


def _measure_take(
    item: _Item,
    aligned: Aligned,
    others: Mapping[str, Aligned],
    shards: ShardReader,
    truth_dir: Path | None,
    config: BenchmarkConfig,
) -> _Result:
    truth = None if truth_dir is None else read_truth(truth_dir)
    renderer = None
    if truth is not None:
        renderer = TruthRenderer(truth.rig, truth.take(item.name), aligned.crop, aligned.rig.output_size)

    with ExitStack() as stack:
        reader = stack.enter_context(aligned.open_take(item.name))
        other_readers = {
            label: stack.enter_context(other.open_take(item.name)) for label, other in others.items() if item.compared
        }
        against = None
        if item.recorded is not None and renderer is not None:
            readers, n_samples = (reader, *other_readers.values()), config.frames_per_take
            against = fidelity.TakeComparison(readers, item.recorded, aligned, renderer=renderer, n_samples=n_samples)

        def compare(reader: AlignedTakeReader, n_blurs: int = 0) -> TakeFidelity | None:
            return None if against is None else against.compare(reader, n_blurs, config.blur_methods)

        keyed, outcomes = None, []
        compared = compare(reader, config.blurs_per_take)
        if item.keying is not None:
            keyed = keying.measure_take(
                reader, shards, aligned.rig.response, renderer, item.keying, config.mattes_per_take
            )
        if item.compared:
            outcomes.append(comparison.measure_take(MAIN_LABEL, reader, renderer, compared))
        for label, other_reader in other_readers.items():
            outcomes.append(comparison.measure_take(label, other_reader, renderer, compare(other_reader)))
    return _Result(compared, keyed, tuple(outcomes))
