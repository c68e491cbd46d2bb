"use strict";

const VIEWS = ["wipe", "flicker", "difference", "sequence"];
const PLAYS = ["reverse", "both", "forward"];
const FILTERS = ["split", "category", "take"];
const SORTS = { "psnr-up": ["psnr", 1], "psnr-down": ["psnr", -1], "composite-up": ["composite_psnr", 1] };
const STEP_MS = 100; // the fine track's 200 frames per second, slowed 20 times
const FLICKER_MS = 500;
const MOST_FRAMES = 64; // kept in memory, apart from those of the sample shown
const MOST_DIFFERENCES = 8;

const at = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

let table = null;
let shown = []; // samples that pass the filters, in the order of the sort
const state = { sample: null, view: "wipe", wipe: 0.5, gain: 4, frame: 0, play: "both", split: "", category: "", take: "", sort: "" };
let playing = !calm;
let stepping = 1; // direction that back-and-forth goes in now
let flickered = false; // whether the flicker shows the mean
let request = 0; // of what is on the way, the last is wanted

// --- the state in the address

function readHash() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const number = (name, low, high, fallback) => {
    const text = fields.get(name);
    const value = text === null || text === "" ? NaN : Number(text);
    return Number.isFinite(value) ? Math.min(Math.max(value, low), high) : fallback;
  };
  const word = (name, words, fallback) => (words.includes(fields.get(name)) ? fields.get(name) : fallback);
  state.view = word("view", VIEWS, "wipe");
  state.wipe = number("wipe", 0, 1, 0.5);
  state.gain = Math.round(number("gain", 1, table.max_gain, 4));
  state.play = word("play", PLAYS, "both");
  state.sort = word("sort", Object.keys(SORTS), "");
  for (const name of FILTERS) state[name] = word(name, table.columns[name], "");
  playing = !calm && !fields.has("frame");
  state.frame = Math.round(number("frame", 0, table.frames_per_sequence - 1, 0));
  filter();
  const sample = Math.round(number("sample", 0, 999999999, -1));
  state.sample = sample >= 0 ? sample : shown.length ? shown[0] : null;
}

function writeHash() {
  const fields = new URLSearchParams();
  if (state.sample !== null) fields.set("sample", state.sample);
  fields.set("view", state.view);
  if (state.view === "wipe") fields.set("wipe", state.wipe.toFixed(2).replace(/\.?0+$/, "") || "0");
  if (state.view === "difference") fields.set("gain", state.gain);
  if (state.view === "sequence" && state.play !== "both") fields.set("play", state.play);
  if (state.view === "sequence" && !playing) fields.set("frame", state.frame);
  for (const name of [...FILTERS, "sort"]) if (state[name]) fields.set(name, state[name]);
  history.replaceState(null, "", `#${fields}`);
}

// --- which samples

function filter() {
  const columns = table.columns;
  shown = columns.split.map((_, index) => index);
  for (const name of FILTERS) if (state[name]) shown = shown.filter((index) => columns[name][index] === state[name]);
  if (state.sort) {
    const [name, sign] = SORTS[state.sort];
    const key = (index) => columns[name][index] ?? sign * Infinity;
    shown.sort((a, b) => (key(a) === key(b) ? a - b : sign * (key(a) - key(b))));
  }
}

function go(step) {
  const place = shown.indexOf(state.sample);
  const next = place < 0 ? 0 : place + step;
  if (shown.length && next >= 0 && next < shown.length) showSample(shown[next]);
}

// --- frames

const samples = new Map(); // sample -> name of a frame -> promise of a blob's address
const differences = new Map(); // sample and gain -> promise of a blob's address

function keep(kept, key, value) {
  kept.delete(key); // the last used stands last
  kept.set(key, value);
}

function release(frame) {
  frame.then(URL.revokeObjectURL, () => {});
}

function fetchFrame(kept, key, fields) {
  const frame =
    kept.get(key) ??
    fetch(`/frame?${new URLSearchParams(fields)}`).then(async (answer) => {
      if (!answer.ok) throw new Error((await answer.text()).trim());
      return URL.createObjectURL(await answer.blob());
    });
  if (!kept.has(key)) frame.catch(() => kept.get(key) === frame && kept.delete(key));
  keep(kept, key, frame);
  return frame;
}

function load(sample, name) {
  keep(samples, sample, samples.get(sample) ?? new Map());
  const frame = fetchFrame(samples.get(sample), name, { sample, name });
  // What is on the screen, and what is about to be, stays, however many frames that are.
  const needed = [sample, state.sample, frames?.sample];
  let rest = -MOST_FRAMES;
  for (const [other, own] of samples) if (!needed.includes(other)) rest += own.size;
  for (const [other, own] of samples) {
    if (rest <= 0) break;
    if (needed.includes(other)) continue;
    samples.delete(other);
    own.forEach(release);
    rest -= own.size;
  }
  return frame;
}

