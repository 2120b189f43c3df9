/**
 * Which stretches of a recording each task is answered from, as in Python's `windowing`.
 *
 * Positions are sample numbers at the model's rate.
 */

/** Windows of one length at one distance; where the recording ends settles the last one. */
export class Grid {
  /**
   * @param {number} size Length of a window, in samples.
   * @param {number} hop From one window to the next, in samples.
   * @param {number} step The last window starts at the smallest multiple of this from which at most
   *   `size` samples remain; with 1 it ends at the last sample.
   * @param {number} shortest A shorter recording is repeated up to this length.
   */
  constructor(size, hop, step, shortest) {
    Object.assign(this, { size, hop, step, shortest });
  }

  /** Start of the last window of a recording of so many samples. */
  last(length) {
    return Math.ceil(Math.max(0, length - this.size) / this.step) * this.step;
  }

  /** Windows of a recording as [start, stop], from window number `first` on. */
  windows(length, first = 0) {
    const last = this.last(length);
    const starts = [];
    for (let start = first * this.hop; start < last; start += this.hop) starts.push(start);
    return [...starts, last].map((start) => [start, Math.min(start + this.size, length)]);
  }
}

// Seconds over which a window's loudest moment is measured.
const MOMENT = 0.18;

/** Level of the loudest moment of a window, in dB re full scale; -Infinity for digital silence. */
export function levelOf(samples, rate) {
  const size = Math.min(Math.round(MOMENT * rate), samples.length);
  const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
  let loudest = 0;
  for (let start = 0; start + size <= samples.length; start += size) {
    let sum = 0;
    for (let i = start; i < start + size; i++) sum += (samples[i] - mean) ** 2;
    loudest = Math.max(loudest, sum / size);
  }
  return 10 * Math.log10(loudest);
}

/** Gives each window as soon as its samples are there and nothing to come can change it. */
export class SlidingWindows {
  /** @param {Object<string, Grid>} grids Task → its windows. */
  constructor(grids) {
    this.grids = grids;
    this.given = Object.fromEntries(Object.keys(grids).map((task) => [task, 0]));
    this.longest = Math.max(...Object.values(grids).map((grid) => grid.size));
    this.kept = new Float32Array(4 * this.longest);
    this.first = 0; // number of the first sample that is kept
    this.length = 0; // samples so far
  }

  /** Take the next samples and give the windows that are certain: {window, tasks, samples}. */
  push(samples) {
    let filled = this.length - this.first;
    if (filled + samples.length > this.kept.length) {
      const needed = Math.min(filled, this.longest);
      const kept = new Float32Array(Math.max(4 * this.longest, needed + samples.length));
      kept.set(this.kept.subarray(filled - needed, filled));
      this.kept = kept;
      this.first = this.length - needed;
      filled = needed;
    }
    this.kept.set(samples, filled);
    this.length += samples.length;
    return this.certain(false);
  }

  /** Give the windows that end with the recording. */
  close() {
    return this.length ? this.certain(true) : [];
  }

  /** Give the samples of a window, repeated up to a length. */
  cut([start, stop], shortest) {
    const samples = this.kept.slice(start - this.first, stop - this.first);
    return repeated(samples, shortest);
  }

  certain(isEnd) {
    const tasksOf = new Map(); // windows that tasks share are run once
    for (const [task, grid] of Object.entries(this.grids)) {
      const windows = grid.windows(this.length, this.given[task]);
      if (!isEnd) windows.pop();
      this.given[task] += windows.length;
      for (const window of windows) {
        const key = [...window, grid.shortest].join();
        if (!tasksOf.has(key)) tasksOf.set(key, { window, shortest: grid.shortest, tasks: [] });
        tasksOf.get(key).tasks.push(task);
      }
    }
    return [...tasksOf.values()].map(({ window, shortest, tasks }) => ({
      window,
      tasks,
      samples: this.cut(window, shortest),
    }));
  }
}

/**
 * Joins the steps of overlapping windows into those of the whole recording, as they come.
 *
 * Where windows overlap their values are averaged, with weights that rise from each window's edges.
 */
export class OverlapAdd {
  constructor() {
    this.first = 0; // number of the first step that has not been taken
    this.steps = []; // {total: Float64Array, weight}
  }

  /** Add a window: the number of its first step, and its steps as arrays of probabilities. */
  add(firstStep, values) {
    values.forEach((row, i) => {
      const at = firstStep - this.first + i;
      this.steps[at] ??= { total: new Float64Array(row.length), weight: 0 };
      const weight = Math.min(i + 0.5, values.length - i - 0.5);
      row.forEach((value, label) => (this.steps[at].total[label] += weight * value));
      this.steps[at].weight += weight;
    });
  }

  /** Take the steps that no later window reaches; all of them if `before` is left out. */
  take(before = Infinity) {
    const count = Math.max(0, Math.min(this.steps.length, before - this.first));
    const taken = this.steps.splice(0, count);
    this.first += count;
    return taken.map(({ total, weight }) => Float32Array.from(total, (sum) => sum / weight));
  }

  /** Give a copy, to look ahead with. */
  copy() {
    const copy = new OverlapAdd();
    copy.first = this.first;
    copy.steps = this.steps.map(({ total, weight }) => ({ total: total.slice(), weight }));
    return copy;
  }
}

/**
 * Repeat samples up to a length.
 * @param {Float32Array} samples At least one.
 * @param {number} shortest The length.
 */
export function repeated(samples, shortest) {
  if (samples.length >= shortest) return samples;
  return Float32Array.from({ length: shortest }, (_, i) => samples[i % samples.length]);
}
