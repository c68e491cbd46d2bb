import csv
import functools
import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from data_sets import write_samples
from textures import N_FRAMES, translating_texture

from rb2v.benchmark.suites import stop_watch
from rb2v.benchmark.suites.order import PRESETS, OrderSuite, OrderSuiteConfig, stage
from rb2v.benchmark.suites.order.order_figures import RunResult, by_category, over_seeds
from rb2v.benchmark.suites.order.order_grid import OrderCell
from rb2v.benchmark.suites.order.point_map import map_points
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.execution import SerialExecutor
from rb2v.hypercut.checkpoint import save_order_network
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.evaluate import score_predictions
from rb2v.hypercut.networks import ORDER_NETWORKS, make_order_network
from rb2v.io.store import output_folder
from rb2v.shards import Provenance, ShardReader, ShardSample

SIZE = 40
TAKES = {"street-a": "street", "street-b": "street", "hand-a": "hand", "001": "hand"}
PER_TAKE = 3

TINY = OrderSuiteConfig(
    archs=("upstream", "motion"),
    image_size=SIZE,
    steps=3,
    steps_of={"upstream": 2},
    seeds=2,
    n_dimensions=4,
    dimensions=(1, 4),
    dimension_seeds=1,
    shown_sequences=5,
)
RUNS = ["motion-n1-s0", "motion-n4-s0", "motion-n4-s1", "upstream-n4-s0", "upstream-n4-s1"]


def write_shards(folder, takes=tuple(TAKES)):
    """Write textures that move left or right, and the truth beside them."""
    rng = np.random.default_rng(0)
    splits, truth = {}, []
    for split, of_split in (("train", ["t0", "t1"]), ("test", takes)):
        samples = []
        for take in of_split:
            for index in range(PER_TAKE):
                direction = int(rng.choice([-1, 1]))
                sharp = translating_texture(rng, SIZE, direction, N_FRAMES)
                blurry = sharp.mean(axis=0).round().astype(np.uint8)
                category = TAKES.get(take, "street")
                color = np.eye(3, 4, dtype=np.float32)
                samples.append(ShardSample(blurry, sharp, color, take, f"{split}-{take}", category, index, 0, 40.0))
                truth.append((split, take, index, 5.0 * direction, 0.0))
        if samples:
            splits[split] = [samples]
    provenance = Provenance("0", {}, None, {"test": 0}, "linear")
    write_samples(folder, splits, (SIZE, SIZE), rig="none", provenance=provenance, n_frames=N_FRAMES)
    truth_dir = folder.parent / "truth"
    truth_dir.mkdir()
    columns = ["split", "take", "blurry_index", "motion_x_px", "motion_y_px"]
    pd.DataFrame(truth, columns=columns).to_csv(truth_dir / "motion.csv", index=False)
    (truth_dir / "config.json").write_text(json.dumps({"config": {}, "seeds": provenance.seeds}))
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("order_suite") / "shards")


@pytest.fixture(scope="module")
def report(shards):
    """A finished suite with truth."""
    out = shards.parent / "report"
    truth = shards.parent / "truth"
    executor = SerialExecutor(check_pickle=True)
    assert OrderSuite(shards, TINY, truth_dir=truth, device="cpu").run(out, executor=executor) == out / "report.html"
    return out


@pytest.fixture(scope="module")
def scores(report):
    return read_scores(report)


def read_scores(folder):
    return {row["metric"]: row["value"] for row in json.loads((folder / "results.json").read_text())["scores"]}


def predictions_of(report, name):
    table = pd.read_csv(report / "runs" / name / "predictions.csv", dtype={"take": str})
    return table[(table["scorer"] == "network") & (table["variant"] == "plain")].reset_index(drop=True)


def con_3(table):
    sides = np.sign(table[["s_0", "s_1", "s_2"]].to_numpy())
    return 100 * float((np.abs(sides.sum(axis=1)) == 3).mean())


def times_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def results_of(consistent, category_of):
    """Return a run per seed, of networks whose three pairs agree in some of the takes, 2 sequences each."""
    results = []
    for seed, takes in enumerate(consistent):
        rows = [
            ("network", variant, take, index, 1.0, 1.0, 1.0 if take in takes else -1.0, -1.0, -1.0, -1.0)
            for variant in ("plain", "contrast_reversed")
            for take in category_of
            for index in range(2)
        ]
        columns = ["scorer", "variant", "take", "blurry_index", "s_0", "s_1", "s_2", "r_0", "r_1", "r_2"]
        predictions = pd.DataFrame(rows, columns=columns)
        cell = OrderCell("motion", 4, seed)
        results.append(RunResult(cell, predictions, score_predictions(predictions), False, None))
    return results


