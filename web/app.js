/** The page: where sound comes from, and how answers are shown. The work is done in `worker.js`. */

import { Picture, clock } from "./picture.js";

const MODEL = new URL("model.onnx", document.baseURI).href;
const BARS = 8;
const MOST_EVENTS = 500; // rows of the table; the CSV has all
const NOT_SURE = "This is unlike all that the model was trained with.";
const NO_EVENT = "None above its threshold.";
const NO_SURE_EVENT = "None: the model is not sure about this recording.";

const at = (id) => document.getElementById(id);

let picture;
let worker;
let spec;
let state = fresh();

function fresh() {
  return { name: "", isLive: false, isBusy: false, windows: [], scenes: [], events: [], result: null };
}

/** Say what the page needs and this browser lacks; nothing if it has everything. */
function missing() {
  const needed = {
    WebAssembly: "WebAssembly" in window,
    "module workers": "Worker" in window && "noModule" in HTMLScriptElement.prototype,
    OffscreenCanvas: "OffscreenCanvas" in window,
    DecompressionStream: "DecompressionStream" in window,
  };
  return Object.keys(needed).filter((feature) => !needed[feature]);
}

/** Say why the microphone cannot be used, or nothing. */
function noMicrophone() {
  if (!window.isSecureContext) {
    return "Browsers give the microphone to https pages and to localhost alone; open this page at localhost.";
  }
  const has = navigator.mediaDevices?.getUserMedia && "AudioWorkletNode" in window;
  return has ? "" : "This browser has no way to the microphone (getUserMedia and AudioWorklet).";
}

function start() {
  const lacking = missing();
  if (lacking.length) {
    at("status").textContent = "";
    problem(`This browser lacks ${lacking.join(", ")}, which this page needs. Use a newer one.`);
    return;
  }
  picture = new Picture(at("canvas"));
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => handlers[data.kind](data);
  worker.onerror = (event) => problem(event.message || "The worker of this page could not be loaded.");
  worker.postMessage({ kind: "load", model: MODEL });
}

const handlers = {
  ready({ spec: described, threads }) {
    spec = described;
    at("file").disabled = false;
    const reason = noMicrophone();
    at("microphone").disabled = Boolean(reason);
    at("microphone").title = reason;
    const counts = [
      [spec.scenes, "places"],
      [spec.tags, "sounds"],
      [spec.events, "events"],
    ];
    const labels = counts.filter(([of]) => of.length).map(([of, word]) => `${of.length} ${word}`);
    at("about").textContent =
      `DcaseNet ${spec.name}, stage ${spec.stage}: ${labels.join(", ")}. ` +
      `Weights: ${spec.license ?? spec.licence}. ` +
      `Runs on ${threads} thread${threads === 1 ? "" : "s"}.${reason ? ` ${reason}` : ""}`;
    say("Ready.");
  },

  began({ duration, column }) {
    picture.begin(duration, column);
    at("results").hidden = false;
    at("none").hidden = true;
    at("save").hidden = true;
    at("progress").hidden = duration === null;
    at("caption").textContent = "";
    show();
  },

  progress(news) {
    take(news);
    if (state.isLive) say(`Listening: ${clock(news.seconds)}`);
    else {
      const { duration } = picture;
      at("progress").value = duration ? Math.min(1, news.seconds / duration) : 0;
      say(`${state.name}: ${clock(news.seconds)} of ${clock(duration)}`);
    }
    show(news.preview);
  },

  done(news) {
    take(news);
    state.result = news.result;
    state.events = news.result.events;
    if (!state.isLive) picture.duration = news.result.duration;
    idle();
    say(`${state.name}: ${clock(news.result.duration, 0.1)}, done.`);
    at("none").hidden = state.events.length > 0;
    at("none").textContent = news.result.isSure ? NO_EVENT : NO_SURE_EVENT;
    at("save").hidden = state.events.length === 0;
    at("caption").textContent = state.isLive ? "" : "Click the picture or an event to play from there.";
    show();
  },

  async decode({ file, rate }) {
    try {
      // At the model's rate, the browser resamples as it decodes.
      const context = new OfflineAudioContext(1, 1, rate);
      const buffer = await context.decodeAudioData(await file.arrayBuffer());
      const samples = new Float32Array(buffer.length);
      for (let c = 0; c < buffer.numberOfChannels; c++) {
        buffer.getChannelData(c).forEach((value, i) => (samples[i] += value / buffer.numberOfChannels));
      }
      worker.postMessage({ kind: "decoded", rate, samples }, [samples.buffer]);
    } catch ({ message }) {
      worker.postMessage({ kind: "decoded", message });
    }
  },

  failed({ message }) {
    problem(message);
    idle();
    say(spec ? "Ready." : "");
  },
};

