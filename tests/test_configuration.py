"""Configurations: choices that are the methods there are, and faults that name their key."""

import dataclasses
import json
import pickle
from typing import get_args

import pytest

from rb2v import choices
from rb2v.benchmark.suites.deblur import METHODS
from rb2v.blur2vid.backbones import BACKBONES
from rb2v.blur2vid.config import NO_REGULARIZER, SIGN_REGULARIZERS, TrainBlur2VidConfig
from rb2v.blur2vid.losses import LOSSES, REGULARIZERS
from rb2v.errors import InputError
from rb2v.hypercut import losses as order_losses
from rb2v.hypercut.config import LOSS_TERMS, TrainHyperCutConfig
from rb2v.hypercut.networks import ORDER_NETWORKS
from rb2v.interpolation import INTERPOLATORS
from rb2v.io.store import validate
from rb2v.matting import MATTING_METHODS
from rb2v.matting.background.network import BACKBONES as ENCODERS
from rb2v.simulator.config import SequencesConfig, SimulateConfig
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.build_shards.config import BuildShardsConfig
from rb2v.stages.calibrate.config import CalibrateConfig

CONFIGS = (
    *(AlignConfig, BuildShardsConfig, CalibrateConfig, SequencesConfig, SimulateConfig),
    *(TrainBlur2VidConfig, TrainHyperCutConfig),
)


@pytest.mark.parametrize(
    ("names", "methods"),
    [
        (choices.InterpolatorName, INTERPOLATORS),
        (choices.MattingMethodName, MATTING_METHODS),
        (choices.OrderNetworkName, ORDER_NETWORKS),
        (choices.OrderLossName, order_losses.LOSSES),
        (choices.BackboneName, BACKBONES),
        (choices.SequenceLossName, LOSSES),
        (choices.RegularizerName, {NO_REGULARIZER, *SIGN_REGULARIZERS, *REGULARIZERS}),
        (choices.DeblurMethodName, METHODS),
        (choices.EncoderName, ENCODERS),
    ],
)
def test_a_choice_has_every_method_and_no_other(names, methods):
    assert set(get_args(names)) == set(methods)


def test_the_terms_of_a_loss_are_those_it_computes():
    assert {name: set(terms) for name, terms in LOSS_TERMS.items()} == {
        name: set(terms) for name, terms in order_losses.LOSSES.items()
    }


@pytest.mark.parametrize("config_type", CONFIGS)
def test_a_configuration_survives_a_file_and_a_process(config_type, tmp_path):
    config = config_type()
    assert pickle.loads(pickle.dumps(config)) == config
    assert validate(config_type, json.loads(json.dumps(dataclasses.asdict(config))), tmp_path) == config


@pytest.mark.parametrize("config_type", CONFIGS)
def test_every_field_says_what_it_is(config_type):
    missing = [name for name, field in config_type.__pydantic_fields__.items() if not field.description]
    assert set(missing) <= {"named_board"}


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"response": 0.0}, "response", "linear or srgb or at least 0.1"),
        ({"response": "log"}, "response", "linear or srgb or a number"),
        ({"max_flash": 0}, "max_flash", "more than 0"),
        ({"sync": "smell"}, "sync", None),
    ],
)
def test_a_fault_has_its_key_and_what_would_be_right(changes, key, expected):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(AlignConfig(), **changes)
    assert (caught.value.source, caught.value.key) == ("options", key)
    assert expected is None or expected in caught.value.expected.replace("'", "")
