/** A picture of sound that comes in blocks: columns of loudness on a mel scale. */

export const BANDS = 96;
const FFT_SIZE = 1024;
// A column of a long recording shows this many of the frames that lie in it.
const FRAMES_PER_COLUMN = 8;
const QUIETEST = -95; // dB below full scale: black
const LOUDEST = -15; // dB: white

export class Spectrogram {
  /**
   * @param {number} rate Of the samples, in Hz.
   * @param {number} seconds What one column spans.
   */
  constructor(rate, seconds) {
    this.perColumn = Math.max(1, Math.round(seconds * rate));
    this.seconds = this.perColumn / rate;
    this.stride = Math.max(1, Math.floor(this.perColumn / FRAMES_PER_COLUMN), FFT_SIZE / 4);
    this.edges = bandEdges(rate);
    this.window = Float32Array.from({ length: FFT_SIZE }, (_, i) => hann(i));
    this.kept = new Float32Array(0);
    this.first = 0; // number of the first sample that is kept
    this.next = 0; // where the next frame begins
    this.column = new Float32Array(BANDS);
    this.number = 0; // of the column that is being filled
    this.frame = { real: new Float32Array(FFT_SIZE), imaginary: new Float32Array(FFT_SIZE) };
  }

  /** Take the next samples and give the columns that are complete, BANDS bytes each. */
  push(samples) {
    const joined = new Float32Array(this.kept.length + samples.length);
    joined.set(this.kept);
    joined.set(samples, this.kept.length);
    const columns = [];
    const end = this.first + joined.length;
    for (; this.next + FFT_SIZE <= end; this.next += this.stride) {
      while (this.next >= (this.number + 1) * this.perColumn) columns.push(this.finished());
      this.see(joined.subarray(this.next - this.first));
    }
    const needed = Math.min(joined.length, Math.max(0, this.next - this.first));
    this.kept = joined.slice(needed);
    this.first += needed;
    return columns;
  }

  /** Give the last column. */
  close() {
    return [this.finished()];
  }

  finished() {
    const bytes = Uint8Array.from(this.column, (power) => {
      const decibels = 10 * Math.log10(power + 1e-12);
      const shade = (decibels - QUIETEST) / (LOUDEST - QUIETEST);
      return 255 * Math.min(1, Math.max(0, shade));
    });
    this.column.fill(0);
    this.number++;
    return bytes;
  }

  /** Add the loudest of a frame's bins in each band to the column. */
  see(samples) {
    const { real, imaginary } = this.frame;
    for (let i = 0; i < FFT_SIZE; i++) real[i] = samples[i] * this.window[i];
    imaginary.fill(0);
    transform(real, imaginary);
    const scale = (4 / FFT_SIZE) ** 2; // a sine of full scale has the power 1
    for (let band = 0; band < BANDS; band++) {
      for (let bin = this.edges[band]; bin < this.edges[band + 1]; bin++) {
        const power = scale * (real[bin] ** 2 + imaginary[bin] ** 2);
        if (power > this.column[band]) this.column[band] = power;
      }
    }
  }
}

function hann(i) {
  return 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FFT_SIZE);
}

/** First bin of each band, evenly spaced in mel up to the Nyquist frequency; none is empty. */
function bandEdges(rate) {
  const most = mel(rate / 2);
  const edges = [0];
  for (let band = 1; band <= BANDS; band++) {
    const hertz = 700 * (10 ** ((most * band) / BANDS / 2595) - 1);
    edges.push(Math.max(edges[band - 1] + 1, Math.round((hertz / rate) * FFT_SIZE)));
  }
  return edges;
}

function mel(hertz) {
  return 2595 * Math.log10(1 + hertz / 700);
}

/** Fourier transform in place, by halves. */
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j], imaginary[i], imaginary[j]] =
      [real[j], real[i], imaginary[j], imaginary[i]];
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k++) {
      const angle = (-Math.PI * k) / half;
      const cos = Math.cos(angle);
      const sin = Math.sin(angle);
      for (let i = k; i < size; i += 2 * half) {
        const j = i + half;
        const re = real[j] * cos - imaginary[j] * sin;
        const im = real[j] * sin + imaginary[j] * cos;
        real[j] = real[i] - re;
        imaginary[j] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}
