import http.client
import json
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from browser import CHROMIUM, Browser
from small_sets import HEIGHT, WIDTH, damage, make_sample, write_set, write_takes

from rb2v.inspection import InspectionServer, difference_picture, mean_of_sharp
from rb2v.shards import ShardReader

DAMAGED = 2
NAMES = ("walk", "wave", "<b>nod</b>")


@contextmanager
def serving(reader, **options):
    server = InspectionServer(reader, port=0, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_takes(folder)
    damage(folder, "train-00000.h5", DAMAGED)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with serving(ShardReader(folder)) as server:
        yield server


def get(server, target, headers=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, target, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def get_picture(server, query):
    status, headers, body = get(server, f"/frame?{query}")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)


def test_frames_are_those_of_the_shards(server, folder):
    sample = ShardReader(folder).read(5)
    mean = mean_of_sharp(sample.sharp, "srgb")
    np.testing.assert_array_equal(get_picture(server, "sample=5&name=blurry"), sample.blurry)
    np.testing.assert_array_equal(get_picture(server, "sample=5&name=sharp_6"), sample.sharp[6])
    np.testing.assert_array_equal(get_picture(server, "sample=5&name=mean"), mean)
    np.testing.assert_array_equal(
        get_picture(server, "sample=5&name=difference&gain=16"), difference_picture(sample.blurry, mean, 16)
    )


def test_the_table_holds_every_column(server, folder):
    status, headers, body = get(server, "/table.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    document = json.loads(body)
    assert (document["size"], document["frames_per_sequence"], document["period"]) == ([WIDTH, HEIGHT], 7, 8)
    table = ShardReader(folder).table
    assert document["columns"].keys() == {"split", *table.columns}
    assert document["columns"]["split"] == ["train"] * 7 + ["test"] * 2
    assert document["columns"]["position"] == table["position"].tolist()


def test_a_psnr_that_json_does_not_know_is_null(tmp_path):
    samples = [make_sample("a", "a", "street", 0, psnr=float(value)) for value in ("inf", "nan", "31.5")]
    with serving(write_set(tmp_path, {"train": samples})) as server:
        columns = json.loads(get(server, "/table.json")[2])["columns"]
        assert columns["psnr"] == [None, None, 31.5]
        assert columns["composite_psnr"] == [None] * 3


# What a double cannot tell from its neighbors, and the last number that it can.
INDICES = (2**53 - 1, 2**53 + 1)
POSITIONS = (2**63 - 1, 3 - 2**63)


def write_far_samples(folder):
    near = [make_sample("near", "a", "street", k) for k in range(3)]
    pairs = zip(INDICES, POSITIONS, strict=True)
    far = [make_sample("far", "a", "street", index, position=position, psnr=30.0) for index, position in pairs]
    return write_set(folder, {"train": near + far})


def test_whole_numbers_that_json_readers_round_are_text(tmp_path):
    with serving(write_far_samples(tmp_path)) as server:
        columns = json.loads(get(server, "/table.json")[2])["columns"]
    assert columns["blurry_index"] == [0, 1, 2, INDICES[0], str(INDICES[1])]
    assert columns["position"] == [5, 13, 21, *map(str, POSITIONS)]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/nothing", 404),
        ("/../pyproject.toml", 404),
        ("/..%2f..%2fetc/passwd", 404),
        ("//etc/passwd", 404),
        ("/page.css/../page.py", 404),
        ("/server.py", 404),
        ("/manifest.json", 404),
        ("/train-00000.h5", 404),
        ("/frame", 400),
        ("/frame?sample=0", 404),
        ("/frame?sample=0&name=", 404),
        ("/frame?sample=0&name=color", 404),
        ("/frame?sample=0&name=sharp_7", 404),
        ("/frame?sample=0&name=sharp_-1", 404),
        ("/frame?sample=0&name=sharp_99999999999", 404),
        ("/frame?sample=0&name=../blurry", 404),
        ("/frame?sample=9&name=blurry", 404),
        ("/frame?sample=-1&name=blurry", 400),
        ("/frame?sample=1e3&name=blurry", 400),
        ("/frame?sample=%D9%A1&name=blurry", 400),
        ("/frame?sample=" + "9" * 5000 + "&name=blurry", 400),
        ("/frame?sample=0&sample=1&name=blurry", 400),
        ("/frame?sample=0&name=blurry&path=/etc/passwd", 400),
        ("/frame?sample=0&name=difference&gain=0", 400),
        ("/frame?sample=0&name=difference&gain=65", 400),
        ("/frame?sample=0&name=difference&gain=nan", 400),
        ("/frame?&&&=", 400),
        ("/frame?" + "a=b&" * 500, 400),
        ("/table.json?split=train", 400),
        ("/" + "a" * 70_000, 414),
    ],
)
def test_what_is_not_known_is_refused_in_plain_text(server, target, status):
    found, headers, body = get(server, target)
    assert found == status
    assert headers["Content-Type"].startswith("text/plain")
    assert body.strip()
    assert b"Traceback" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "<script>"])
