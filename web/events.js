/** Probabilities become events while they come in, as Python's `decode_events` reads them. */
export class EventDecoder {
  /**
   * @param {string[]} labels Label of each column.
   * @param {number} hop From one row to the next, in seconds.
   * @param {Object<string, number>} thresholds Label → probability above which it is active.
   */
  constructor(labels, hop, thresholds) {
    this.labels = labels;
    this.hop = hop;
    this.limits = labels.map((label) => thresholds[label]);
    this.runs = labels.map(() => null); // what is under way: {start, sum}
    this.rows = 0;
  }

  /** Take the next rows of probabilities and give the events that have ended in them. */
  push(rows) {
    const ended = [];
    for (const row of rows) {
      this.limits.forEach((limit, label) => {
        if (row[label] > limit) {
          this.runs[label] ??= { start: this.rows, sum: 0 };
          this.runs[label].sum += row[label];
        } else if (this.runs[label]) {
          ended.push(this.end(label, Infinity));
        }
      });
      this.rows++;
    }
    return ended;
  }

  /** Give the events that are under way at the end, which is at `duration` seconds. */
  close(duration) {
    return this.labels.flatMap((_, i) => (this.runs[i] ? [this.end(i, duration)] : []));
  }

  /** Give a copy, to look ahead with. */
  copy() {
    const copy = Object.assign(Object.create(EventDecoder.prototype), this);
    copy.runs = this.runs.map((run) => run && { ...run });
    return copy;
  }

  end(label, duration) {
    const { start, sum } = this.runs[label];
    this.runs[label] = null;
    return {
      label: this.labels[label],
      onset: rounded(start * this.hop),
      offset: Math.min(rounded(this.rows * this.hop), duration),
      probability: sum / (this.rows - start),
    };
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