class TestRuns:
    def test_each_is_trained_once_though_two_tables_show_it(self, report):
        assert sorted(path.name for path in (report / "runs").iterdir()) == RUNS
        assert json.loads((report / "results.json").read_text())["runs"] == [
            *("upstream-n4-s0", "upstream-n4-s1", "motion-n4-s0", "motion-n4-s1", "motion-n1-s0")
        ]

    def test_each_has_the_recommended_loss(self, report):
        losses = {name: json.loads((report / "runs" / name / "config.json").read_text())["loss"] for name in RUNS}
        assert {name.split("-")[0]: loss for name, loss in losses.items()} == {
            "upstream": "upstream",
            "motion": "agreement",
        }

    def test_a_second_call_trains_nothing_and_writes_the_same(self, shards, report):
        written = {name: (report / name).read_bytes() for name in ("results.json", "results.csv", "report.html")}
        before = times_of(report / "runs") | times_of(report / "times")
        n_threads = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            OrderSuite(shards, TINY, truth_dir=shards.parent / "truth", device="cpu").run(report)
            assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(n_threads)
        assert times_of(report / "runs") | times_of(report / "times") == before
        assert {name: (report / name).read_bytes() for name in written} == written

    @pytest.mark.usefixtures("undrawn")
    def test_a_stopped_suite_goes_on_to_the_same_runs(self, shards, report, tmp_path):
        class StoppedError(Exception):
            pass

        def stop(done, total, label):
            assert total == 4
            if done == 2:
                raise StoppedError

        config = TINY.chosen(archs=["motion"])
        with pytest.raises(StoppedError):
            OrderSuite(shards, config, device="cpu").run(tmp_path / "report", progress=stop)
        runs = tmp_path / "report" / "runs"
        assert sorted(path.name for path in runs.iterdir()) == ["motion-n4-s0", "motion-n4-s1"]
        (runs / "motion-n4-s1" / "order_labels.csv").unlink()  # as if it were stopped before its last file
        before = times_of(runs / "motion-n4-s0")
        OrderSuite(shards, config, device="cpu").run(tmp_path / "report")
        assert times_of(runs / "motion-n4-s0") == before
        for name in ("motion-n1-s0", "motion-n4-s0", "motion-n4-s1"):
            for path in (runs / name).glob("*.*"):
                assert path.read_bytes() == (report / "runs" / name / path.name).read_bytes(), path
        scores, without_truth = read_scores(report), read_scores(tmp_path / "report")
        assert without_truth == {metric: scores[metric] for metric in without_truth}
        assert not [metric for metric in without_truth if "agreement" in metric]
        assert "follows the motion" not in (tmp_path / "report" / "report.html").read_text()
        assert "follows the motion" in (report / "report.html").read_text()

    @pytest.mark.usefixtures("undrawn")
    def test_networks_and_dimensions_may_be_added(self, shards, report, tmp_path):
        out = tmp_path / "report"
        OrderSuite(shards, TINY.chosen(archs=["motion"], seeds=1, dimensions=False), device="cpu").run(out)
        before = times_of(out / "runs")
        assert [path.name for path in (out / "runs").iterdir()] == ["motion-n4-s0"]
        assert "By dimension" not in (out / "report.html").read_text()
        OrderSuite(shards, TINY.chosen(archs=["antisymmetric", "motion"]), device="cpu").run(out)
        assert {path: times_of(out / "runs")[path] for path in before} == before
        found, expected = (
            {metric: value for metric, value in read_scores(folder).items() if metric.startswith("motion.")}
            for folder in (out, report)
        )
        assert found == {metric: value for metric, value in expected.items() if "agreement" not in metric}
        assert "antisymmetric.hit.mean" in read_scores(out)

    def test_runs_of_other_settings_are_refused(self, shards, report):
        before = times_of(report)
        with pytest.raises(ConfigMismatchError, match=r"report/config.json: steps: the folder was made with 3"):
            OrderSuite(shards, TINY.chosen(steps=5), device="cpu").run(report)
        assert times_of(report) == before

    def test_what_somebody_else_made_is_kept(self, shards, tmp_path):
        (tmp_path / "report.html").write_text("mine")
        with pytest.raises(InputError, match="is not empty and was not made by this command"):
            OrderSuite(shards, TINY, device="cpu").run(tmp_path)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.html": "mine"}

    def test_of_two_at_once_one_is_refused(self, shards, report):
        before = times_of(report)
        with (
            output_folder(report, json.loads((report / "config.json").read_text())),
            pytest.raises(InputError, match="another run is writing here"),
        ):
            OrderSuite(shards, TINY, device="cpu").run(report)
        assert times_of(report) == before

    def test_results_say_what_they_are_of(self, shards, report):
        document = json.loads((report / "results.json").read_text())
        for name, path in (
            ("data_sha256", shards / "manifest.json"),
            ("truth_sha256", shards.parent / "truth" / "motion.csv"),
        ):
            assert document[name] == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_every_network_is_in_every_suite(self):
        assert all(preset.archs == tuple(ORDER_NETWORKS) for preset in PRESETS.values())

    def test_no_test_sequence(self, tmp_path):
        shards = write_shards(tmp_path / "shards", takes=())
        with pytest.raises(InputError, match=r"splits\.test: holds no sequence to test on"):
            OrderSuite(shards, TINY, device="cpu").run(tmp_path / "report")
        assert not (tmp_path / "report").exists()


