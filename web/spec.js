/** What a model knows about itself: labels, thresholds, windows and steps, from its ONNX file. */

import { Familiarity } from "./familiarity.js";
import { metadataOf } from "./metadata.js";
import { Grid } from "./windows.js";

// Frames of the log-mel that the network's poolings make one step of, before the last pooling.
const FRAMES_PER_STEP = 8;
// Windows of events in sound that has no end yet, in seconds, where tasks have windows of their own.
const LIVE_WINDOW = 10;
const LIVE_HOP = 2.4;
// The paper's last pooling, and the rows that one of its steps is given as.
const PAPER_POOLING = 5;
const PAPER_ROWS = 8;

export class Spec {
  /** @param {Uint8Array} bytes An ONNX file that `dcasenet export` wrote. */
  static of(bytes) {
    const described = metadataOf(bytes).get("dcasenet");
    if (!described) {
      throw new Error(
        "This ONNX file does not describe its labels. Use one that 'dcasenet export' wrote.",
      );
    }
    return new Spec(JSON.parse(described));
  }

  constructor(values) {
    this.values = values;
    this.name = `${values.name} ${values.stage}`;
    this.tasks = values.tasks;
    this.labels = { scene: values.scenes, tag: values.tags, event: values.events };
    this.thresholds = values.thresholds;
    this.hysteresis = values.hysteresis ?? 1; // files of before have none
    this.rate = values.frontend.sample_rate;
    this.context = values.context;
    this.stepSamples = FRAMES_PER_STEP * values.time_pooling * values.frontend.hop_length;
    this.step = this.stepSamples / this.rate;
    this.rowsPerStep = values.time_pooling === PAPER_POOLING ? PAPER_ROWS : 1;
    // From one row of event probabilities to the next, in seconds.
    this.row = this.stepSamples / this.rowsPerStep / this.rate;
    // Whether all tasks read the same windows; very quiet ones do not count then.
    const windows = Object.values(this.context).map((c) => [c.window, c.hop, c.shortest].join());
    this.hasOneGrid = new Set(windows).size === 1;
    // How the model knows what it cannot be sure of; null for one that does not.
    this.familiarity = values.familiarity ? new Familiarity(values.familiarity) : null;
    // A shorter waveform has too few samples for the graph's reflection.
    this.shortest = values.frontend.n_fft / 2 + 2;
  }

  /**
   * Which windows each task is answered from, of a recording or of sound that has no end yet; and
   * "familiarity", of a model that knows it.
   */
  grids(isLive) {
    const grids = Object.fromEntries(this.tasks.map((task) => [task, this.grid(task)]));
    if (isLive && grids.event && !this.hasOneGrid) {
      const hop = Math.round(LIVE_HOP / this.step) * this.stepSamples;
      grids.event = new Grid(LIVE_WINDOW * this.rate, hop, this.stepSamples, 0);
    }
    if (this.familiarity) grids.familiarity = Object.values(grids)[0];
    return grids;
  }

  grid(task) {
    const { window, hop, shortest } = this.context[task];
    const [size, distance, least] = [window, hop, shortest].map((s) => Math.round(s * this.rate));
    if (task === "event" || this.hasOneGrid) {
      const step = this.stepSamples;
      return new Grid(size, Math.floor(distance / step) * step, step, least);
    }
    // Pre-emphasis takes one sample: a scene's window has one more.
    return new Grid(task === "scene" ? size + 1 : size, distance, 1, 0);
  }

  /** Number of the step that begins at a sample. */
  stepAt(sample) {
    return Math.floor(sample / this.stepSamples);
  }

  /** How many rows so many samples at a rate of their own have. */
  rowsIn(samples, rate) {
    return Math.ceil((samples * this.rate * this.rowsPerStep) / (this.stepSamples * rate));
  }

  /**
   * Repeat each step on the grid of rows; the last one fills a step that is not complete. What no
   * window reached is 0.
   */
  rowsOf(steps, count = steps.length * this.rowsPerStep) {
    const rowOf = (step) => {
      if (step > steps.length) return new Float32Array(steps[0].length);
      return steps[Math.min(step, steps.length - 1)];
    };
    return Array.from({ length: count }, (_, i) => rowOf(Math.floor(i / this.rowsPerStep)));
  }
}
