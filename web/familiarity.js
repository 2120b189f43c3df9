/**
 * How far a window lies from what the model was trained on, as in Python's `inference.familiarity`:
 * the share of held-out recordings that lie further.
 */

// Seconds of which a model can be sure.
export const SHORTEST = 0.2;

export class Familiarity {
  /** @param {object} statistics The spec's `familiarity`. */
  constructor(statistics) {
    const { size, scales } = statistics;
    this.limit = statistics.limit;
    this.statistics = statistics;
    this.mean = unpacked(statistics.mean);
    const components = unpacked(statistics.components);
    this.components = scales.map((_, i) => components.subarray(i * size, (i + 1) * size));
    this.contrast = statistics.contrast ? unpacked(statistics.contrast) : null;
  }

  /** Give the familiarity, 0 to 1, of the mean embedding of a window. */
  of(embedding) {
    const { scales, residual, distances, scores } = this.statistics;
    const centered = this.mean.map((mean, i) => embedding[i] - mean);
    const along = this.components.map((component) => product(component, centered));
    const outside = Math.max(0, product(centered, centered) - product(along, along));
    const scaled = along.map((value, i) => value / scales[i]);
    const distance = Math.sqrt(product(scaled, scaled) + outside / residual ** 2);
    const share = shareAbove(distance, distances);
    if (!this.contrast) return share;
    return Math.min(share, shareAbove(product(this.contrast, embedding), scores));
  }
}

function product(one, other) {
  return one.reduce((sum, value, i) => sum + value * other[i], 0);
}

/** The share of a distribution, told by its quantiles, that lies above a value. */
function shareAbove(value, quantiles) {
  const last = quantiles.length - 1;
  if (!(value > quantiles[0])) return 1;
  if (value >= quantiles[last]) return 0;
  const i = quantiles.findLastIndex((quantile) => quantile <= value);
  return 1 - (i + (value - quantiles[i]) / (quantiles[i + 1] - quantiles[i])) / last;
}

/** Numbers of 16 bits (IEEE 754, little-endian) in base64. */
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Float64Array.from({ length: bytes.length / 2 }, (_, i) => {
    const bits = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    const sign = bits & 0x8000 ? -1 : 1;
    const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}
