/** What a model knows about itself: labels, thresholds, windows and steps, from its ONNX file. */

import { metadataOf } from "./metadata.js";
import { Grid } from "./windows.js";

export const TASKS = ["scene", "tag", "event"];

// Frames of the log-mel that the network's poolings make one step of, before the last pooling.
const FRAMES_PER_STEP = 8;
// Files that say nothing about their context follow the released protocol.
const RELEASED_CONTEXT = {
  scene: { window: 5, hop: 2.5, pooling: "mean" },
  tag: { window: 30, hop: 30, pooling: "max" },
  event: { window: 60, hop: 48, pooling: "overlap" },
};

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
    this.rate = values.frontend.sample_rate;
    this.context = values.context ?? RELEASED_CONTEXT;
    this.stepSamples = FRAMES_PER_STEP * (values.time_pooling ?? 5) * values.frontend.hop_length;
    this.step = this.stepSamples / this.rate;
    this.row = 0.1; // from one row of event probabilities to the next, in seconds
    // A shorter waveform has too few samples for the graph's reflection.
    this.shortest = values.frontend.n_fft / 2 + 2;
  }

  /** Which windows each task is answered from. */
  grids() {
    const samples = (seconds) => Math.round(seconds * this.rate);
    const grid = (task) => {
      const { window, hop, pooling } = this.context[task];
      if (pooling === "overlap") return new Grid(samples(window), samples(hop), this.stepSamples);
      // Pre-emphasis takes one sample: a scene's window has one more.
      return new Grid(samples(window) + (task === "scene" ? 1 : 0), samples(hop), 1);
    };
    return Object.fromEntries(this.tasks.map((task) => [task, grid(task)]));
  }

  /** Number of the step that begins at a sample. */
  stepAt(sample) {
    return Math.floor(sample / this.stepSamples);
  }

  /**
   * Put steps on the grid of rows; what is left over at the end takes the last step's values.
   *
   * @param {Float32Array[]} steps Steps that follow each other.
   * @param {number} first Number of the first of them in the recording.
   * @param {number} stop Rows up to this one.
   */
  rowsOf(steps, first, stop) {
    const begin = Math.round((first * this.step) / this.row);
    return Array.from({ length: Math.max(0, stop - begin) }, (_, i) => {
      const step = Math.floor(((begin + i) * this.row) / this.step + 1e-9) - first;
      return steps[Math.min(step, steps.length - 1)];
    });
  }
}
