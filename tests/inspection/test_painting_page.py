import http.client
import json
import threading

import cv2
import numpy as np
import pytest
import torch
from browser import CHROMIUM, Browser

from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.predictor.networks import make_predictor
from rb2v.deblurring.painting import Canvas, PaintingServer
from rb2v.errors import InputError

HEIGHT, WIDTH = 60, 90
OWN = {"Content-Type": "application/octet-stream", "X-Requested-With": "rb2v"}


@pytest.fixture(scope="module")
def canvas():
    image = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), dtype=np.float32)
    network = make_backbone("zhong_small", 7, 0).eval()
    network.needs_guidance = True
    with torch.no_grad():
        # So that what moves is seen to: every frame is darker by a constant.
        network.stage_2.ending.bias.fill_(-0.25)
    return Canvas("photo.png", image, network, make_predictor("categorical", 24, is_symmetric=True, seed=0).eval())


@pytest.fixture(scope="module")
def server(canvas):
    server = PaintingServer(canvas, port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(server, method, target, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def picture(server, target):
    status, body = ask(server, "GET", target)
    assert status == 200, body
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)


def test_painted_guidance_gives_frames(server, canvas):
    classes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    classes[:, :40] = 3
    status, body = ask(server, "POST", "/deblur", classes.tobytes(), OWN)
    assert status == 200
    result = json.loads(body)
    assert result["guidance"] == "left-down"
    frame = picture(server, f"/frame?result={result['number']}&frame=6")
    shown = picture(server, "/image.png")
    np.testing.assert_array_equal(frame[:, 40:], shown[:, 40:])
    assert (frame[:, :40] != shown[:, :40]).any()
    painted = picture(server, f"/guidance?result={result['number']}")
    assert painted[0, 0].tolist() == [255, 255, 0]
    assert painted[0, -1].tolist() == [0, 0, 0]


def test_proposals_are_maps_of_the_image(server):
    status, body = ask(server, "GET", "/proposal?index=1")
    assert (status, len(body)) == (200, HEIGHT * WIDTH)
    assert max(body) < 5


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "status"),
    [
        ("POST", "/deblur", b"\0" * 10, OWN, 400),
        ("POST", "/deblur", b"\7" * HEIGHT * WIDTH, OWN, 400),
        ("POST", "/deblur", b"\0" * (HEIGHT * WIDTH + 1), OWN, 400),
        ("POST", "/deblur", b"\0" * HEIGHT * WIDTH, {}, 403),
        ("POST", "/deblur", b"\0" * HEIGHT * WIDTH, {**OWN, "Host": "example.com"}, 403),
        ("POST", "/other", b"", OWN, 404),
        ("GET", "/frame?result=99&frame=0", None, {}, 404),
        ("GET", "/frame?result=x&frame=0", None, {}, 400),
        ("GET", "/../painting.py", None, {}, 404),
        ("GET", "/image.png", None, {"Host": "example.com"}, 403),
    ],
)
def test_what_is_no_request_of_the_page_is_rejected(server, method, target, body, headers, status):
    assert ask(server, method, target, body, headers)[0] == status


def test_networks_without_guidance_and_huge_images_have_no_page():
    with pytest.raises(InputError) as caught:
        Canvas("a.png", np.zeros((8, 8, 3), dtype=np.float32), make_backbone("unet", 7, 0))
    assert caught.value.key == "serve"
    network = make_backbone("zhong_small", 7, 0)
    network.needs_guidance = True
    with pytest.raises(InputError):
        Canvas("a.png", np.zeros((1, 5000, 3), dtype=np.float32), network)


def test_the_command_asks_for_one_of_both(rb2v, tmp_path):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((8, 8, 3), dtype=np.uint8))
    assert rb2v("deblur", photo).status == 2
    outcome = rb2v("deblur", photo, "--serve", "--out", tmp_path / "out.gif")
    assert outcome.status == 2
    assert "out: " in outcome.err


# --- in a browser

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; run 'apt-get install chromium'")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, server):
    browser.log.clear()
    browser.open(server.url())
    browser.wait_until("document.readyState === 'complete' && document.body.dataset.ready === 'yes'")
    yield browser
    assert browser.log == []


def counts(browser):
    found = browser.evaluate("Array.from({length: 5}, (_, k) => classes.filter((one) => one === k).length)")
    assert sum(found) == HEIGHT * WIDTH
    return found


def drag(browser, start, end):
    left, top, width, height = browser.box("#paint")
    at = [(left + width * x, top + height * y) for x, y in (start, end)]
    browser.mouse("mousePressed", *at[0])
    browser.mouse("mouseMoved", *at[1])
    browser.mouse("mouseReleased", *at[1])


@needs_browser
@pytest.mark.parametrize(
    ("end", "index"), [((0.8, 0.2), 1), ((0.2, 0.2), 2), ((0.2, 0.8), 3), ((0.8, 0.8), 4)], ids=str
)
def test_a_stroke_has_its_own_direction(page, end, index):
    drag(page, (0.5, 0.5), end)
    found = counts(page)
    assert found[index] > 0
    assert found[0] + found[index] == HEIGHT * WIDTH
    page.click("#undo")
    assert counts(page)[0] == HEIGHT * WIDTH


@needs_browser
def test_painted_directions_become_frames(page, server):
    page.press("2")
    page.click("#fill")
    assert counts(page)[2] == HEIGHT * WIDTH
    page.press("0")
    drag(page, (0.1, 0.1), (0.3, 0.1))
    assert 0 < counts(page)[0] < HEIGHT * WIDTH
    page.click("#deblur")
    page.wait_until("document.getElementById('message').textContent.startsWith('guidance left-up')")
    page.wait_until("document.getElementById('frame').naturalWidth === 90")
    page.wait_until("shown > 1")
    page.click("#play")
    assert page.evaluate("document.getElementById('play').textContent") == "Play"
    assert page.evaluate("document.getElementById('save').href").startswith("blob:")


@needs_browser
def test_a_proposal_is_drawn(page):
    page.click("#propose")
    page.wait_until("document.getElementById('message').textContent.startsWith('A plausible')")
    counts(page)