def test_nothing_but_reading_is_answered(server, method):
    status, headers, body = get(server, "/table.json", method=method)
    assert status == 501
    assert headers["Content-Type"].startswith("text/plain")
    assert b"columns" not in body


def test_a_damaged_sample_is_told(server):
    status, headers, body = get(server, f"/frame?sample={DAMAGED}&name=mean")
    assert (status, headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
    assert b"sample 2 cannot be read" in body
    assert b"train-00000.h5" in body
    assert b"Traceback" not in body
    assert get(server, "/frame?sample=3&name=mean")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST.", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("192.168.1.7", 403),
        ("evil.example@localhost", 200),
        ("localhost@evil.example", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_only_this_machines_names_are_answered(server, host, status):
    for target in ("/", "/table.json", "/frame?sample=0&name=blurry"):
        found, headers, _ = get(server, target, {"Host": host})
        assert found == status
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("request_lines", "status"),
    [
        (b"GET /table.json HTTP/1.1", 403),
        (b"GET /table.json HTTP/1.1\r\nHost: localhost\r\nHost: localhost", 403),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost", 400),
        (b"GET /\xff?\xfe HTTP/1.1\r\nHost: localhost", 400),
    ],
)
def test_what_no_browser_sends_is_refused(server, request_lines, status):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as raw:
        raw.sendall(request_lines + b"\r\nConnection: close\r\n\r\n")
        answer = raw.makefile("rb").read()
    assert str(status).encode() in answer.split(b"\r\n")[0]
    assert b"Traceback" not in answer


def test_a_server_open_to_the_network_is_reached_by_address_and_by_no_name(folder):
    with serving(ShardReader(folder), host="0.0.0.0") as server:
        assert get(server, "/", {"Host": "192.168.1.7:8000"})[0] == 200
        assert get(server, "/", {"Host": "evil.example"})[0] == 403


def test_many_threads_get_the_right_frames(server, folder):
    reader = ShardReader(folder)
    wanted = [index for index in range(9) if index != DAMAGED] * 6
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda index: get_picture(server, f"sample={index}&name=sharp_3"), wanted))
    for index, picture in zip(wanted, pictures, strict=True):
        np.testing.assert_array_equal(picture, reader.read_sharp(index, [3])[0])


# --- in a browser

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; run 'apt-get install chromium'")

LOADED = (
    "document.getElementById('under').naturalWidth > 0 && document.querySelector('#thumbnails img').naturalWidth > 0"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, server):
    """Open the page at a state, wait until its images are there, and see to it that nothing went wrong."""

    def open_at(**state):
        browser.open(server.url(**state))
        browser.wait_until(f"document.readyState === 'complete' && {LOADED}")
        return browser

    browser.log.clear()
    yield open_at
    assert browser.log == []


def text(browser, selector):
    return browser.evaluate(f"document.querySelector('{selector}').textContent")


def hash_of(browser):
    return dict(part.split("=") for part in browser.evaluate("location.hash.slice(1)").split("&"))


def picture_shown(browser, image):
    """Return the pixels of an image of the page as the browser decoded them."""
    values = browser.evaluate(
        f"""(() => {{
          const image = document.getElementById('{image}');
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
          return [canvas.height, canvas.width, ...data];
        }})()"""
    )
    return np.array(values[2:], dtype=np.uint8).reshape(*values[:2], 4)[..., :3]


