/**
 * Sample rate conversion of sound that comes in blocks.
 *
 * The browser's own converters cannot be used for this: OfflineAudioContext is missing in workers,
 * takes a whole recording at once, and Chromium's interpolates linearly between samples, which folds
 * what lies above the new Nyquist frequency back into the audible band.
 */

// Chosen to agree with soxr's quality HQ, which Python resamples with: flat to 0.91 of the lower
// Nyquist frequency, and 120 dB down from there on. The kernel reaches over CROSSINGS zero crossings
// to each side, is cut off at ROLLOFF of that frequency, and tapers off as Kaiser's window.
const CROSSINGS = 91;
const ROLLOFF = 0.9569;
const KAISER_BETA = 12.3;

/** Convert mono samples from one rate to another, block by block. */
export class Resampler {
  /**
   * @param {number} sourceRate Rate of the samples that come, in Hz, a whole number.
   * @param {number} targetRate Rate wanted, in Hz, a whole number.
   */
  constructor(sourceRate, targetRate) {
    const common = greatestCommonDivisor(sourceRate, targetRate);
    // In lowest terms: `up` outputs span `down` inputs, so output n + up has the weights of output n.
    this.up = targetRate / common;
    this.down = sourceRate / common;
    this.cutoff = Math.min(1, this.up / this.down) * ROLLOFF;
    this.reach = CROSSINGS / this.cutoff; // input samples to each side
    this.taps = 2 * Math.ceil(this.reach);
    this.weights = new Map(); // phase → weights
    // Silence before the first sample, so that the first outputs have something to their left.
    this.kept = new Float32Array(this.taps);
    this.first = -this.taps; // number of the first sample that is kept
    this.received = 0;
    this.given = 0;
  }

  /** Take the next samples and give the ones that follow from them for sure. */
  push(samples) {
    if (this.up === this.down) return samples;
    this.append(samples);
    this.received += samples.length;
    // The last output whose rightmost tap is here.
    const last = Math.floor(((this.received - this.taps / 2 - 1) * this.up) / this.down);
    return this.outputs(Math.max(this.given, last));
  }

  /** Give the rest: all in all ceil(samples × target / source), with silence behind the end. */
  close() {
    if (this.up === this.down) return new Float32Array(0);
    this.append(new Float32Array(this.taps));
    return this.outputs(Math.ceil((this.received * this.up) / this.down));
  }

  append(samples) {
    const joined = new Float32Array(this.kept.length + samples.length);
    joined.set(this.kept);
    joined.set(samples, this.kept.length);
    this.kept = joined;
  }

  outputs(stop) {
    const { up, down, taps, kept } = this;
    const output = new Float32Array(Math.max(0, stop - this.given));
    for (let i = 0; i < output.length; i++) {
      const position = (this.given + i) * down;
      const phase = position % up;
      const begin = (position - phase) / up - taps / 2 + 1 - this.first;
      const weights = this.weightsOf(phase);
      let sum = 0;
      for (let k = 0; k < taps; k++) sum += weights[k] * kept[begin + k];
      output[i] = sum;
    }
    this.given += output.length;
    const needed = Math.floor((this.given * down) / up) - taps / 2 - this.first;
    if (needed > 0) {
      this.kept = kept.slice(needed);
      this.first += needed;
    }
    return output;
  }

  /** Weights of the taps around an output that lies `phase / up` input samples after one of them. */
  weightsOf(phase) {
    let weights = this.weights.get(phase);
    if (!weights) {
      weights = new Float32Array(this.taps);
      for (let k = 0; k < this.taps; k++) {
        const distance = k - this.taps / 2 + 1 - phase / this.up;
        const window = kaiser(distance / this.reach);
        weights[k] = this.cutoff * sinc(this.cutoff * distance) * window;
      }
      this.weights.set(phase, weights);
    }
    return weights;
  }
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function kaiser(x) {
  return Math.abs(x) >= 1 ? 0 : bessel(KAISER_BETA * Math.sqrt(1 - x * x)) / bessel(KAISER_BETA);
}

/** Modified Bessel function of the first kind and order 0, by its power series. */
function bessel(x) {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