function loadDifference(sample, gain) {
  const frame = fetchFrame(differences, `${sample} ${gain}`, { sample, name: "difference", gain });
  // Of many that are on the way, the last asked for is the one that will be shown.
  if (differences.size > MOST_DIFFERENCES) {
    const [oldest, unused] = differences.entries().next().value;
    differences.delete(oldest);
    release(unused);
  }
  return frame;
}

function place(image, url) {
  if (image.getAttribute("src") !== url) image.src = url;
}

function fail(error) {
  const text = error instanceof TypeError ? "the server does not answer; is rb2v inspect still running?" : error.message;
  at("error").textContent = text;
  at("error").hidden = false;
}

let frames = null; // the sample shown, and the addresses of its frames: blurry, mean, and all sharp ones

function forget() {
  frames = null;
  for (const image of document.querySelectorAll("#picture img, #thumbnails img")) image.removeAttribute("src");
}

async function showSample(sample) {
  const mine = ++request;
  state.sample = sample;
  describe();
  writeHash();
  if (sample === null) {
    forget();
    fail(new Error("no sample passes the filters"));
    return;
  }
  try {
    const [blurry, mean] = await Promise.all([load(sample, "blurry"), load(sample, "mean")]);
    const names = Array.from({ length: table.frames_per_sequence }, (_, k) => `sharp_${k}`);
    const sharp = await Promise.all(names.map((name) => load(sample, name)));
    if (mine !== request) return;
    frames = { sample, blurry, mean, sharp };
    at("error").hidden = true;
    [...at("thumbnails").children].forEach((button, k) => place(button.firstChild, sharp[k]));
    await draw();
  } catch (error) {
    if (mine === request) {
      forget();
      fail(error);
    }
    return;
  }
  const next = shown[shown.indexOf(sample) + 1];
  if (mine === request && next !== undefined) {
    for (const name of ["blurry", "mean"]) load(next, name).catch(() => {});
  }
}

function describe() {
  const { sample } = state;
  const columns = table.columns;
  const place = shown.indexOf(sample);
  at("place").textContent = place < 0 ? `${shown.length} samples` : `${place + 1} of ${shown.length}`;
  at("previous").disabled = place === 0 || !shown.length;
  at("next").disabled = place === shown.length - 1 || !shown.length;
  const rows = [["sample", sample ?? "none"]];
  if (sample !== null && sample < columns.split.length) {
    for (const name of ["split", "category", "take", "subject", "blurry_index", "position"]) rows.push([name, columns[name][sample]]);
    if (table.period) {
      const [position, period] = [BigInt(columns.position[sample]), BigInt(table.period)];
      const phase = ((position % period) + period) % period;
      rows.push(["phase", `${phase} (position mod ${table.period})`]);
    }
    const psnr = columns.psnr[sample];
    rows.push(["psnr", psnr === null ? "not finite" : `${psnr.toFixed(2)} dB`]);
    const composite = columns.composite_psnr[sample];
    if (composite !== null) rows.push(["composite psnr", `${composite.toFixed(2)} dB`]);
    rows.push(["order", { 1: "+1 keep", "-1": "−1 reverse", 0: "not assigned" }[columns.order[sample]]]);
    rows.push(["shard", `${columns.shard[sample]}, row ${columns.row[sample]}`]);
  }
  at("columns").replaceChildren(
    ...rows.flatMap(([name, value]) => {
      const [term, text] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name.replace("_", " ");
      text.textContent = value;
      return [term, text];
    }),
  );
  document.title = sample === null ? "rb2v inspect" : `sample ${sample} · rb2v inspect`;
}

// --- the picture

async function draw() {
  const { view } = state;
  const [under, over] = [at("under"), at("over")];
  for (const button of at("views").children) button.setAttribute("aria-pressed", button.dataset.view === view);
  for (const button of at("directions").children) button.setAttribute("aria-pressed", button.dataset.play === state.play);
  for (const controls of document.querySelectorAll(".controls")) controls.hidden = controls.dataset.for !== view;
  for (const button of document.querySelectorAll(".play")) button.textContent = playing ? "Pause" : "Play";
  at("picture").dataset.view = view;
  at("handle").hidden = view !== "wipe";
  at("handle").style.left = `${100 * state.wipe}%`;
  at("wipe").value = state.wipe;
  at("gain").value = state.gain;
  at("gain-value").value = `${state.gain}×`;
  at("frame").value = state.frame;
  at("frame-value").value = `x_${state.frame}`;
  [...at("thumbnails").children].forEach((button, k) => button.setAttribute("aria-current", view === "sequence" && k === state.frame));
  over.hidden = view !== "wipe" && !(view === "flicker" && !flickered);
  over.style.clipPath = view === "wipe" ? `inset(0 ${100 * (1 - state.wipe)}% 0 0)` : "none";
  const left = { wipe: "blurry", flicker: flickered ? "mean of sharp" : "blurry", difference: "blurry − mean of sharp, gray where equal", sequence: `x_${state.frame}` };
  at("tag-left").textContent = left[view];
  at("tag-right").textContent = view === "wipe" ? "mean of sharp" : "";
  if (!frames) return;
  place(over, frames.blurry);
  if (view !== "difference") {
    place(under, view === "sequence" ? frames.sharp[state.frame] : frames.mean);
    return;
  }
  const mine = request;
  const { sample, gain } = state;
  try {
    const url = await loadDifference(sample, gain);
    if (mine === request && state.view === view && state.gain === gain) place(under, url);
  } catch (error) {
    if (mine === request) fail(error);
  }
}

