import csv
import dataclasses
import json

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import write_data_set

from rb2v.benchmark.suites.deblur import PRESETS, DeblurSuite, DeblurSuiteConfig
from rb2v.benchmark.suites.deblur.deblur_grid import all_cells, alpha_cells
from rb2v.blur2vid.evaluate import score_samples
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.simulator.config import SequencesConfig
from rb2v.stages import simulate_shards

CONFIG = DeblurSuiteConfig(
    backbones=("unet",),
    methods=("naive", "order_invariant", "hypercut", "label"),
    image_size=None,
    crop_size=16,
    batch_size=2,
    steps=2,
    seeds=2,
    alphas=(0.0, 0.1, 0.2),
    order_steps=2,
    order_size=24,
    toy_steps=2,
    toy_train=4,
    toy_test=3,
    shown_sequences=1,
)


def results(folder):
    return {row["metric"]: row["value"] for row in json.loads((folder / "results.json").read_text())["scores"]}


def runs_name(method):
    return f"unet-{method}-a1-s0" if method.endswith(("signs", "_regions")) else f"unet-{method}-s0"


def share_that_follows(run, order_run):
    samples, labels = pd.read_csv(run / "samples.csv"), pd.read_csv(order_run / "order_labels.csv")
    ours = samples[samples["estimator"] == "network"].merge(labels[labels["split"] == "test"])
    nearer = sum(ours[f"psnr_forward_{k}"] - ours[f"psnr_backward_{k}"] for k in range(7))
    return (np.sign(nearer) == ours["order"]).mean()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deblur_data") / "shards"
    write_data_set(folder, 6, 4, 24, n_takes=4)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "one.png"), image)
    return folder