class TestFigures:
    @pytest.mark.parametrize("arch", ["upstream", "motion"])
    def test_they_are_those_of_the_predictions(self, arch, report, scores):
        tables = [predictions_of(report, f"{arch}-n4-s{seed}") for seed in (0, 1)]
        found = [con_3(table) for table in tables]
        assert scores[f"{arch}.con@3.mean"] == pytest.approx(np.mean(found), rel=1e-5)
        assert scores[f"{arch}.con@3.least"] == pytest.approx(min(found), rel=1e-5)
        assert scores[f"{arch}.con@3.largest"] == pytest.approx(max(found), rel=1e-5)
        assert scores[f"{arch}.con@3.spread"] == pytest.approx(max(found) - min(found), rel=1e-5)
        hits = [
            100 * np.mean([np.sign(table[f"s_{k}"]) * np.sign(table[f"r_{k}"]) < 0 for k in range(3)])
            for table in tables
        ]
        assert scores[f"{arch}.hit.mean"] == pytest.approx(np.mean(hits), rel=1e-5)
        for k in range(3):
            of_pair = [100 * np.mean(np.sign(table[f"s_{k}"]) * np.sign(table[f"r_{k}"]) < 0) for table in tables]
            assert scores[f"{arch}.hit_pair_{k}.mean"] == pytest.approx(np.mean(of_pair), rel=1e-5)

    @pytest.mark.parametrize("category", ["street", "hand"])
    def test_by_category(self, category, report, scores):
        takes = [take for take, found in TAKES.items() if found == category]
        tables = [predictions_of(report, f"motion-n4-s{seed}") for seed in (0, 1)]
        found = [con_3(table[table["take"].isin(takes)]) for table in tables]
        assert scores[f"motion.con@3.{category}.mean"] == pytest.approx(np.mean(found), rel=1e-5)

    def test_by_dimension(self, report, scores):
        assert scores["motion.con@3.n1.mean"] == pytest.approx(con_3(predictions_of(report, "motion-n1-s0")), rel=1e-5)
        assert scores["motion.con@3.n4.mean"] == pytest.approx(con_3(predictions_of(report, "motion-n4-s0")), rel=1e-5)
        state = make_order_network("motion", 1, 0).state_dict()
        assert "normal" in state
        assert scores["motion.numbers.n1"] == sum(value.numel() for value in state.values())
        assert "upstream.con@3.n1.mean" not in scores

    def test_agreement_is_with_the_true_direction(self, shards, report, scores):
        truth = pd.read_csv(shards.parent / "truth" / "motion.csv", dtype={"take": str})
        found = []
        for seed in (0, 1):
            table = predictions_of(report, f"motion-n4-s{seed}").merge(truth, on=["take", "blurry_index"])
            told = np.sign(table[["s_0", "s_1", "s_2"]].sum(axis=1)) * np.sign(table["motion_x_px"])
            found.append(100 * max((told > 0).mean(), (told < 0).mean()))
        assert scores["motion.agreement.mean"] == pytest.approx(np.mean(found), rel=1e-5)
        assert 50 < scores["random.agreement.mean"] < 100
        assert scores["sequences.with_motion"] == len(TAKES) * PER_TAKE

    def test_antisymmetry_and_controls_stand_beside(self, scores):
        assert scores["motion.hit.least"] == 100
        for control in ("mean_brightness", "brightness_center", "random_projection", "normal_flow"):
            assert scores[f"{control}.hit.mean"] == 100
            assert f"{control}.hit.least" not in scores  # no seed is in them
        assert {"untrained.upstream.con@3.mean", "untrained.motion.con@3.mean"} <= scores.keys()

    def test_intervals_are_of_the_mean_over_the_seeds(self, scores):
        takes = {name: "street" if name in "abcd" else "hand" for name in "abcdef"}
        # What one seed orders the other does not: whichever takes are drawn, half of it is ordered.
        results = results_of([{"a", "b", "e"}, {"c", "d", "f"}, set(takes), set()], takes)
        low, high = over_seeds(results[:1], "network")["con@3"].interval
        assert (low, high) == (pytest.approx(0, abs=17), pytest.approx(100, abs=17))
        assert over_seeds(results[:2], "network")["con@3"].interval == (50, 50)
        assert over_seeds(results[2:], "network")["con@3"].interval == (50, 50)
        table = pd.DataFrame({"take": list(takes), "category": list(takes.values())}).assign(blurry_index=0)
        categories = by_category(results[:2], table)
        assert [n for n, _ in categories.values()] == [4, 2]
        assert categories["street"][1]["con@3"].interval == (50, 50)
        assert categories["hand"][1]["con@3"].interval is None  # two takes say nothing of how takes differ
        assert "motion.agreement.n1.interval_low" not in scores
        for name in ("motion.con@2", "motion.con@2.n1"):
            assert scores[f"{name}.interval_low"] <= scores[f"{name}.mean"] <= scores[f"{name}.interval_high"]

    def test_the_spread_is_said_beside_the_main_table(self, report, scores):
        text = (report / "report.html").read_text()
        spreads = [f"{arch} {scores[f'{arch}.con@3.spread']:.1f}" for arch in ("upstream", "motion")]
        assert f"Largest less least con@3 over the seeds, in points: {', '.join(spreads)}." in text

    def test_the_table_says_the_same(self, report, scores):
        with (report / "results.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {(row["suite"], row["stage"]) for row in rows} == {("order", "train-hypercut")}
        assert {row["metric"]: float(row["value"]) for row in rows} == scores

    def test_training_times_are_apart(self, scores):
        assert not [metric for metric in scores if "second" in metric]

    def test_neither_reading_nor_the_first_step_is_timed(self, tmp_path, monkeypatch):
        clock = iter([100, 102, 104, 107])  # at the end of each of four steps

        def train(*_, progress, **__):
            progress(9, 9, "reading train sequences")
            for step in range(1, 5):
                progress(step, 4, "training")
            progress(9, 9, "reading test sequences")

        monkeypatch.setattr(stage.train, "run", train)
        monkeypatch.setattr(stop_watch.time, "perf_counter", lambda: next(clock))
        cell = OrderCell("motion", 4, 0)
        watch = stop_watch.StopWatch(tmp_path / "times.json")
        OrderSuite(tmp_path / "shards", TINY, device="cpu").train(cell, tmp_path, watch.see)
        times = json.loads((tmp_path / "times.json").read_text())
        assert times["seconds_per_step"] == pytest.approx(7 / 3)
        assert times["seconds"] == pytest.approx(28 / 3)


class TestPoints:
    def test_both_orders_lie_on_opposite_sides_and_move_oppositely(self, shards, report):
        reader = ShardReader(shards, "test")
        motion = pd.DataFrame({"motion_x_px": [0.0, 2.0] + [3.0] * 10, "motion_y_px": [0.0, 2.0] + [0.0] * 10})
        points = map_points(report / "runs" / "motion-n4-s0" / "checkpoint.safetensors", reader, 100, motion)
        n = len(reader)
        assert points.places.shape == (n * 2 * 3, 2)
        assert np.isfinite(points.places).all()
        sides = points.sides.reshape(n, 2, 3)
        assert (sides[:, 0] == -sides[:, 1]).all()
        directions = points.directions.reshape(n, 2, 3)
        assert np.isnan(directions[0]).all()
        assert directions[1].tolist() == [[45.0] * 3, [225.0] * 3]
        predicted = predictions_of(report, "motion-n4-s0")[["s_0", "s_1", "s_2"]].to_numpy()
        assert (sides[:, 0] == np.sign(predicted)).all()

    def test_no_more_sequences_than_asked_for(self, shards, report):
        checkpoint = report / "runs" / "upstream-n4-s0" / "checkpoint.safetensors"
        assert len(map_points(checkpoint, ShardReader(shards, "test"), 4, None).places) == 4 * 2 * 3

    def test_a_network_that_knows_one_point_has_no_layout(self, shards, tmp_path):
        weights = {
            name: torch.zeros_like(value) if name != "normal" else value
            for name, value in make_order_network("motion", 4, 0).state_dict().items()
        }
        config = TrainHyperCutConfig(n_dimensions=4, image_size=SIZE)
        checkpoint = save_order_network(tmp_path / "one.safetensors", weights, config, "0" * 64)
        points = map_points(checkpoint, ShardReader(shards, "test"), 3, None)
        assert np.isnan(points.places).all()
        assert not points.sides.any()


class TestConfig:
    @pytest.mark.parametrize(
        "chosen",
        [
            {"archs": ["resnet"]},
            {"archs": []},
            {"seeds": 0},
            {"steps": 0},
        ],
    )
    def test_what_cannot_be_is_named(self, chosen):
        with pytest.raises(InputError) as caught:
            PRESETS["small"].chosen(**chosen)
        assert caught.value.key.partition(".")[0] == next(iter(chosen))

    def test_networks_are_named_once_in_one_order(self):
        assert PRESETS["small"].chosen(archs=["motion", "upstream", "motion"]).archs == ("upstream", "motion")
        assert PRESETS["full"].chosen() == PRESETS["full"]


class TestCommand:
    @pytest.fixture
    def call(self, rb2v):
        return functools.partial(rb2v, "benchmark", columns=80)

    def test_it_prints_the_main_table(self, call, shards, tmp_path):
        out = tmp_path / "report"
        options = ["order", "--arch", "motion", "--seeds", 1, "--steps", 2, "--device", "cpu"]
        places = ["--shards", shards, "--truth", shards.parent / "truth", "--out", out]
        code, printed, _ = call(*options, *places, "--workers", 1, "--no-dimensions")
        assert code == 0
        assert [path.name for path in (out / "runs").iterdir()] == ["motion-n128-s0"]
        *lines, path = printed.splitlines()
        assert path == str(out / "report.html")
        assert max(map(len, lines)) <= 80
        rows = {line.split("│")[1].strip(): line for line in lines if "│" in line}
        assert {"motion", "untrained motion", "brightness center", "random orders"} <= rows.keys()
        assert f"{read_scores(out)['motion.con@3.mean']:.1f}" in rows["motion"]

    @pytest.mark.parametrize("former", [["--suite", "order"], ["--suite=order"]])
    def test_the_former_option_is_noted(self, call, tmp_path, former):
        code, _, error = call("--shards", tmp_path / "none", *former, "--out", tmp_path / "report")
        assert code == 2
        assert "note: --suite order is now 'rb2v benchmark order'" in error
        assert str(tmp_path / "none") in error

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("order --run hypercut", "error: --run: is not an option of "),
            ("order --raw-dir raw", "error: --raw-dir: is not an option of "),
            ("order --compare a=b", "error: --compare: is not an option of "),
            ("--seeds 3", "error: --seeds: is not an option of "),
            ("data --device cpu", "error: --device: is not an option of "),
            ("--no-dimensions", "error: --no-dimensions: is not an option of "),
            ("order --arch resnet", "--arch: 'resnet' is not known; expected upstream, paper,"),
            ("order --steps 0", "--steps: "),
        ],
    )
    def test_wrong_options_end_in_one_message(self, options, message, call, shards, tmp_path):
        code, printed, error = call(*options.split(), "--shards", shards, "--out", tmp_path / "report")
        assert (code, printed) == (2, "")
        assert message in " ".join(error.split())
        assert not (tmp_path / "report").exists()