@needs_browser
@pytest.mark.parametrize("wipe", [0.25, 0.8])
def test_a_link_leads_to_a_view_without_any_hand(server, tmp_path, wipe):
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom"]
    command = [CHROMIUM, *options, f"--user-data-dir={tmp_path}", server.url(sample=4, view="wipe", wipe=wipe)]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"clip-path: inset(0px {100 * (1 - wipe):g}% 0px 0px)" in dom
    assert dom.count('src="blob:http') == 2 + 7
    assert "5 of 9" in dom
    assert "<dd>wave</dd>" in dom


@needs_browser
def test_the_wipe_shows_the_pair_and_follows_the_mouse(page, folder):
    browser = page(sample=5, wipe=0.3)
    sample = ShardReader(folder).read(5)
    np.testing.assert_array_equal(picture_shown(browser, "over"), sample.blurry)
    np.testing.assert_array_equal(picture_shown(browser, "under"), mean_of_sharp(sample.sharp, "srgb"))
    left, top, width, height = browser.box("#picture")
    assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    browser.mouse("mousePressed", left + 0.4 * width, top + 20)
    browser.mouse("mouseMoved", left + 0.75 * width, top + 30)
    browser.mouse("mouseReleased", left + 0.75 * width, top + 30)
    right = browser.evaluate("parseFloat(getComputedStyle(document.getElementById('over')).clipPath.split(' ')[1])")
    assert right == pytest.approx(25, abs=1)
    assert float(hash_of(browser)["wipe"]) == pytest.approx(0.75, abs=0.01)
    browser.mouse("mouseMoved", left + 0.1 * width, top + 30)
    assert float(hash_of(browser)["wipe"]) == pytest.approx(0.75, abs=0.01)


@needs_browser
def test_keys_leaf_through_samples_views_and_frames(page, folder):
    browser = page(sample=4)
    browser.press("ArrowRight")
    browser.wait_until("location.hash.includes('sample=5&')")
    assert text(browser, "#place") == "6 of 9"
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    browser.wait_until("location.hash.includes('sample=3&')")
    sample = ShardReader(folder).read(3)
    browser.press("4")
    assert hash_of(browser)["view"] == "sequence"
    browser.press(" ")
    assert text(browser, ".controls:not([hidden]) .play") == "Play"
    start = int(hash_of(browser)["frame"])
    step = "." if start < 6 else ","
    browser.press(step)
    frame = int(hash_of(browser)["frame"])
    assert frame == start + (1 if step == "." else -1)
    browser.wait_until(f"document.getElementById('tag-left').textContent === 'x_{frame}'")
    browser.wait_until("document.getElementById('under').complete")
    np.testing.assert_array_equal(picture_shown(browser, "under"), sample.sharp[frame])
    browser.press("3")
    assert hash_of(browser)["view"] == "difference"


@needs_browser
def test_the_sequence_plays_either_way(page):
    record = """new Promise((done) => {
      const seen = [document.getElementById('tag-left').textContent];
      new MutationObserver(() => {
        const now = document.getElementById('tag-left').textContent;
        if (now !== seen[seen.length - 1]) seen.push(now);
        if (seen.length > 14) done(seen.map((name) => Number(name.slice(2))));
      }).observe(document.getElementById('tag-left'), { childList: true, characterData: true, subtree: true });
    })"""
    steps = {
        play: np.diff(page(sample=0, view="sequence", play=play).evaluate(record))
        for play in ("forward", "reverse", "both")
    }
    assert set(steps["forward"]) == {1, -6}
    assert set(steps["reverse"]) == {-1, 6}
    assert set(steps["both"]) == {1, -1}
    browser = page(sample=0, view="sequence", play="forward")
    browser.click("[data-play=reverse]")
    assert hash_of(browser)["play"] == "reverse"


@needs_browser
def test_the_flicker_shows_both_and_stops_where_it_is_clicked(page):
    browser = page(sample=0, view="flicker")
    for hidden in ("true", "false", "true"):
        browser.wait_until(f"document.getElementById('over').hidden === {hidden}")
    browser.click("#picture")
    assert text(browser, ".controls:not([hidden]) .play") == "Play"
    before = browser.evaluate("document.getElementById('over').hidden")
    browser.click("#picture")
    assert browser.evaluate("document.getElementById('over').hidden") != before


