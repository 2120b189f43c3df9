/** One recording, or one use of the microphone, from samples to what the page shows of it. */

import { Resampler } from "./resampler.js";
import { Spectrogram } from "./spectrogram.js";
import { Stream } from "./stream.js";

const LOOK = 0.5; // seconds from one look at what is under way to the next

export class Job {
  /**
   * @param {Spec} spec The model's.
   * @param {Function} infer What answers its windows.
   * @param {number} rate Of the samples that come, in Hz.
   * @param {number} column Seconds that a column of the spectrogram spans.
   * @param {boolean} isLive Whether it has no end yet.
   */
  constructor(spec, infer, rate, column, isLive) {
    this.rate = rate;
    this.isLive = isLive;
    this.received = 0;
    this.resampler = new Resampler(rate, spec.rate);
    this.stream = new Stream(spec, infer, spec.grids(isLive));
    this.spectrogram = new Spectrogram(spec.rate, column);
    this.columns = [];
    this.reported = { scene: 0, tag: 0, event: 0 };
    this.looked = 0;
    this.isEnding = false;
  }

  /** Take the next mono samples. */
  async push(block) {
    this.received += block.length;
    const samples = this.resampler.push(block);
    this.columns.push(...this.spectrogram.push(samples));
    await this.stream.push(samples);
  }

  /** Tell whether it is time to look at what is under way, and look. */
  async preview() {
    if (this.stream.duration < this.looked + LOOK) return null;
    this.looked = this.stream.duration;
    return this.stream.preview();
  }

  /** Answer what is left. */
  async end() {
    if (!this.received) return;
    const samples = this.resampler.close();
    this.columns.push(...this.spectrogram.push(samples), ...this.spectrogram.close());
    await this.stream.push(samples);
    await this.stream.close(this.received, this.rate);
  }

  /** Give what is new since the last report. */
  news() {
    const columns = this.columns.splice(0);
    const { scene, tag } = this.stream.windows;
    const news = {
      seconds: this.received / this.rate,
      columns,
      scene: scene.slice(this.reported.scene),
      tag: tag.slice(this.reported.tag),
      events: this.stream.events.slice(this.reported.event),
    };
    this.reported = { scene: scene.length, tag: tag.length, event: this.stream.events.length };
    return news;
  }

  /** Give the whole answer. */
  result() {
    const { stream } = this;
    return {
      duration: this.received / this.rate,
      scene: stream.pooled("scene"),
      tag: stream.pooled("tag"),
      events: stream.events,
      familiarity: stream.familiarity,
      isSure: stream.isSure(stream.familiarity),
    };
  }
}
