"""Batches of a data set, in an order that can be left and taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from rb2v.hypercut.data import ShardDataset
from rb2v.hypercut.sampler import ShardSampler


class ShardLoader(DataLoader[dict[str, Tensor]]):
    """A ``DataLoader`` that knows which samples it has handed out, see `make_loader`."""

    sampler: ShardSampler

    def __init__(self, dataset: ShardDataset, batch_size: int, sampler: ShardSampler, **options: Any) -> None:  # noqa: ANN401 - the options of DataLoader
        self._position = sampler.start
        super().__init__(dataset, batch_size, sampler=sampler, **options)

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
        for batch in super().__iter__():
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
    """Return a loader of seeded, mixed batches that can go on where it was stopped.

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
        Further options of ``DataLoader``.

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