@needs_browser
def test_the_difference_has_the_gain_of_the_link(page, folder):
    browser = page(sample=6, view="difference", gain=32)
    sample = ShardReader(folder).read(6)
    wanted = difference_picture(sample.blurry, mean_of_sharp(sample.sharp, "srgb"), 32)
    np.testing.assert_array_equal(picture_shown(browser, "under"), wanted)
    assert browser.evaluate("document.getElementById('over').hidden")


COUNT_PICTURES = """(() => {
  window.n_pictures = 0;
  const { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = (blob) => { n_pictures += 1; return createObjectURL(blob); };
  URL.revokeObjectURL = (url) => { n_pictures -= 1; revokeObjectURL(url); };
})()"""
ALL_SHOWN = (
    "[...document.querySelectorAll('#image img, #thumbnails img')].every((i) => i.complete && i.naturalWidth > 0)"
)


@needs_browser
def test_no_gain_takes_the_frames_away(page, folder):
    browser = page(sample=6, view="difference", gain=64)
    browser.evaluate(COUNT_PICTURES)
    sample = ShardReader(folder).read(6)
    mean = mean_of_sharp(sample.sharp, "srgb")
    for gain in range(1, 65):
        before = browser.evaluate("document.getElementById('under').src")
        browser.evaluate(
            f"document.getElementById('gain').value = {gain}; "
            "document.getElementById('gain').dispatchEvent(new Event('input'))"
        )
        browser.wait_until(f"document.getElementById('under').src !== '{before}' && {ALL_SHOWN}")
    np.testing.assert_array_equal(picture_shown(browser, "under"), difference_picture(sample.blurry, mean, 64))
    assert browser.evaluate("n_pictures") < 16
    browser.press("1")
    browser.wait_until(ALL_SHOWN)
    np.testing.assert_array_equal(picture_shown(browser, "under"), mean)
    browser.press("4")
    browser.press(" ")
    for k in range(7):
        browser.click(f"#thumbnails button:nth-child({k + 1})")
        browser.wait_until(ALL_SHOWN)
        np.testing.assert_array_equal(picture_shown(browser, "under"), sample.sharp[k])


@needs_browser
def test_more_sharp_frames_than_are_kept_are_all_shown(browser, tmp_path):
    samples = [make_sample("a", "a", "street", index, n_sharp=90, size=(16, 24)) for index in range(6)]
    reader = write_set(tmp_path, {"train": samples}, size=(16, 24))
    browser.log.clear()
    with serving(reader) as server:
        browser.open(server.url(sample=0, view="sequence", frame=0))
        browser.wait_until(f"document.readyState === 'complete' && {LOADED}")
        browser.evaluate(COUNT_PICTURES)
        for index, key in enumerate([None, *5 * ["ArrowRight"], "ArrowLeft"]):
            if key is not None:
                before = browser.evaluate("document.querySelector('#thumbnails button:last-child img').src")
                browser.press(key)
                browser.wait_until(f"document.querySelector('#thumbnails button:last-child img').src !== '{before}'")
            browser.wait_until(ALL_SHOWN)
            sample = reader.read(min(index, 4 if index == 6 else 5))
            np.testing.assert_array_equal(picture_shown(browser, "under"), sample.sharp[0])
        for k in (0, 45, 89):
            browser.click(f"#thumbnails button:nth-child({k + 1})")
            browser.wait_until(ALL_SHOWN)
            np.testing.assert_array_equal(picture_shown(browser, "under"), sample.sharp[k])
        assert browser.evaluate("n_pictures") < 3 * 92
        browser.open("about:blank")
    assert browser.log == []