function take({ seconds, columns, tag, scene, events }) {
  picture.add(columns, seconds);
  state.windows.push(...tag);
  state.scenes.push(...scene);
  state.events.push(...events);
}

/** Show what is known: of the moment that plays, of the microphone's last seconds, or of it all. */
function show(preview = null) {
  const early = (preview?.events ?? []).map((event) => ({
    ...event,
    isEarly: true,
    isUnderWay: event.offset >= preview.duration - 1e-6,
  }));
  const moment = preview ? [preview.duration - 0.1, "Now"] : playing();
  const whole = state.result;
  if (preview) answer("Now", preview);
  else if (moment) {
    const [scene, tag] = [state.scenes, state.windows].map((windows) => windowAt(windows, moment[0]));
    answer(moment[1], joined(scene, tag));
  } else if (whole) answer("Whole recording", whole);
  else answer("So far", joined(state.scenes.at(-1), state.windows.at(-1)));
  picture.events = [...state.events, ...early];
  picture.draw();
  table(state.events, early);
}

function playing() {
  const player = at("player");
  if (player.hidden || player.paused) return null;
  return [player.currentTime, `At ${clock(player.currentTime, 0.1)}`];
}

/** The window whose middle is nearest to a moment. */
function windowAt(windows, seconds) {
  const distance = ({ onset, offset }) => Math.abs((onset + offset) / 2 - seconds);
  return windows.reduce(
    (best, window) => (best && distance(best) <= distance(window) ? best : window),
    undefined,
  );
}

/** Put the windows of the place and the sounds together into an answer. */
function joined(scene, tag) {
  return {
    scene: scene?.values,
    tag: tag?.values,
    isSure: (scene?.isSure ?? true) && (tag?.isSure ?? true),
  };
}

function answer(when, { scene, tag, isSure }) {
  at("when").textContent = when;
  const place = scene && ranked(scene, spec.scenes, 1)[0];
  at("scene").textContent = place ? readable(place.label) : "";
  at("sure").textContent = [place && percent(place.value), !isSure && "not sure"]
    .filter(Boolean)
    .join(", ");
  at("sure").className = isSure ? "" : "is-unsure";
  at("sure").title = isSure ? "" : NOT_SURE;
  const rows = tag ? ranked(tag, spec.tags, BARS) : [];
  at("bars").replaceChildren(...rows.map(({ label, value }) => bar(label, value)));
}

function bar(label, value) {
  const item = element("li");
  const fill = element("div", "fill");
  fill.style.transform = `scaleX(${value})`;
  const track = element("div", "track");
  track.append(fill);
  const name = element("span", "label", readable(label));
  name.title = readable(label);
  item.append(name, track, element("span", "value", percent(value)));
  return item;
}

