import csv
import html
import json

import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from rb2v.benchmark.suites.interpolation import InterpolationSuite, InterpolationSuiteConfig, find_triplets
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.models import CATALOGUE

METHODS = ("linear", "quick-flow")


def write_triplet(folder, picture, step, names=("frame_00.png", "frame_01_gt.png", "frame_02.png"), size=(64, 48)):
    folder.mkdir(parents=True)
    for index, name in enumerate(names):
        shift = np.array([[1, 0, -100 - step * index], [0, 1, -90]], dtype=np.float64)
        cv2.imwrite(str(folder / name), cv2.warpAffine(picture, shift, size, flags=cv2.INTER_CUBIC))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triplets")
    picture = cv2.GaussianBlur(skimage_data.astronaut(), (0, 0), 1.0)
    write_triplet(folder / "ucf101_dvf" / "1", picture, 1)
    write_triplet(folder / "ucf101_dvf" / "2", picture, 3)
    names = ("frame10.png", "frame10i11.png", "frame11.png")
    write_triplet(folder / "other" / "Coffee", skimage_data.coffee(), 2, names, (65, 51))
    return folder


@pytest.fixture(scope="module")
def suite(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("interpolation_suite") / "report"
    InterpolationSuite(data, InterpolationSuiteConfig(METHODS, shown_triplets=1)).run(folder)
    return folder


def rows_of(folder):
    return json.loads((folder / "results.json").read_text())["table"]


def test_triplets_are_found_by_set_and_name(data):
    found = [(one.set_name, one.name) for one in find_triplets(data)]
    assert found == [("other", "Coffee"), ("ucf101_dvf", "1"), ("ucf101_dvf", "2")]
    first, truth, last = find_triplets(data)[0].paths
    assert (first.name, truth.name, last.name) == ("frame10.png", "frame10i11.png", "frame11.png")
    (alone,) = find_triplets(data / "other" / "Coffee")
    assert alone.name == "Coffee"


def test_flow_is_nearer_the_truth_than_blending(suite):
    quality = {(row["set"], row["method"]): row["psnr"] for row in rows_of(suite)}
    for name in ("other", "ucf101_dvf"):
        assert quality[name, "quick-flow"] > quality[name, "linear"] + 3


def test_figures_are_the_means_of_the_triplets(suite):
    with (suite / "measured" / "linear.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["set_name"], row["triplet"]) for row in rows] == [
        ("other", "Coffee"),
        ("ucf101_dvf", "1"),
        ("ucf101_dvf", "2"),
    ]
    mean = np.mean([float(row["psnr_db"]) for row in rows[1:]])
    (told,) = [row for row in rows_of(suite) if (row["set"], row["method"]) == ("ucf101_dvf", "linear")]
    assert told["psnr"] == pytest.approx(mean)
    assert told["passed"] is None  # two triplets are not the set that targets are for


def test_the_report_shows_methods_and_what_is_published(suite):
    page = (suite / "report.html").read_text()
    assert "CDFI, published, on all 379 triplets of the set" in page
    assert "quick-flow: error" in page
    assert page.count("data:image/jpeg") == 2 * 2 * 3  # two sets, two rows, the truth and two methods


def test_a_stopped_suite_goes_on(data, suite, tmp_path):
    out = tmp_path / "report"
    config = InterpolationSuiteConfig(("linear",), shown_triplets=0)
    InterpolationSuite(data, config).run(out)
    path = out / "measured" / "linear.csv"
    lines = path.read_text().splitlines()
    marked = lines[1].split(",")
    marked[2] = "12.5"
    path.write_text("\n".join([lines[0], ",".join(marked)]) + "\n")
    InterpolationSuite(data, config).run(out)
    kept = path.read_text().splitlines()
    assert len(kept) == len(lines)
    assert kept[1] == ",".join(marked)
    path.write_text("set_name\nother\n")
    with pytest.raises(InputError, match=r"linear\.csv: is not a table of measurements"):
        InterpolationSuite(data, config).run(out)


def test_a_report_of_other_triplets_is_refused(data, suite, tmp_path):
    write_triplet(tmp_path / "more", skimage_data.coffee(), 1)
    with pytest.raises(ConfigMismatchError, match="data_sha256"):
        InterpolationSuite(tmp_path, InterpolationSuiteConfig(METHODS)).run(suite)


def test_methods_without_weights_are_listed(data, tmp_path, monkeypatch):
    monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "empty"))
    out = tmp_path / "report"
    InterpolationSuite(data, InterpolationSuiteConfig(("linear", "rife"), shown_triplets=0)).run(out)
    page = (out / "report.html").read_text()
    assert "rife: no weights" in page
    assert CATALOGUE["rife"].license in html.unescape(page)
    with pytest.raises(InputError, match=r"method: none has its weights; expected .*rb2v models fetch rife"):
        InterpolationSuite(data, InterpolationSuiteConfig(("rife",))).run(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ((), "holds no triplet"),
        (("a.png", "b.png"), "holds 2 images"),
        (("a.png", "b.png", "c.png", "d.png"), "holds 4 images"),
    ],
)
def test_folders_that_are_no_triplets_are_named(tmp_path, names, problem):
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(InputError, match=f"{problem}; expected folders of three images"):
        find_triplets(tmp_path)


def test_pictures_that_do_not_fit_are_named(tmp_path):
    for name, side in (("a.png", 20), ("b.png", 20), ("c.png", 24)):
        cv2.imwrite(str(tmp_path / name), np.zeros((side, 20, 3), np.uint8))
    with pytest.raises(InputError, match=r"c\.png: is 20x24 px; expected 20x20, as a\.png is"):
        InterpolationSuite(tmp_path, InterpolationSuiteConfig(("linear",))).run(tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_unknown_methods_are_refused():
    for methods, key in ((("cubic",), "methods.0"), ((), "methods")):
        with pytest.raises(InputError) as caught:
            InterpolationSuiteConfig(methods)
        assert caught.value.key == key


class TestCommand:
    SUITE = ("benchmark", "interpolation")

    def test_prints_the_table(self, rb2v, data, tmp_path):
        made = rb2v(*self.SUITE, "--data", data, "--out", tmp_path / "report", "--method", "linear")
        assert made.status == 0, made.output
        assert "half-way between two frames" in made.output
        assert (tmp_path / "report" / "results.csv").is_file()

    def test_wrong_options_are_refused(self, rb2v, data, tmp_path):
        for arguments, words in (
            (["--out", tmp_path / "a"], "--data"),
            (["--data", data, "--shards", data, "--out", tmp_path / "a"], "--shards"),
            (["--data", data, "--weights", data, "--out", tmp_path / "a"], "weights: are given for several methods"),
        ):
            made = rb2v(*self.SUITE, *arguments)
            assert made.status == 2
            assert words in made.err
        assert "--shards" in rb2v("benchmark", "--out", tmp_path / "a").err
        assert not (tmp_path / "a").exists()
