/** Sound that is answered while it comes in; the answers are those of Python's verbs. */

import { EventDecoder, inOrder } from "./events.js";
import { Joiner, Splitter } from "./windows.js";

// Two times closer than this, in rows, are the same.
const SAME = 1e-6;

export class Stream {
  /**
   * @param {Spec} spec What the model knows about itself.
   * @param {(samples: Float32Array, tasks: string[]) => Promise<object>} infer Task →
   *   probabilities of a window: one array, and for events one array for each step.
   */
  constructor(spec, infer) {
    this.spec = spec;
    this.infer = infer;
    this.grids = spec.grids();
    this.splitter = new Splitter(this.grids);
    this.joiner = new Joiner();
    this.decoder = new EventDecoder(spec.labels.event, spec.row, spec.thresholds);
    this.windows = { scene: [], tag: [] }; // {onset, offset, values}
    this.events = []; // those that are final
  }

  /** How much has come, in seconds. */
  get duration() {
    return this.splitter.length / this.spec.rate;
  }

  /** Take the next samples at the model's rate. */
  async push(samples) {
    const passages = this.splitter.push(samples);
    await this.answer(passages);
    if (passages.length && this.grids.event) {
      // Whatever length the recording may yet have, its last window begins here or later.
      const last = this.spec.stepAt(this.grids.event.last(this.splitter.length));
      this.take(last, last * this.spec.step);
    }
  }

  /**
   * Say what is not final yet, as if the recording ended now: the answers of its last window, and
   * the events that are under way or may still change.
   */
  async preview() {
    const grid = this.grids.event ?? this.grids.tag ?? this.grids.scene;
    const { length } = this.splitter;
    const window = [grid.last(length), length];
    const answers = await this.infer(this.splitter.cut(window), Object.keys(this.grids));
    const duration = length / this.spec.rate;
    const preview = { duration, scene: answers.scene, tag: answers.tag, events: [] };
    if (answers.event) {
      const joiner = this.joiner.copy();
      const decoder = this.decoder.copy();
      joiner.add(this.spec.stepAt(window[0]), answers.event);
      const { first } = joiner;
      const rows = this.spec.rowsOf(joiner.take(), first, this.rowsIn(duration));
      preview.events = this.inOrder([...decoder.push(rows), ...decoder.close(duration)]);
    }
    return preview;
  }

  /**
   * Answer what is left at the end.
   *
   * @param {number} duration Length of the recording, in seconds; resampling rounds it up.
   */
  async close(duration = this.duration) {
    await this.answer(this.splitter.close());
    if (this.grids.event && this.splitter.length) {
      this.take(Infinity, duration);
      this.events = this.inOrder([...this.events, ...this.decoder.close(duration)]);
    }
    for (const window of [...this.windows.scene, ...this.windows.tag]) {
      window.offset = Math.min(window.offset, duration);
    }
  }

  /** Give the probability of each label of a task over all its windows so far. */
  pooled(task) {
    const windows = this.windows[task].map(({ values }) => values);
    if (!windows.length) return null;
    const isMean = this.spec.context[task].pooling === "mean";
    return windows[0].map((_, label) => {
      const values = windows.map((window) => window[label]);
      return isMean
        ? values.reduce((sum, value) => sum + value, 0) / values.length
        : values.reduce((most, value) => Math.max(most, value), 0);
    });
  }

  async answer(passages) {
    for (const { window, tasks, samples } of passages) {
      const answers = await this.infer(samples, tasks);
      const [onset, offset] = window.map((sample) => sample / this.spec.rate);
      for (const task of tasks) {
        if (task === "event") this.joiner.add(this.spec.stepAt(window[0]), answers.event);
        else this.windows[task].push({ onset, offset, values: answers[task] });
      }
    }
  }

  /** Decode the steps that no later window reaches, up to a time in seconds. */
  take(before, end) {
    const { first } = this.joiner;
    const steps = this.joiner.take(before);
    if (!steps.length) return;
    this.events.push(...this.decoder.push(this.spec.rowsOf(steps, first, this.rowsIn(end))));
  }

  rowsIn(duration) {
    return Math.ceil(duration / this.spec.row - SAME);
  }

  inOrder(events) {
    return inOrder(events, this.spec.labels.event);
  }
}
