/** Sound that is answered while it comes in; the answers are those of Python's verbs. */

import { EventDecoder, inOrder } from "./events.js";
import { SHORTEST } from "./familiarity.js";
import { OverlapAdd, QUIET, SlidingWindows, levelOf, placed } from "./windows.js";

// As in Python's postprocess.py.
const PROBABLE = 0.5;

export class Stream {
  /**
   * @param {Spec} spec What the model knows about itself.
   * @param {(samples: Float32Array, tasks: string[]) => Promise<object>} infer Task →
   *   probabilities of a window: one array, and for events one array for each step.
   * @param {Object<string, Grid>} grids Task → the windows that it is answered from.
   */
  constructor(spec, infer, grids) {
    this.spec = spec;
    this.infer = infer;
    this.grids = grids;
    this.sliding = new SlidingWindows(this.grids);
    this.joined = new OverlapAdd();
    this.decoder = new EventDecoder(spec.labels.event, spec.row, spec.thresholds, spec.hysteresis);
    this.windows = { scene: [], tag: [] }; // {onset, offset, level, values, isSure}
    this.familiarity = spec.familiarity ? 0 : null; // that of the most familiar window
    this.events = []; // those that are final
  }

  /** How much has come, in seconds. */
  get duration() {
    return this.sliding.length / this.spec.rate;
  }

  /** Take the next samples at the model's rate. */
  async push(samples) {
    const chunks = this.sliding.push(samples);
    await this.answer(chunks);
    if (this.grids.event) {
      // Whatever length the recording may yet have, its last window begins here or later.
      const steps = this.joined.take(this.spec.stepAt(this.grids.event.last(this.sliding.length)));
      this.events.push(...this.decoder.push(unflagged(this.spec.rowsOf(steps))));
    }
  }

  /**
   * Say what is not final yet, as if the recording ended now: the answers of its last window, and
   * the events that are under way or may still change.
   */
  async preview() {
    const grid = this.grids.event ?? this.grids.tag ?? this.grids.scene;
    const { length } = this.sliding;
    const window = [grid.last(length), length];
    const { active, samples } = this.sliding.cut(window, grid);
    const answers = await this.infer(samples, Object.keys(this.grids));
    const duration = length / this.spec.rate;
    const isSure = this.isSure(this.familiarityOf(answers, levelOf(samples, this.spec.rate)));
    const preview = { duration, scene: answers.scene, tag: answers.tag, isSure, events: [] };
    if (answers.event) {
      const [joined, decoder] = [this.joined.copy(), this.decoder.copy()];
      this.join(joined, window, active, flagged(answers.event, isSure));
      preview.events = this.decodedToTheEnd(joined, decoder, length, this.spec.rate);
    }
    return preview;
  }

  /**
   * Answer what is left at the end.
   *
   * @param {number} samples How many samples the recording has at its own rate.
   * @param {number} rate That rate, in Hz.
   */
  async close(samples, rate) {
    await this.answer(this.sliding.close());
    if (this.grids.event && this.sliding.length) {
      const last = this.decodedToTheEnd(this.joined, this.decoder, samples, rate);
      this.events = inOrder([...this.events, ...last], this.spec.labels.event);
    }
    if (this.spec.familiarity && samples / rate < SHORTEST) {
      this.familiarity = 0;
      this.events = [];
    }
    for (const window of [...this.windows.scene, ...this.windows.tag]) {
      window.offset = Math.min(window.offset, samples / rate); // resampling rounds the length up
    }
  }

  /** Give the probability of each label of a task over all its windows so far that count. */
  pooled(task) {
    const loudest = Math.max(...this.windows[task].map(({ level }) => Math.floor(level)));
    const counted = this.windows[task].filter(
      ({ level }) => !this.spec.hasOneGrid || Math.floor(level) >= loudest - QUIET,
    );
    if (!counted.length) return null;
    const isMean = this.spec.context[task].pooling === "mean";
    const total = new Float64Array(counted[0].values.length).fill(isMean ? 0 : -Infinity);
    for (const { values } of counted) {
      for (let i = 0; i < total.length; i++) {
        total[i] = isMean ? total[i] + values[i] : Math.max(total[i], values[i]);
      }
    }
    return Float32Array.from(total, (value) => (isMean ? value / counted.length : value));
  }

  async answer(chunks) {
    for (const { window, active, tasks, samples } of chunks) {
      const answers = await this.infer(samples, tasks);
      const [onset, offset] = window.map((sample) => sample / this.spec.rate);
      const level = levelOf(samples, this.spec.rate);
      const known = this.familiarityOf(answers, level);
      const isSure = this.isSure(known);
      if (known !== null) this.familiarity = Math.max(this.familiarity, known);
      for (const task of tasks) {
        if (task === "event") {
          this.join(this.joined, window, active, flagged(answers.event, isSure));
        } else if (task in this.windows) {
          this.windows[task].push({ onset, offset, level, values: answers[task], isSure });
        }
      }
    }
  }

  /** Add the steps of a window's active span to those of other windows. */
  join(joined, window, active, steps) {
    const { stepSamples } = this.spec;
    joined.add(this.spec.stepAt(window[0]), placed(steps, window, active, stepSamples));
  }

  /** Give a window's familiarity, 0 for digital silence; null where it was not requested. */
  familiarityOf({ familiarity = null }, level) {
    return familiarity !== null && level === -Infinity ? 0 : familiarity;
  }

  isSure(familiarity) {
    return familiarity === null || familiarity >= this.spec.familiarity.limit;
  }

  /** Decode the steps that are left of a recording of so many samples at a rate of its own. */
  decodedToTheEnd(joined, decoder, samples, rate) {
    const rows = this.spec.rowsIn(samples, rate) - this.spec.rowsPerStep * joined.first;
    const steps = joined.take();
    const all = steps.length ? unflagged(this.spec.rowsOf(steps, Math.max(0, rows))) : [];
    const ended = decoder.push(all);
    return inOrder([...ended, ...decoder.close(samples / rate)], this.spec.labels.event);
  }
}

/** Add whether the model is sure of a window to each of its steps, as a last column. */
function flagged(steps, isSure) {
  return steps.map((row) => [...row, isSure ? 1 : 0]);
}

/** Take that column off again: where the model is not sure of any window, only what is probable counts. */
function unflagged(rows) {
  return rows.map((row) => {
    const values = row.subarray(0, -1);
    return row.at(-1) > 0 ? values : values.map((value) => (value > PROBABLE ? value : 0));
  });
}