function table(events, early) {
  const shown = [...events.slice(-MOST_EVENTS), ...early];
  if (state.isLive) shown.reverse(); // what is under way comes first
  const rows = shown.map((event) => {
    const row = element("tr", event.isEarly ? "is-early" : "");
    row.append(
      element("td", "", readable(event.label)),
      element("td", "number", `${event.onset.toFixed(2)} s`),
      element("td", "number", event.isUnderWay ? "…" : `${event.offset.toFixed(2)} s`),
      element("td", "number", event.probability.toFixed(3)),
    );
    if (!state.isLive) {
      row.tabIndex = 0;
      row.onclick = () => play(event.onset);
      row.onkeydown = ({ key }) => key === "Enter" && play(event.onset);
    }
    return row;
  });
  at("events").replaceChildren(...rows);
}

function ranked(values, labels, count) {
  const all = labels.map((label, i) => ({ label, value: values[i] }));
  return all.sort((a, b) => b.value - a.value).slice(0, count);
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function readable(label) {
  return label.replaceAll("_", " ");
}

function percent(value) {
  return `${Math.round(100 * value)} %`;
}

function say(text) {
  at("status").textContent = text;
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

// --- where sound comes from

function analyzeFile(file) {
  if (!file || !spec) return;
  stopMicrophone();
  problem("");
  state = { ...fresh(), name: file.name, isBusy: true };
  at("stop").hidden = false;
  const player = at("player");
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  player.hidden = false;
  say(`${file.name}: opening`);
  worker.postMessage({ kind: "file", file });
}

let microphone = null; // {context, stream}

async function useMicrophone() {
  problem("");
  const context = new AudioContext();
  let stream;
  try {
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    // These three are made for calls: they take away what is to be recognized.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    await context.close();
    problem(microphoneProblem(error));
    return;
  }
  state = { ...fresh(), name: "Microphone", isLive: true, isBusy: true };
  at("player").hidden = true;
  at("player").pause();
  at("stop").hidden = false;
  at("microphone").disabled = true;
  worker.postMessage({ kind: "live", rate: context.sampleRate });
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  recorder.port.onmessage = ({ data }) =>
    worker.postMessage({ kind: "samples", samples: data }, [data.buffer]);
  context.createMediaStreamSource(stream).connect(recorder);
  microphone = { context, stream };
}

function microphoneProblem({ name, message }) {
  if (name === "NotAllowedError") return "The browser was not allowed to use the microphone.";
  if (name === "NotFoundError") return "No microphone was found.";
  return `The microphone cannot be used: ${message}`;
}

function stopMicrophone() {
  if (!microphone) return;
  for (const track of microphone.stream.getTracks()) track.stop();
  microphone.context.close();
  microphone = null;
}

function idle() {
  stopMicrophone();
  state.isBusy = false;
  at("stop").hidden = true;
  at("progress").hidden = true;
  at("microphone").disabled = !spec || Boolean(noMicrophone());
}

function play(seconds) {
  const player = at("player");
  player.currentTime = Math.max(0, seconds);
  player.play();
}

function save() {
  const rows = state.events.map(({ label, onset, offset }) =>
    [cell(state.name), onset.toFixed(3), offset.toFixed(3), cell(label)].join(","),
  );
  const text = ["filename,onset,offset,event_label", ...rows].join("\n") + "\n";
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `${state.name}.events.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Write text as a cell that no spreadsheet takes for a formula. */
function cell(text) {
  const safe = /^\s*[=+\-@]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

at("file").onchange = ({ target }) => {
  analyzeFile(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
};
at("microphone").onclick = useMicrophone;
at("stop").onclick = () => {
  stopMicrophone();
  worker.postMessage({ kind: "stop" });
};
at("save").onclick = save;
at("canvas").onclick = ({ clientX }) => !state.isLive && play(picture.timeAt(clientX));

const drop = at("drop");
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault(); // else the browser would leave the page for the file
    drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") analyzeFile(event.dataTransfer.files[0]);
  });
}

function follow() {
  const player = at("player");
  if (!player.hidden && !state.isLive && state.result) {
    const moving = !player.paused || picture.playhead !== player.currentTime;
    picture.playhead = player.currentTime;
    if (moving) show();
  }
  setTimeout(follow, 100);
}

start();
if (worker) follow();
