/**
 * All the work of the page, off its thread: the model, decoding, answers.
 *
 * It takes {kind: "load", model}; then {kind: "file", file}, or {kind: "live", rate} followed by
 * {kind: "samples", samples}; {kind: "stop"} ends either early, with the answer so far. It posts
 * "ready", "began", "progress" and "done", or "failed" with a message; and "decode" for a file that
 * it cannot decode, which {kind: "decoded", rate, samples} answers.
 */

import { opened } from "./decoding.js";
import { Job } from "./job.js";
import { networkOf, threads } from "./network.js";
import { Spec } from "./spec.js";

const COLUMNS = 1200; // of a file's spectrogram
const SHORTEST_COLUMN = 0.025; // seconds
const REPORT = 200; // milliseconds between reports on a file

let spec;
let infer;
let job = null; // what is being worked on; another one takes its place
let waiting = []; // blocks from the microphone
let isBusy = false;

let decoded = null; // takes what the page decoded

const handlers = { load, file, live, samples, stop, decoded: (message) => decoded(message) };

self.onmessage = async ({ data }) => {
  try {
    await handlers[data.kind](data);
  } catch (error) {
    job = null;
    isBusy = false;
    self.postMessage({ kind: "failed", message: error?.message ?? String(error) });
  }
};

async function load({ model }) {
  const response = await fetch(model);
  if (!response.ok) throw new Error(`The model, ${model}, cannot be had: ${response.status}.`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  spec = Spec.of(bytes);
  infer = await networkOf(bytes, spec);
  self.postMessage({ kind: "ready", spec: spec.values, threads: threads() });
}

async function file({ file }) {
  const recording = await opened(file, decodeWhole);
  const mine = begin(recording.rate, recording.duration);
  let reported = performance.now();
  for await (const block of recording.blocks) {
    await mine.push(block);
    if (job !== mine) return;
    if (mine.isEnding) break;
    if (performance.now() - reported > REPORT) {
      reported = performance.now();
      self.postMessage({ kind: "progress", ...mine.news() });
      await new Promise((resolve) => setTimeout(resolve)); // so that "stop" can arrive
    }
  }
  await finish(mine);
}

/** Have the page decode a file: workers have no way to. */
async function decodeWhole(file) {
  self.postMessage({ kind: "decode", file, rate: spec.rate });
  const { rate, samples, message } = await new Promise((resolve) => (decoded = resolve));
  if (message) throw new Error(message);
  return { rate, samples };
}

function live({ rate }) {
  begin(rate, null);
}

async function samples({ samples }) {
  if (!job) return; // what was still on its way when the microphone was stopped
  waiting.push(samples);
  if (isBusy) return;
  isBusy = true;
  const mine = job;
  while (waiting.length && job === mine) {
    for (const block of waiting.splice(0)) await mine.push(block);
    const preview = await mine.preview();
    if (preview) self.postMessage({ kind: "progress", ...mine.news(), preview });
  }
  isBusy = false;
  if (mine.isEnding) await finish(mine);
}

async function stop() {
  if (!job) return;
  job.isEnding = true;
  if (job.isLive && !isBusy) await finish(job);
}

function begin(rate, duration) {
  const column = Math.max((duration ?? 0) / COLUMNS, SHORTEST_COLUMN);
  job = new Job(spec, infer, rate, column, duration === null);
  waiting = [];
  self.postMessage({ kind: "began", duration, column: job.spectrogram.seconds });
  return job;
}

async function finish(mine) {
  await mine.end();
  if (job !== mine) return;
  job = null;
  self.postMessage({ kind: "done", ...mine.news(), result: mine.result() });
}