@needs_browser
def test_filters_and_sort_choose_what_the_arrows_meet(page):
    browser = page(sample=0, view="wipe")
    assert browser.evaluate("[...document.getElementById('take').options].map((option) => option.value)") == [
        "",
        *sorted(NAMES),
    ]
    choose = (
        "document.getElementById('{}').value = '{}'; document.getElementById('{}').dispatchEvent(new Event('change'))"
    )
    browser.evaluate(choose.format("category", "hand", "category"))
    browser.wait_until("document.getElementById('place').textContent === '1 of 3'")
    assert hash_of(browser)["sample"] == "4"
    browser.evaluate(choose.format("sort", "psnr-down", "sort"))
    assert text(browser, "#place") == "3 of 3"
    browser.click("#previous")
    browser.wait_until("location.hash.includes('sample=5&')")
    browser.evaluate(choose.format("split", "test", "split"))
    browser.wait_until("!document.getElementById('error').hidden")
    assert text(browser, "#error") == "no sample passes the filters"
    assert not browser.evaluate("document.getElementById('under').hasAttribute('src')")


@needs_browser
def test_the_worst_composites_come_first_where_they_are_asked_for(tmp_path, browser):
    values = (float("nan"), 44.0, 38.5)
    samples = [make_sample("a", "a", "hand", index, composite_psnr=value) for index, value in enumerate(values)]
    write_set(tmp_path, {"train": samples})
    with serving(ShardReader(tmp_path)) as server:
        browser.open(server.url(sort="composite-up"))
        browser.wait_until(f"document.readyState === 'complete' && {LOADED}")
        shown = "[...document.querySelectorAll('dd')].map((dd) => dd.textContent)"
        for sample, value in (("2", "38.50 dB"), ("1", "44.00 dB"), ("0", None)):
            browser.wait_until(f"{shown}[0] === '{sample}'")
            terms = browser.evaluate("[...document.querySelectorAll('dt')].map((dt) => dt.textContent)")
            found = dict(zip(terms, browser.evaluate(shown), strict=True))
            assert found.get("composite psnr") == value
            browser.click("#next")


@needs_browser
def test_a_take_named_like_markup_is_text(page):
    browser = page(sample=7)
    assert browser.evaluate("[...document.querySelectorAll('dd')].some((dd) => dd.textContent === '<b>nod</b>')")
    assert browser.evaluate("document.querySelectorAll('dd b, option b').length") == 0


@needs_browser
def test_large_numbers_are_shown_to_the_last_digit(browser, tmp_path):
    with serving(write_far_samples(tmp_path)) as server:
        for sample, index, position in zip((3, 4), INDICES, POSITIONS, strict=True):
            browser.open(server.url(sample=sample))
            browser.wait_until(f"document.readyState === 'complete' && {LOADED}")
            values = browser.evaluate("[...document.querySelectorAll('#columns dd')].map((dd) => dd.textContent)")
            assert {str(index), str(position), f"{position % 8} (position mod 8)"} <= set(values)
        browser.open("about:blank")


@needs_browser
@pytest.mark.parametrize(("sample", "message"), [(DAMAGED, "sample 2 cannot be read"), (99, "there is no sample 99")])
def test_what_cannot_be_shown_says_why_and_the_next_is_shown(browser, server, sample, message):
    browser.open(server.url(sample=sample))
    browser.wait_until("document.readyState === 'complete' && !document.getElementById('error').hidden")
    assert message in text(browser, "#error")
    browser.press("ArrowRight")
    browser.wait_until(f"document.getElementById('error').hidden && {LOADED}")
    assert hash_of(browser)["sample"] == ("3" if sample == DAMAGED else "0")


@needs_browser
def test_no_frame_of_another_sample_stays_beside_an_error(browser, server):
    browser.open(server.url(sample=DAMAGED - 1))
    browser.wait_until(f"document.readyState === 'complete' && {LOADED}")
    browser.press("ArrowRight")
    browser.wait_until("!document.getElementById('error').hidden")
    assert browser.evaluate("document.querySelectorAll('img[src]').length") == 0


@needs_browser
def test_a_window_as_narrow_as_a_telephone_shows_everything(page):
    browser = page(sample=0)
    try:
        browser.send("Emulation.setDeviceMetricsOverride", width=380, height=760, deviceScaleFactor=1, mobile=True)
        browser.wait_until("innerWidth === 380")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 380
        left, _, width, _ = browser.box("#picture")
        assert left >= 0
        assert left + width <= 380
        assert width > 300
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")
