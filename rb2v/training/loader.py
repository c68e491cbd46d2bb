"""Batches of a data set, in an order that can be left and taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from rb2v.training.batches import make_batch
from rb2v.training.data import ShardDataset
from rb2v.training.sampler import ShardSampler


class _Batches(Dataset[Any]):
    """A data set's samples as whole batches, for a loader whose ``collate_fn`` is `_pass_on`."""

    def __init__(self, dataset: ShardDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> Any:  # noqa: ANN401 - see make_batch
        return make_batch(self.dataset.batch_layout(len(indices)), partial(self.dataset.write_batch, indices))


def _pass_on(batch: Any) -> Any:  # noqa: ANN401 - see make_batch
    return batch


class ShardLoader(DataLoader[dict[str, Tensor]]):
    """A ``DataLoader`` that knows which samples it has handed out, see `make_loader`."""

    sampler: ShardSampler

    def __init__(self, dataset: ShardDataset, batch_size: int, sampler: ShardSampler, **options: Any) -> None:  # noqa: ANN401 - the options of DataLoader
        self._position = sampler.start
        super().__init__(dataset, batch_size, sampler=sampler, **options)
        # Whole batches are what `default_collate` makes of samples; who makes something else of them gets the samples.
        self._whole: DataLoader[Any] | None = None
        if type(dataset) is ShardDataset and batch_size and options.get("collate_fn") in (None, default_collate):
            options["collate_fn"] = _pass_on
            self._whole = DataLoader(_Batches(dataset), batch_size, sampler=sampler, **options)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration draws."""
        return self.sampler.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which decides order and crops; to name the present one again changes nothing."""
        if epoch != self.epoch:
            self._position = 0
        self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:  # type: ignore[override]
        """Yield the epoch's batches; after `load_state_dict`, those that are left."""
        self._position = self.sampler.start
        for batch in super().__iter__() if self._whole is None else self._whole:
            self._position = min(self._position + (self.batch_size or 1), len(self.sampler))
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the samples handed out, however far the workers have read ahead."""
        return self.sampler.state_dict(self._position)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the batch after the last one that was handed out before the state was taken.

        Raises
        ------
        Rb2vError
            If the state is of another data set, seed or order, or the processes cannot share what was used.
        """
        self.sampler.load_state_dict(state)
        self._position = self.sampler.start


def make_loader(
    dataset: ShardDataset,
    batch_size: int,
    *,
    sampler: ShardSampler | None = None,
    workers: int = 2,
    **options: Any,  # noqa: ANN401 - the options of DataLoader
) -> ShardLoader:
    """Return a loader of seeded, mixed batches that can resume stopped.

    Parameters
    ----------
    dataset : ShardDataset
        The samples.
    batch_size : int
        Samples of a batch.
    sampler : ShardSampler, optional
        Their order; mixed, and shared among the processes of ``torch.distributed``, by default.
    workers : int
        Processes that read; they live as long as the loader. The calling process reads where it is 0.
    **options
        Further options of ``DataLoader``. Given a ``collate_fn``, or a data set of a class of its own, workers read
        sample by sample, which is slower.

    Returns
    -------
    ShardLoader
        A ``DataLoader`` with ``set_epoch``, ``state_dict`` and ``load_state_dict``.

    Examples
    --------
    >>> loader = make_loader(dataset, 8)  # doctest: +SKIP
    >>> for epoch in range(loader.epoch, 10):  # doctest: +SKIP
    ...     loader.set_epoch(epoch)
    ...     for batch in loader:
    ...         ...
    """
    options = {"persistent_workers": workers > 0, **options}
    return ShardLoader(dataset, batch_size, sampler or ShardSampler(dataset), num_workers=workers, **options)
