"use strict";

const FRAME_MS = 100;      // seven frames in 0.7 s, as the command writes them
const MOST_UNDO = 20;      // maps kept, a byte a pixel each
const MIN_STROKE_PX = 4;   // of the screen; a shorter stroke has no direction

const $ = (id) => document.getElementById(id);
let facts = null;          // what /image.json says
let classes = null;        // Uint8Array, a class for each pixel
let tool = "stroke";
let stroke = null;         // { points, before } while the pointer is down
const undone = [];
let frames = [];           // object URLs of the result
let shown = 0, timer = null, proposals = 0;

function say(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

async function ask(address, options) {
  const answer = await fetch(address, options);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer;
}

function choose(name) {
  tool = name;
  for (const button of document.querySelectorAll("[data-tool]"))
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
}

function draw() {
  const context = $("paint").getContext("2d");
  const pixels = context.createImageData(facts.width, facts.height);
  for (let place = 0; place < classes.length; place++) {
    const index = classes[place];
    if (!index) continue;
    const [red, green, blue] = facts.colors[index];
    pixels.data.set([red, green, blue, 255], 4 * place);
  }
  context.putImageData(pixels, 0, 0);
}

function keep() {
  undone.push(classes.slice());
  if (undone.length > MOST_UNDO) undone.shift();
}

// The class of a direction; the same rule as rb2v.core.motion_classes.classes_of_flow.
function classOf(x, y) {
  if (x > 0 && y >= 0) return 4;
  if (x <= 0 && y > 0) return 3;
  if (x < 0 && y <= 0) return 2;
  return 1;
}

function disc(x, y, radius, index) {
  const top = Math.max(0, Math.ceil(y - radius)), bottom = Math.min(facts.height - 1, Math.floor(y + radius));
  for (let row = top; row <= bottom; row++) {
    const half = Math.sqrt(Math.max(0, radius * radius - (row - y) * (row - y)));
    const left = Math.max(0, Math.ceil(x - half)), right = Math.min(facts.width - 1, Math.floor(x + half));
    if (right >= left) classes.fill(index, row * facts.width + left, row * facts.width + right + 1);
  }
}

function line(from, to, index) {
  const radius = Number($("brush").value) / 2;
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(radius / 2, 1)));
  for (let step = 0; step <= steps; step++) {
    const share = step / steps;
    disc(from.x + share * (to.x - from.x), from.y + share * (to.y - from.y), radius, index);
  }
}

function place(event) {
  const box = $("paint").getBoundingClientRect();
  return {
    x: (event.clientX - box.left) * facts.width / box.width - 0.5,
    y: (event.clientY - box.top) * facts.height / box.height - 0.5,
    screen: box.width / facts.width,
  };
}

function begin(event) {
  if (!classes || event.button) return;
  keep();
  stroke = { points: [place(event)], before: classes.slice() };
  $("paint").setPointerCapture(event.pointerId);
  extend(event);
}

function extend(event) {
  if (!stroke) return;
  const point = place(event), points = stroke.points;
  points.push(point);
  if (tool === "stroke") {
    const first = points[0], x = point.x - first.x, y = point.y - first.y;
    if (Math.hypot(x, y) * point.screen < MIN_STROKE_PX) return;
    // The whole stroke has one direction, which is known only now.
    classes = stroke.before.slice();
    for (let index = 1; index < points.length; index++) line(points[index - 1], points[index], classOf(x, y));
  } else {
    line(points[points.length - 2], point, Number(tool));
  }
  draw();
}

function end() {
  stroke = null;
}

function undo() {
  if (!undone.length) return;
  classes = undone.pop();
  draw();
}

function fill() {
  if (tool === "stroke") { say("Choose a direction first.", true); return; }
  keep();
  classes.fill(Number(tool));
  draw();
}

async function propose() {
  try {
    const answer = await ask(`/proposal?index=${proposals++}`);
    keep();
    classes = new Uint8Array(await answer.arrayBuffer());
    draw();
    say("A plausible guidance; press again for another one.");
  } catch (error) { say(error.message, true); }
}

async function deblur() {
  $("deblur").disabled = true;
  say("deblurring …");
  try {
    const answer = await ask("/deblur", {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream", "X-Requested-With": "rb2v" },
      body: classes,
    });
    const result = await answer.json();
    const blobs = await Promise.all(Array.from({ length: facts.frames }, async (_, index) =>
      (await ask(`/frame?result=${result.number}&frame=${index}`)).blob()));
    frames.forEach((url) => URL.revokeObjectURL(url));
    frames = blobs.map((blob) => URL.createObjectURL(blob));
    URL.revokeObjectURL($("save").href);
    $("save").href = URL.createObjectURL(await (await ask(`/guidance?result=${result.number}`)).blob());
    $("save").hidden = false;
    $("waiting").hidden = true;
    $("play").disabled = $("time").disabled = false;
    show(0);
    play(true);
    const score = result.reblur_psnr === null ? "" : `; reblur PSNR ${result.reblur_psnr.toFixed(2)} dB`;
    say(`guidance ${result.guidance}${score}`);
  } catch (error) { say(error.message, true); }
  $("deblur").disabled = false;
}

function show(index) {
  shown = index;
  $("frame").src = frames[index];
  $("time").value = index;
}

function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(() => show((shown + 1) % frames.length), FRAME_MS) : null;
  $("play").textContent = on ? "Pause" : "Play";
}

async function start() {
  facts = await (await ask("/image.json")).json();
  $("facts").textContent = `${facts.name}, ${facts.width}×${facts.height} px`;
  document.body.style.setProperty("--ratio", facts.width / facts.height);
  for (const id of ["image", "paint"]) { $(id).width = facts.width; $(id).height = facts.height; }
  for (const button of document.querySelectorAll("[data-tool] .swatch"))
    button.style.background = `rgb(${facts.colors[button.parentElement.dataset.tool].join(",")})`;
  const picture = await createImageBitmap(await (await ask("/image.png")).blob());
  $("image").getContext("2d").drawImage(picture, 0, 0);
  classes = new Uint8Array(facts.width * facts.height);
  $("brush").max = Math.max(facts.width, facts.height);
  $("brush").value = Math.round(Math.min(facts.width, facts.height) / 8);
  $("brush-px").textContent = `${$("brush").value} px`;
  $("time").max = facts.frames - 1;
  $("propose").hidden = !facts.predicts;
  document.body.dataset.ready = "yes";
}

for (const button of document.querySelectorAll("[data-tool]"))
  button.addEventListener("click", () => choose(button.dataset.tool));
$("brush").addEventListener("input", () => { $("brush-px").textContent = `${$("brush").value} px`; });
$("paint").addEventListener("pointerdown", begin);
$("paint").addEventListener("pointermove", extend);
for (const kind of ["pointerup", "pointercancel"]) $("paint").addEventListener(kind, end);
$("fill").addEventListener("click", fill);
$("undo").addEventListener("click", undo);
$("propose").addEventListener("click", propose);
$("deblur").addEventListener("click", deblur);
$("play").addEventListener("click", () => play(timer === null));
$("time").addEventListener("input", () => { play(false); show(Number($("time").value)); });
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.altKey || event.metaKey || event.ctrlKey) return;
  if ("01234".includes(event.key)) choose(event.key);
  else if (event.key === "s") choose("stroke");
  else if (event.key === "u") undo();
});
start().catch((error) => say(error.message, true));