function change(values) {
  Object.assign(state, values);
  writeHash();
  draw();
}

function show(view) {
  flickered = false;
  playing = !calm;
  change({ view });
}

function hold(values) {
  playing = false;
  change(values);
}

function toggle() {
  if (state.view !== "sequence" && state.view !== "flicker") return;
  playing = !playing;
  change({});
}

function stepFrame(step) {
  const last = table.frames_per_sequence - 1;
  hold({ view: "sequence", frame: Math.min(Math.max(state.frame + step, 0), last) });
}

function tick() {
  if (!playing || state.view !== "sequence") return;
  const n = table.frames_per_sequence;
  if (state.play === "both") {
    if (state.frame >= n - 1) stepping = -1;
    if (state.frame <= 0) stepping = 1;
    state.frame += stepping;
  } else {
    state.frame = (state.frame + (state.play === "forward" ? 1 : n - 1)) % n;
  }
  draw();
}

function flicker() {
  if (!playing || state.view !== "flicker") return;
  flickered = !flickered;
  draw();
}

// --- what the user does

function listen() {
  for (const name of [...FILTERS, "sort"]) {
    at(name).addEventListener("change", () => {
      state[name] = at(name).value;
      at(name).blur(); // so that the arrow keys leaf through samples again
      filter();
      showSample(shown.includes(state.sample) ? state.sample : shown.length ? shown[0] : null);
    });
  }
  at("previous").addEventListener("click", () => go(-1));
  at("next").addEventListener("click", () => go(1));
  at("views").addEventListener("click", (event) => event.target.dataset.view && show(event.target.dataset.view));
  for (const button of document.querySelectorAll(".play")) button.addEventListener("click", toggle);
  at("directions").addEventListener("click", (event) => {
    if (!event.target.dataset.play) return;
    playing = true;
    change({ play: event.target.dataset.play });
  });
  at("wipe").addEventListener("input", () => change({ wipe: Number(at("wipe").value) }));
  at("gain").addEventListener("input", () => change({ gain: Number(at("gain").value) }));
  at("frame").addEventListener("input", () => hold({ frame: Number(at("frame").value) }));
  for (const id of ["wipe", "gain", "frame"]) at(id).addEventListener("pointerup", () => at(id).blur());

  const picture = at("picture");
  const wipeTo = (event) => {
    const box = picture.getBoundingClientRect();
    change({ wipe: Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) });
  };
  picture.addEventListener("pointerdown", (event) => {
    if (state.view === "wipe" && event.button === 0) {
      picture.setPointerCapture(event.pointerId);
      wipeTo(event);
    } else if (state.view === "flicker") {
      flickered = !flickered;
      hold({});
    }
  });
  picture.addEventListener("pointermove", (event) => picture.hasPointerCapture(event.pointerId) && wipeTo(event));

  addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input")) return;
    const actions = {
      ArrowLeft: () => go(-1),
      ArrowRight: () => go(1),
      " ": toggle,
      ",": () => stepFrame(-1),
      ".": () => stepFrame(1),
    };
    VIEWS.forEach((view, index) => (actions[index + 1] = () => show(view)));
    // Space on a button presses the button.
    if (!actions[event.key] || (event.key === " " && target.matches("button"))) return;
    event.preventDefault();
    actions[event.key]();
  });
  addEventListener("hashchange", open);
}

function open() {
  readHash();
  for (const name of [...FILTERS, "sort"]) at(name).value = state[name];
  draw();
  showSample(state.sample);
}

async function start() {
  const answer = await fetch("/table.json");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  table = await answer.json();
  const columns = table.columns;
  const [width, height] = table.size;
  at("facts").textContent = `${table.rig} · ${columns.split.length} samples of ${width}×${height} · rb2v ${table.version}`;
  at("stage").style.setProperty("--ratio", width / height);
  for (const name of FILTERS) {
    for (const value of [...new Set(columns[name])].sort()) at(name).append(new Option(value, value));
  }
  for (let k = 0; k < table.frames_per_sequence; k++) {
    const button = document.createElement("button");
    button.type = "button";
    const image = document.createElement("img");
    image.alt = "";
    button.append(image, `x_${k}`);
    button.addEventListener("click", () => hold({ view: "sequence", frame: k }));
    at("thumbnails").append(button);
  }
  at("gain").max = table.max_gain;
  at("frame").max = table.frames_per_sequence - 1;
  listen();
  open();
  setInterval(tick, STEP_MS);
  setInterval(flicker, FLICKER_MS);
}

start().catch(fail);
