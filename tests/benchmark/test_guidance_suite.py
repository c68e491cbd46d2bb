import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from textures import write_data_set

from rb2v.benchmark.suites.guidance import DECOMPOSERS, PRESETS, GuidanceSuite
from rb2v.benchmark.suites.guidance.guidance_measures import best_of_samples, figures_of, turning_share
from rb2v.blur2vid.backbones.base import GuidedBackbone

CONFIG = dataclasses.replace(
    PRESETS["small"],
    image_size=None,
    crop_size=16,
    batch_size=2,
    steps=2,
    predictor_steps=2,
    predictor_size=24,
    order_steps=2,
    order_size=24,
    seeds=1,
    shown_sequences=1,
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guidance_data") / "shards"
    write_data_set(folder, 4, 3, 24, n_takes=3)
    return folder


@pytest.fixture(scope="module")
def suite(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guidance_suite") / "report"
    GuidanceSuite(shards, CONFIG, device="cpu").run(folder)
    return folder


def values_of(folder):
    return {row["metric"]: row["value"] for row in json.loads((folder / "results.json").read_text())["scores"]}


class TestRun:
    def test_every_run_is_trained_and_measured(self, suite):
        runs = {path.name for path in (suite / "runs").iterdir()}
        assert runs == {f"{name}-s0" for name in (*DECOMPOSERS, "predictor-plain", "predictor-turned")} | {"order"}
        assert {path.stem for path in (suite / "measured").iterdir()} == {f"{name}-s0" for name in DECOMPOSERS}

    def test_the_table_holds_what_was_measured(self, suite):
        values = values_of(suite)
        table = pd.read_csv(suite / "measured" / "guided-s0.csv")
        assert set(table["source"]) == {"true", *(f"sample_{k}" for k in range(5))}
        true = figures_of(table[table["source"] == "true"])
        assert values["guided.true.ppsnr_seq.mean"] == pytest.approx(true["ppsnr_seq"].mean(), rel=1e-5)
        for few, many in (("p1", "p3"), ("p3", "p5")):
            assert values[f"guided.{few}.ppsnr_seq.mean"] <= values[f"guided.{many}.ppsnr_seq.mean"]
        assert values["guided.p5.separate_pssim.mean"] >= values["guided.p5.pssim_seq.mean"]
        assert values["guided.p5.above.guided.p1.ppsnr_seq"] >= 0
        assert values["blurry.amplitude.mean"] == 0
        metrics = json.loads((suite / "runs" / "label-s0" / "metrics.json").read_text())
        assert values["label.ppsnr_seq.mean"] == pytest.approx(metrics["test"]["network"]["ppsnr_seq"], rel=1e-4)

    def test_the_report_holds_the_papers_table_and_pictures(self, suite):
        page = (suite / "report.html").read_text(encoding="utf-8")
        for text in ("Table 4", "B-AIST++", "22.16", "Separate bests", "consistent within moving regions"):
            assert text in page
        assert page.count("data:image/jpeg") == 6

    def test_a_finished_suite_is_reported_again_and_not_trained(self, shards, suite):
        before = {path: path.stat().st_mtime_ns for path in (suite / "runs").rglob("*") if path.is_file()}
        GuidanceSuite(shards, CONFIG, device="cpu").run(suite)
        assert before == {path: path.stat().st_mtime_ns for path in (suite / "runs").rglob("*") if path.is_file()}


def test_the_best_sample_gives_all_figures_and_each_has_its_own_best_beside():
    rows = []
    for k, (psnr, ssim) in enumerate([(20.0, 0.9), (30.0, 0.5), (25.0, 0.7)]):
        row = {"source": f"sample_{k}", "take": "a", "blurry_index": 0, "reblur_psnr": 30.0, "amplitude": 1.0}
        for frame in range(7):
            row |= {f"psnr_forward_{frame}": psnr - 5, f"psnr_backward_{frame}": psnr}
            row |= {f"ssim_forward_{frame}": ssim, f"ssim_backward_{frame}": 0.1}
        rows.append(row)
    table = pd.DataFrame(rows)
    first, best = (best_of_samples(table, n) for n in (1, 3))
    assert (first["ppsnr_seq"][0], first["pssim_seq"][0]) == (20, pytest.approx(0.9))
    assert (best["ppsnr_seq"][0], best["pssim_seq"][0]) == (30, pytest.approx(0.5))
    assert (best["separate_psnr"][0], best["separate_ppsnr"][0]) == (25, 30)
    assert best["separate_pssim"][0] == pytest.approx(0.9)


class Shifting(GuidedBackbone):
    """Moves a texture along the guidance, or not."""

    def __init__(self, texture, follows):
        super().__init__(7)
        import torch

        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.texture, self.follows = torch.from_numpy(texture), follows

    def estimate_stages(self, blurry, guidance):
        import torch

        x = int(guidance[0, 0].sum().sign()) if self.follows else 1
        frames = [torch.roll(self.texture, x * (k - 3), dims=-1) for k in range(7)]
        return torch.stack(frames)[None, None]


@pytest.mark.parametrize(("follows", "least", "most"), [(True, 0.95, 1.0), (False, 0.0, 0.05)])
def test_motion_that_follows_guidance_turns_with_it(follows, least, most):
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).standard_normal((64, 64)), 1.5, mode="wrap")
    texture = np.repeat(((noise - noise.min()) / np.ptp(noise)).astype(np.float32)[None], 3, axis=0)
    network = Shifting(texture, follows)
    classes = np.full((64, 64), 4, dtype=np.uint8)
    blurry = np.rint(255 * texture.transpose(1, 2, 0)).astype(np.uint8)
    from rb2v.blur2vid.evaluate import estimate_frames

    frames = estimate_frames(network, blurry, None, classes)
    assert least <= turning_share(network, blurry, frames, classes) <= most