@pytest.fixture(scope="module")
def suite(shards, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deblur_suite") / "report"
    DeblurSuite(shards, CONFIG, pictures_dir=pictures, device="cpu").run(folder)
    return folder


class TestRun:
    def test_every_run_is_trained_once(self, suite):
        runs = {path.name for path in (suite / "runs").iterdir()}
        main = {
            f"unet-{name}-s{seed}"
            for name in ("naive", "order_invariant", "hypercut-a0.2", "label")
            for seed in range(2)
        }
        toys = {f"toy-unet-{name}-s0" for name in ("naive", "order_invariant", "hypercut-a0.2", "label")}
        assert runs == main | toys | {"unet-hypercut-a0.1-s0", "order", "toy-order"}

    def test_figures_are_those_of_the_runs(self, suite):
        values = results(suite)
        tested = [
            json.loads((suite / "runs" / f"unet-label-s{seed}" / "metrics.json").read_text())["test"]
            for seed in range(2)
        ]
        for name in ("ppsnr_seq", "ppsnr_seq_border", "pssim_seq", "reblur_psnr", "amplitude"):
            expected = np.mean([one["network"][name] for one in tested])
            assert values[f"unet.label.{name}.mean"] == pytest.approx(expected, rel=1e-4)
        assert values["blurry.ppsnr_seq.mean"] == pytest.approx(tested[0]["blurry"]["ppsnr_seq"], rel=1e-4)
        assert values["blurry.amplitude.mean"] == 0
        frames = [values[f"unet.label.frame_{k + 1}"] for k in range(7)]
        assert np.mean(frames) == pytest.approx(values["unet.label.ppsnr_seq.mean"], rel=1e-4)

    def test_gains_are_over_the_order_invariant_loss(self, suite):
        values = results(suite)
        border = {name: values[f"unet.{name}.ppsnr_seq_border.mean"] for name in ("label", "order_invariant")}
        assert values["unet.label.gain_border"] == pytest.approx(border["label"] - border["order_invariant"], abs=1e-3)
        assert values["unet.label.gain_border.interval_low"] <= values["unet.label.gain_border"]

    def test_weights_of_table_6_share_runs_with_the_other_tables(self, suite):
        values = results(suite)
        seeds = values["unet.hypercut.ppsnr_seq.least"], values["unet.hypercut.ppsnr_seq.largest"]
        assert values["alpha_0.2.ppsnr_seq"] in seeds
        assert "alpha_0.1.ppsnr_seq" in values

    def test_the_report_holds_all_sections_and_pictures(self, suite):
        page = (suite / "report.html").read_text(encoding="utf-8")
        for title in ("Methods", "Table 2", "Table 6", "Figure 2", "Figure 6", "Blurry images"):
            assert title in page
        assert page.count("data:image/jpeg") >= 3 * 5 + 5 + 5
        with (suite / "results.csv").open(encoding="utf-8", newline="") as file:
            assert "one.png" in {row["take"] for row in csv.DictReader(file)}

    def test_again_it_trains_nothing_and_writes_the_same(self, suite, shards, pictures):
        before = (suite / "results.json").read_bytes()
        times = {path: path.stat().st_mtime_ns for path in (suite / "runs").rglob("*")}
        DeblurSuite(shards, CONFIG, pictures_dir=pictures, device="cpu").run(suite)
        assert (suite / "results.json").read_bytes() == before
        assert {path: path.stat().st_mtime_ns for path in (suite / "runs").rglob("*")} == times

    def test_one_half_of_the_takes_chooses_and_the_other_is_reported(self, suite, shards):
        path = suite / "runs" / "unet-label-s0" / "samples.csv"
        samples = pd.read_csv(path)
        takes = sorted(set(samples["take"]))
        changes = {"methods": ("label",), "seeds": 1, "alphas": (), "toy_steps": 0, "shown_sequences": 0}
        for name, kept in (("validation", takes[::2]), ("test", takes[1::2])):
            half = DeblurSuite(shards, dataclasses.replace(CONFIG, held_out=name, **changes), device="cpu")
            found = half.sections(suite)[0].scores
            expected = score_samples(samples[samples["take"].isin(kept)], n_resamples=1)["network"]
            values = {score.metric: score.value for score in found}
            for figure in ("ppsnr_seq", "correlation", "survival", "one_sign"):
                assert values[f"unet.label.{figure}.mean"] == pytest.approx(expected[figure])
            assert f"the {name} half" in half.facts()["Scored"]

    def test_orders_are_those_of_the_order_network(self, suite):
        follows = share_that_follows(suite / "runs" / "unet-naive-s0", suite / "runs" / "order")
        values = results(suite)
        runs = [values[f"unet.naive.follows_order.{end}"] for end in ("least", "largest")]
        assert min(runs) - 1e-6 <= follows <= max(runs) + 1e-6

    @pytest.mark.usefixtures("undrawn")
    def test_regions_are_scored_where_the_truth_is_known(self, tmp_path):
        simulate_shards.run(tmp_path / "shards", SequencesConfig("opposed", train=4, test=4, size=32, per_scene=2))
        methods = ("hypercut_regions", "window_4_signs", "regions_true", "regions_order")
        changes = {"methods": methods, "toy_steps": 0, "seeds": 1, "alphas": (), "shown_sequences": 0}
        config = dataclasses.replace(CONFIG, **changes)
        with pytest.raises(InputError) as caught:
            DeblurSuite(tmp_path / "shards", config, device="cpu").run(tmp_path / "out")
        assert caught.value.key == "truth"
        truth = tmp_path / "truth" / "shards"
        before = dataclasses.replace(config, methods=methods[:1])
        DeblurSuite(tmp_path / "shards", before, device="cpu").run(tmp_path / "out")
        DeblurSuite(tmp_path / "shards", config, truth_dir=truth, device="cpu").run(tmp_path / "out")
        values = results(tmp_path / "out")
        for method in methods:
            for figure in ("psnr_with", "psnr_against", "psnr_objects"):
                # Of what was scored before there was a truth, they stand in a table of their own.
                name = "regions.csv" if method == methods[0] else "samples.csv"
                measured = pd.read_csv(tmp_path / "out" / "runs" / runs_name(method) / name)
                ours = measured[measured["estimator"] == "network"]
                assert values[f"unet.{method}.{figure}.mean"] == pytest.approx(ours[figure].mean(), rel=1e-4)
        assert {path.name for path in (tmp_path / "out").glob("*.h5")} == {"true.h5", "signs.h5"}
        # The order is that of the network that it was trained with.
        runs = tmp_path / "out" / "runs"
        follows = share_that_follows(runs / runs_name("window_4_signs"), runs / "order-signs")
        assert values["unet.window_4_signs.follows_order.mean"] == pytest.approx(follows, abs=1e-6)

    @pytest.mark.usefixtures("undrawn")
    def test_no_order_network_is_trained_where_no_method_asks_for_it(self, shards, tmp_path):
        plain = {"methods": ("naive",), "alphas": (), "toy_steps": 0, "seeds": 1, "shown_sequences": 0}
        DeblurSuite(shards, dataclasses.replace(CONFIG, **plain), device="cpu").run(tmp_path / "out")
        assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == ["unet-naive-s0"]

    def test_other_steps_need_another_folder(self, suite, shards):
        with pytest.raises(ConfigMismatchError, match="steps"):
            DeblurSuite(shards, dataclasses.replace(CONFIG, steps=3), device="cpu").run(suite)

    def test_a_missing_order_network_is_named(self, shards, tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            DeblurSuite(shards, CONFIG, order_run=tmp_path / "none", device="cpu").run(tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_what_a_later_run_would_fail_at_is_refused_before_the_first(self, shards, tmp_path, monkeypatch):
        monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "cache"))
        (tmp_path / "network").write_text("no network")
        for changes, options, message in (
            ({"crop_size": 25}, {}, "crop_size: is 25; expected at most 24"),
            ({"image_size": 10, "crop_size": 8}, {}, "image_size: is 10"),
            ({}, {"lpips": True}, "rb2v models fetch lpips"),
            ({}, {"order_run": tmp_path / "network"}, "network: "),
        ):
            with pytest.raises(InputError, match=message):
                DeblurSuite(shards, dataclasses.replace(CONFIG, **changes), device="cpu", **options).run(
                    tmp_path / "out"
                )
        assert not (tmp_path / "out").exists()

    def test_a_folder_without_pictures_is_named(self, shards, tmp_path):
        with pytest.raises(InputError, match="there is no such folder"):
            DeblurSuite(shards, CONFIG, pictures_dir=tmp_path / "none", device="cpu").run(tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestConfig:
    @pytest.mark.parametrize(
        "chosen",
        [
            {"backbones": ["vgg"]},
            {"backbones": ["purohit_oracle"]},
            {"methods": ["none"]},
            {"seeds": 0},
            {"steps": 0},
        ],
    )
    def test_what_is_out_of_range_is_refused(self, chosen):
        with pytest.raises(InputError) as caught:
            PRESETS["small"].chosen(**chosen)
        assert caught.value.key.partition(".")[0] == next(iter(chosen))

    def test_methods_come_in_the_tables_order(self):
        assert PRESETS["small"].chosen(methods=["label", "naive"]).methods == ("naive", "label")

    def test_weights_are_compared_in_windows_where_their_regularizer_is(self):
        assert set(alpha_cells(CONFIG)) == {"hypercut"}
        config = CONFIG.chosen(methods=["window_4_hypercut"], crop_size=20)
        assert config.crop_size == 20
        cells = alpha_cells(config)["window_4_hypercut"]
        assert {alpha: cell.name for alpha, cell in cells.items()} == {
            0.0: "unet-window_4-s0",
            0.1: "unet-window_4_hypercut-a0.1-s0",
            0.2: "unet-window_4_hypercut-a0.2-s0",
        }
        assert set(cells.values()) < set(all_cells(config))
        assert not alpha_cells(config.chosen(alphas=False))


class TestCommand:
    def test_options_of_other_suites_are_refused(self, rb2v, shards, tmp_path):
        places = ["--shards", shards, "--out", tmp_path / "out"]
        for arguments in (["deblur", *places, "--arch", "motion"], [*places, "--backbone", "unet"]):
            found = rb2v("benchmark", *arguments)
            assert found.status == 2
            assert found.err.startswith(f"error: {arguments[-2]}: is not an option of ")
        assert not (tmp_path / "out").exists()
