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
   * @param {number} shortest Windows are trimmed, and those that are shorter then are repeated up
   *   to this length; 0 leaves windows as they are.
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

// With one grid for all tasks: steps at the ends of a window so many dB under its loudest one are
// silence, and windows so many dB under the loudest one do not count.
export const QUIET = 60;
// Seconds over which a window's loudest moment is measured.
const MOMENT = 0.18;

/**
 * Give [start, stop] of what lies between the silence at both ends: whole steps, but for the last.
 *
 * A step is silent if it swings by 60 dB less than the loudest one; where nothing sounds, that is
 * all.
 */
export function trim(samples, step) {
  const swings = [];
  for (let start = 0; start < samples.length; start += step) {
    let [lowest, highest] = [Infinity, -Infinity];
    for (let i = start; i < Math.min(start + step, samples.length); i++) {
      if (samples[i] < lowest) lowest = samples[i];
      if (samples[i] > highest) highest = samples[i];
    }
    swings.push(highest - lowest);
  }
  const least = 10 ** (-QUIET / 20) * Math.max(...swings);
  const isActive = (swing) => swing > least;
  const last = swings.findLastIndex(isActive);
  if (last < 0) return [0, samples.length];
  return [swings.findIndex(isActive) * step, Math.min((last + 1) * step, samples.length)];
}

/** Give the steps of a whole window from those of its active span; others are 0. */
export function placed(steps, window, active, step) {
  if (active[0] === window[0] && active[1] === window[1]) return steps;
  const size = steps[0].length;
  const silence = (count) => Array.from({ length: count }, () => new Float32Array(size));
  const first = Math.floor((active[0] - window[0]) / step);
  const own = steps.slice(0, Math.ceil((active[1] - active[0]) / step));
  const behind = Math.ceil((window[1] - window[0]) / step) - first - own.length;
  return [...silence(first), ...own, ...silence(active[1] < window[1] ? Math.max(0, behind) : 0)];
}

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

/**
 * Gives each window as soon as its samples are there and nothing to come can change it.
 *
 * A trimmed window all of which its neighbor has, too, is left out.
 */
export class SlidingWindows {
  /** @param {Object<string, Grid>} grids Task → its windows. */
  constructor(grids) {
    this.grids = grids;
    this.given = Object.fromEntries(Object.keys(grids).map((task) => [task, 0]));
    this.reached = Object.fromEntries(Object.keys(grids).map((task) => [task, 0]));
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

  /** Give a window's active span, and its samples, repeated up to a length: {active, samples}. */
  cut([start, stop], { shortest, step }) {
    const samples = this.kept.slice(start - this.first, stop - this.first);
    if (!shortest) return { active: [start, stop], samples };
    const [from, to] = trim(samples, step);
    const active = [start + from, start + to];
    return { active, samples: repeated(samples.subarray(from, to), shortest) };
  }

  certain(isEnd) {
    const chunks = new Map(); // windows that tasks share are run once
    for (const [task, grid] of Object.entries(this.grids)) {
      const windows = grid.windows(this.length, this.given[task]);
      const last = windows.at(-1);
      if (!isEnd) windows.pop();
      this.given[task] += windows.length;
      for (const window of windows) {
        const key = [...window, grid.shortest].join();
        const chunk = chunks.get(key) ?? { window, tasks: [], ...this.cut(window, grid) };
        const { active } = chunk;
        if (window !== last && active[0] >= window[0] + grid.hop) continue; // the next has all of it
        if (active[1] <= this.reached[task]) continue; // the one before had all of it
        this.reached[task] = window[1];
        chunk.tasks.push(task);
        chunks.set(key, chunk);
      }
    }
    return [...chunks.values()];
  }
}

/**
 * Joins the steps of overlapping windows into those of the whole recording, as they come.
 *
 * Where windows overlap their values are averaged, with weights that rise from each window's edges.
 * A step that no window has is 0.
 */
export class OverlapAdd {
  constructor() {
    this.first = 0; // number of the first step that has not been taken
    this.steps = []; // {total: Float64Array, weight}
  }

  /** Add a window: the number of its first step, and its steps as arrays of probabilities. */
  add(firstStep, values) {
    const end = firstStep - this.first + values.length;
    while (this.steps.length < end) {
      this.steps.push({ total: new Float64Array(values[0].length), weight: 0 });
    }
    values.forEach((row, i) => {
      const at = firstStep - this.first + i;
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
    return taken.map(({ total, weight }) => Float32Array.from(total, (sum) => sum / (weight || 1)));
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
