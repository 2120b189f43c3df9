/** Probabilities become events while they come in, as Python's `decode_events` reads them. */
export class EventDecoder {
  /**
   * @param {string[]} labels Label of each column.
   * @param {number} hop From one row to the next, in seconds.
   * @param {Object<string, number>} thresholds Label → probability above which it is active.
   * @param {number} hysteresis Share of its threshold above which an active one lasts; 1 is none.
   */
  constructor(labels, hop, thresholds, hysteresis = 1) {
    this.labels = labels;
    this.hop = hop;
    this.limits = labels.map((label) => thresholds[label]);
    this.low = this.limits.map((limit) => hysteresis * limit);
    this.runs = labels.map(() => null); // what is under way: {start, sum, isActive}
    this.rows = 0;
  }

  /** Take the next rows of probabilities and give the events that have ended in them. */
  push(rows) {
    const ended = [];
    for (const row of rows) {
      this.limits.forEach((limit, label) => {
        if (row[label] > this.low[label]) {
          const run = (this.runs[label] ??= { start: this.rows, sum: 0, isActive: false });
          run.sum += row[label];
          run.isActive ||= row[label] > limit;
        } else {
          ended.push(...this.end(label, Infinity));
        }
      });
      this.rows++;
    }
    return ended;
  }

  /** Give the events that are under way at the end, which is at `duration` seconds. */
  close(duration) {
    return this.labels.flatMap((_, i) => this.end(i, duration));
  }

  /** Give a copy, to look ahead with. */
  copy() {
    const copy = Object.assign(Object.create(EventDecoder.prototype), this);
    copy.runs = this.runs.map((run) => run && { ...run });
    return copy;
  }

  /** End what is under way: one event, or none if it never exceeded its threshold. */
  end(label, duration) {
    const run = this.runs[label];
    this.runs[label] = null;
    if (!run?.isActive) return [];
    return [
      {
        label: this.labels[label],
        onset: rounded(run.start * this.hop),
        offset: Math.min(rounded(this.rows * this.hop), duration),
        probability: run.sum / (this.rows - run.start),
      },
    ];
  }
}

/** Order events by onset, then offset, then label order. */
export function inOrder(events, labels) {
  const order = new Map(labels.map((label, i) => [label, i]));
  return [...events].sort(
    (a, b) =>
      a.onset - b.onset || a.offset - b.offset || order.get(a.label) - order.get(b.label),
  );
}

// Row counts times a hop are not exact in binary.
function rounded(seconds) {
  return Math.round(seconds * 1e6) / 1e6;
}
