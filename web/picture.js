/** Draws the spectrogram with the events below it, on one time axis. */

import { BANDS } from "./spectrogram.js";

const SPECTROGRAM_HEIGHT = 190; // CSS pixels, as all lengths here
const LANE_HEIGHT = 22;
const AXIS_HEIGHT = 24;
const LIVE_SPAN = 30; // seconds that are shown of the microphone
// Dark to light: shades of the loudness.
const SHADES = [[9, 6, 20], [66, 15, 90], [140, 41, 92], [214, 76, 59], [250, 158, 52], [252, 253, 191]];
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];

export class Picture {
  /** @param {HTMLCanvasElement} canvas Where to draw; its width is the page's. */
  constructor(canvas) {
    this.canvas = canvas;
    this.begin(null, 1);
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  /** Begin anew, with `duration` seconds, or null for the microphone, and seconds a column. */
  begin(duration, column) {
    const columns = Math.max(1, Math.ceil((duration ?? LIVE_SPAN) / column));
    Object.assign(this, { duration, column, columns, events: [], playhead: null, seconds: 0 });
    this.filled = 0;
    this.image = new OffscreenCanvas(columns, BANDS);
  }

  /** Take the columns that come next. */
  add(columns, seconds) {
    this.seconds = seconds;
    const context = this.image.getContext("2d");
    for (const bytes of columns) {
      // The microphone's picture is a ring; a file may be longer than its header says.
      if (this.duration === null || this.filled < this.columns) {
        context.putImageData(shaded(bytes), this.filled % this.columns, 0);
        this.filled++;
      }
    }
  }

  /** Seconds at the left and at the right edge. */
  get span() {
    if (this.duration !== null) return [0, Math.max(this.duration, 1e-3)];
    return [Math.max(0, this.seconds - LIVE_SPAN), Math.max(this.seconds, LIVE_SPAN)];
  }

  /** Seconds at a horizontal position of the page. */
  timeAt(clientX) {
    const { left, width } = this.canvas.getBoundingClientRect();
    const [from, to] = this.span;
    return from + ((to - from) * (clientX - left)) / width;
  }

  draw() {
    const { canvas } = this;
    const lanes = lanesOf(this.events, this.span);
    const width = canvas.parentElement.clientWidth;
    const height = SPECTROGRAM_HEIGHT + lanes.length * LANE_HEIGHT + AXIS_HEIGHT;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    const style = getComputedStyle(canvas);
    const colors = Object.fromEntries(
      ["text", "quiet", "line", "card"].map((name) => [name, style.getPropertyValue(`--${name}`)]),
    );
    this.drawSpectrogram(context, width);
    this.drawLanes(context, width, lanes, colors);
    this.drawAxis(context, width, height, colors);
    if (this.playhead !== null) {
      context.fillStyle = "#ffffff";
      context.fillRect(this.x(this.playhead, width) - 1, 0, 2, SPECTROGRAM_HEIGHT);
      context.fillStyle = colors.text;
      context.fillRect(this.x(this.playhead, width) - 1, SPECTROGRAM_HEIGHT, 2, height);
    }
  }

  x(seconds, width) {
    const [from, to] = this.span;
    return (width * (seconds - from)) / (to - from);
  }

  drawSpectrogram(context, width) {
    context.fillStyle = `rgb(${SHADES[0]})`;
    context.fillRect(0, 0, width, SPECTROGRAM_HEIGHT);
    const put = (first, count, at) => {
      if (!count) return;
      const from = this.x(at * this.column, width);
      const to = this.x((at + count) * this.column, width);
      context.drawImage(this.image, first, 0, count, BANDS, from, 0, to - from, SPECTROGRAM_HEIGHT);
    };
    const shown = Math.min(this.filled, this.columns);
    const oldest = this.filled - shown;
    const first = oldest % this.columns;
    const unbroken = Math.min(shown, this.columns - first);
    put(first, unbroken, oldest);
    put(0, shown - unbroken, oldest + unbroken);
  }

  drawLanes(context, width, lanes, colors) {
    lanes.forEach(({ label: name, events }, lane) => {
      const label = name.replaceAll("_", " ");
      const top = SPECTROGRAM_HEIGHT + lane * LANE_HEIGHT;
      context.fillStyle = colors.line;
      context.fillRect(0, top + LANE_HEIGHT - 1, width, 1);
      const color = colorOf(name);
      for (const { onset, offset, isEarly } of events) {
        const from = Math.max(0, this.x(onset, width));
        const length = Math.max(2, this.x(offset, width) - from);
        context.globalAlpha = isEarly ? 0.5 : 1;
        context.fillStyle = color;
        context.fillRect(from, top + 3, length, LANE_HEIGHT - 7);
        context.fillRect(from, 4 * lane + 1, length, 3); // its place on the spectrogram
        context.globalAlpha = 1;
      }
      const begin = Math.max(0, this.x(events[0].onset, width));
      const end = this.x(events[0].offset, width);
      const size = context.measureText(label).width;
      const isInside = end - begin > size + 10;
      const left = Math.max(2, Math.min((isInside ? begin : end) + 5, width - size - 5));
      if (!isInside) {
        // A rim, since later events of the lane may lie behind it.
        context.strokeStyle = colors.card;
        context.strokeText(label, left, top + LANE_HEIGHT / 2);
      }
      context.fillStyle = isInside ? "#ffffff" : colors.text;
      context.fillText(label, left, top + LANE_HEIGHT / 2);
    });
  }

  drawAxis(context, width, height, colors) {
    const [from, to] = this.span;
    const tick = TICKS.find((seconds) => (to - from) / seconds <= width / 80) ?? TICKS.at(-1);
    context.fillStyle = colors.quiet;
    context.textAlign = "center";
    for (let i = Math.ceil(from / tick); i * tick <= to; i++) {
      const x = this.x(i * tick, width);
      context.fillRect(x, height - AXIS_HEIGHT, 1, 4);
      const text = clock(i * tick, tick);
      const half = context.measureText(text).width / 2 + 3;
      context.fillText(text, Math.min(Math.max(x, half), width - half), height - AXIS_HEIGHT / 2 + 2);
    }
    context.textAlign = "left";
  }
}

/** Write seconds as 1:02:03 or, under a minute, with the decimals that a step needs. */
export function clock(seconds, step = 1) {
  const decimals = step < 1 ? 1 : 0;
  if (seconds < 60) return `${seconds.toFixed(decimals)} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

/** A color of its own for each label, the same every time, dark enough for white text. */
export function colorOf(label) {
  let hash = 0;
  for (const character of label) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return `hsl(${(hash * 137.508) % 360} 60% 42%)`;
}

function lanesOf(events, [from, to]) {
  const lanes = new Map();
  for (const event of events) {
    if (event.offset < from || event.onset > to) continue;
    if (!lanes.has(event.label)) lanes.set(event.label, []);
    lanes.get(event.label).push(event);
  }
  return [...lanes].map(([label, of]) => ({ label, events: of }));
}

function shaded(bytes) {
  const image = new ImageData(1, BANDS);
  bytes.forEach((value, band) => {
    const place = (value / 255) * (SHADES.length - 1);
    const shade = Math.min(Math.floor(place), SHADES.length - 2);
    const at = 4 * (BANDS - 1 - band); // low bands at the bottom
    for (let c = 0; c < 3; c++) {
      const [a, b] = [SHADES[shade][c], SHADES[shade + 1][c]];
      image.data[at + c] = a + (b - a) * (place - shade);
    }
    image.data[at + 3] = 255;
  });
  return image;
}
