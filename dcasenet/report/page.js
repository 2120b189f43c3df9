"use strict";
(() => {
  // What the page shows lies in it as JSON; text enters the document by textContent alone.
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const meta = read("meta");
  const rows = read("rows");
  const PAGE_SIZE = 50;
  const GUTTER = 118;
  const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5fc4",
    "#8c564b", "#2f9e9e", "#b0457b", "#6b8e23", "#7f7f7f"];
  const MAGMA = [[0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122],
    [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191]];
  const state = { sort: "index", down: false, page: 0, filter: "", open: null };

  const el = (tag, props = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
      else if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const percent = (p) => (p === null || p === undefined ? "" : p.toFixed(3));
  const seconds = (s) => s.toFixed(2);
  const clock = (s) => {
    const whole = Math.floor(s), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60;
    const two = (n) => String(n).padStart(2, "0");
    return (h ? `${h}:${two(m)}` : String(m)) + ":" + two(whole % 60);
  };
  const count = (n, what) => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`;

  // ---- the table of recordings -------------------------------------------------------------

  const shortName = (row) => row.name.slice(row.name.startsWith(meta.folder) ? meta.folder.length : 0);
  const COLUMNS = [
    { key: "index", title: "#", number: true, value: (r) => r.index, text: (r) => String(r.index + 1) },
    { key: "name", title: "Recording", value: (r) => r.name.toLowerCase(), text: (r) => shortName(r) },
    { key: "duration", title: "Seconds", number: true, value: (r) => r.duration ?? -1,
      text: (r) => (r.duration === null ? "" : seconds(r.duration)) },
    { key: "scene", title: "Scene", value: (r) => (r.scene ? r.scene[0][0] : ""), cell: sceneCell },
    { key: "p", title: "p", number: true, value: (r) => (r.scene ? r.scene[0][1] : -1),
      text: (r) => (r.scene ? percent(r.scene[0][1]) : "") },
    { key: "tag", title: "Tags", value: (r) => (r.tags && r.tags.length ? r.tags[0][0] : ""),
      text: (r) => (r.tags || []).slice(0, 3).map((t) => `${t[0]} ${t[1].toFixed(2)}`).join(", ") },
    { key: "events", title: "Events", number: true, value: (r) => (r.events ? r.events.length : -1),
      text: (r) => (r.events ? String(r.events.length) : "") },
    { key: "notes", title: "Notes", value: (r) => (r.error ? 2 : r.warnings.length ? 1 : 0), cell: notesCell },
  ];
  const shown = COLUMNS.filter((c) =>
    (c.key !== "scene" && c.key !== "p") || meta.tasks.includes("scene")).filter((c) =>
    c.key !== "tag" || meta.tasks.includes("tag")).filter((c) =>
    c.key !== "events" || meta.tasks.includes("event"));

  function sceneCell(row) {
    if (!row.scene) return [];
    if (row.sure) return [row.scene[0][0]];
    return [el("span", { className: "unsure", textContent: "not sure" }), ` (${row.scene[0][0]})`];
  }
  function notesCell(row) {
    if (row.error) return [el("span", { className: "error", textContent: row.error })];
    const notes = row.warnings.length ? [count(row.warnings.length, "warning")] : [];
    if (!row.sure && !row.scene) notes.push("not sure");
    return [el("span", { className: "unsure", textContent: notes.join(", ") })];
  }

  rows.forEach((row, index) => { row.index = index; });
  const haystack = (row) => (row.haystack ??= [row.name, row.error || "", row.sure ? "" : "not sure",
    ...(row.scene ? [row.scene[0][0]] : []), ...(row.tags || []).map((t) => t[0]),
    ...new Set((row.events || []).map((e) => e[0]))].join("\n").toLowerCase());

  function selection() {
    const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => words.every((word) => haystack(row).includes(word)));
    const column = COLUMNS.find((c) => c.key === state.sort) || COLUMNS[0];
    const sign = state.down ? -1 : 1;
    return found.sort((a, b) => {
      const x = column.value(a), y = column.value(b);
      return (x < y ? -sign : x > y ? sign : 0) || a.index - b.index;
    });
  }

  function drawTable() {
    const found = selection();
    const pages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const head = el("tr", {}, ...shown.map((column) => {
      const sorted = column.key === state.sort ? (state.down ? "descending" : "ascending") : "none";
      return el("th", { "aria-sort": sorted, scope: "col", className: column.number ? "number" : "" },
        el("button", { type: "button", textContent: column.title, on: { click: () => {
          state.down = column.key === state.sort ? !state.down : Boolean(column.number && column.key !== "index");
          state.sort = column.key; state.page = 0; show();
        } } }));
    }));
    const page = found.slice(state.page * PAGE_SIZE, (state.page + 1) * PAGE_SIZE);
    const body = page.map((row) => el("tr", {
      tabIndex: 0, "aria-selected": String(row.index === state.open),
      on: {
        click: () => { state.open = row.index; show(); },
        keydown: (event) => { if (event.key === "Enter") { state.open = row.index; show(); } },
      },
    }, ...shown.map((column) => el("td", { className: column.number ? "number" : column.key },
      ...(column.cell ? column.cell(row) : [column.text(row)])))));
    document.querySelector("#files thead").replaceChildren(head);
    document.querySelector("#files tbody").replaceChildren(...body);
    const of = found.length === rows.length ? "" : ` of ${rows.length.toLocaleString("en-US")}`;
    document.getElementById("found").textContent = count(found.length, "recording") + of;
    document.getElementById("page").textContent = `page ${state.page + 1} of ${pages}`;
    for (const [id, page] of [["first", 0], ["back", state.page - 1], ["next", state.page + 1], ["last", pages - 1]]) {
      const button = document.getElementById(id);
      button.disabled = page < 0 || page >= pages || page === state.page;
      button.onclick = () => { state.page = page; show(); };
    }
    document.getElementById("pager").hidden = pages === 1;
  }

  // ---- one recording -----------------------------------------------------------------------

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

  // A detail is deflated: the length of a JSON header, the header, and the arrays that it lists.
  async function detailOf(row) {
    const holder = document.getElementById(`d${row.index}`);
    if (!holder) return null;
    if (typeof DecompressionStream === "undefined") {
      throw new Error("This browser is too old to unpack the pictures (it lacks DecompressionStream).");
    }
    const packed = new Blob([bytes(holder.textContent)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(packed).arrayBuffer();
    const length = new DataView(buffer).getUint32(0, true);
    const detail = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let offset = 4 + length;
    for (const [name, shape] of Object.entries(detail.arrays)) {
      const size = shape.reduce((a, b) => a * b, 1);
      detail[name] = { shape, data: new Uint8Array(buffer, offset, size) };
      offset += size;
    }
    return detail;
  }

  let player = null;
  let blobUrl = null;
  let drawing = 0;

  async function drawDetail() {
    const place = document.getElementById("detail");
    const row = rows[state.open];
    const mine = ++drawing;
    if (blobUrl) { URL.revokeObjectURL(blobUrl); blobUrl = null; }
    if (player) { player.pause(); player = null; }
    place.hidden = !row;
    if (!row) return;
    place.dataset.ready = "";
    place.replaceChildren(el("h2", { textContent: shortName(row), title: row.name }));
    if (row.error) {
      place.append(el("p", { className: "error", textContent: row.error }));
      place.dataset.ready = String(row.index);
      return;
    }
    const parts = [`${seconds(row.duration)} s`];
    if (row.scene) parts.push(row.sure ? `scene: ${row.scene[0][0]} ${percent(row.scene[0][1])}` : `scene: not sure (${row.scene[0][0]} ${percent(row.scene[0][1])})`);
    if (row.familiarity !== null) parts.push(`familiarity ${percent(row.familiarity)}`);
    place.append(el("div", { className: "note", textContent: parts.join(" · ") }));
    const problem = el("div", { className: "error" });
    const audio = audioOf(row, problem);
    if (audio) place.append(audio);
    place.append(problem);
    player = audio;
    let detail = null;
    try { detail = await detailOf(row); } catch (error) { problem.textContent = error.message; }
    if (mine !== drawing) return;
    if (detail) place.append(...tracks(row, detail, audio));
    if (row.warnings.length) {
      place.append(el("ul", { className: "warnings" }, ...row.warnings.map((text) => el("li", { textContent: text }))));
    }
    place.append(el("div", { className: "columns" },
      row.events && el("div", {}, el("h3", { textContent: "Events" }), eventTable(row, audio)),
      row.tags && el("div", {}, el("h3", { textContent: "Tags" }), meters(row.tags)),
      row.scene && el("div", {}, el("h3", { textContent: "Scenes" }), meters(row.scene))));
    place.dataset.ready = String(row.index);
  }

  function audioOf(row, problem) {
    if (!row.audio) {
      problem.textContent = "The sound of this recording is not in the page.";
      problem.className = "note";
      return null;
    }
    const audio = el("audio", { controls: true, preload: "metadata" });
    audio.addEventListener("error", () => {
      problem.textContent = row.audio.link
        ? `The recording cannot be played from ${row.audio.link}: it must lie where it lay when this page was made, in a format that the browser plays.`
        : "This browser cannot play FLAC.";
    });
    if (row.audio.link) audio.src = row.audio.link;
    else {
      const holder = document.getElementById(`a${row.index}`);
      blobUrl = URL.createObjectURL(new Blob([bytes(holder.textContent)], { type: "audio/flac" }));
      audio.src = blobUrl;
    }
    return audio;
  }

  function eventTable(row, audio) {
    if (!row.events.length) return el("p", { className: "note", textContent: "None above its threshold." });
    const head = el("tr", {}, ...["Label", "Onset (s)", "Offset (s)", "p"].map((title, i) =>
      el("th", { scope: "col", className: i ? "number" : "", textContent: title })));
    const body = row.events.map(([label, onset, offset, p]) => el("tr", {
      on: { click: () => { if (audio) { audio.currentTime = onset; audio.play(); } } },
    }, el("td", { textContent: label }), ...[seconds(onset), seconds(offset), percent(p)].map((text) =>
      el("td", { className: "number", textContent: text }))));
    return el("div", { className: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
  }

  function meters(scored) {
    return el("table", {}, el("tbody", {}, ...scored.map(([label, p]) => {
      const fill = el("i");
      fill.style.width = `${100 * p}%`;
      return el("tr", {}, el("td", { textContent: label }), el("td", { className: "number", textContent: percent(p) }),
        el("td", {}, el("div", { className: "meter" }, fill)));
    })));
  }

  // ---- the tracks on one time axis ---------------------------------------------------------

  function tracks(row, detail, audio) {
    const view = { from: 0, to: Math.max(row.duration, 1e-3) };
    const hidden = new Set();
    const labels = [...new Set([...(detail.labels || []), ...(row.events || []).map((e) => e[0])])];
    const color = (label) => COLORS[labels.indexOf(label) % COLORS.length];
    const eventLabels = [...new Set((row.events || []).map((e) => e[0]))];
    const heights = { wave: 64, mel: 150, curves: detail.curves ? 130 : 0,
      events: row.events ? Math.max(1, eventLabels.length) * 18 + 8 : 0,
      scenes: detail.scenes ? 34 : 0, axis: 30 };
    const order = ["wave", "mel", "curves", "events", "scenes", "axis"].filter((name) => heights[name]);
    const tops = {};
    let height = 0;
    for (const name of order) { tops[name] = height; height += heights[name] + 8; }
    const base = el("canvas"), over = el("canvas", { className: "over", tabIndex: 0,
      "aria-label": "Waveform, spectrogram, probabilities and events over time. Left and right move the position, plus and minus zoom." });
    const box = el("div", { className: "tracks" }, base, over);
    const readout = el("span", { className: "note" });
    const melImage = paintMel(detail.mel);

    const width = () => base.clientWidth;
    const xOf = (time) => GUTTER + (time - view.from) / (view.to - view.from) * (width() - GUTTER);
    const timeOf = (x) => view.from + (x - GUTTER) / (width() - GUTTER) * (view.to - view.from);

    function prepare(canvas) {
      const ratio = window.devicePixelRatio || 1;
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width() * ratio);
      canvas.height = Math.round(height * ratio);
      const context = canvas.getContext("2d");
      context.scale(ratio, ratio);
      context.font = "12px system-ui, sans-serif";
      return context;
    }

    function drawBase() {
      const style = getComputedStyle(document.documentElement);
      const ink = style.getPropertyValue("--ink"), soft = style.getPropertyValue("--soft"), line = style.getPropertyValue("--line");
      const c = prepare(base);
      const right = width();
      const name = (text, top, tall, sub) => {
        c.fillStyle = ink; c.textAlign = "left"; c.textBaseline = "middle";
        c.fillText(text, 0, top + tall / 2 - (sub ? 8 : 0), GUTTER - 40);
        if (sub) { c.fillStyle = soft; c.fillText(sub, 0, top + tall / 2 + 8, GUTTER - 40); }
      };
      const tick = (text, y) => { c.fillStyle = soft; c.textAlign = "right"; c.textBaseline = "middle"; c.fillText(text, GUTTER - 6, y); };
      const clipTo = (top, tall, draw) => { c.save(); c.beginPath(); c.rect(GUTTER, top, right - GUTTER, tall); c.clip(); draw(); c.restore(); };

      { // waveform
        const top = tops.wave, tall = heights.wave, [columns] = detail.wave.shape, data = detail.wave.data;
        name("Waveform", top, tall);
        clipTo(top, tall, () => {
          c.fillStyle = style.getPropertyValue("--accent");
          const scale = Math.max(detail.peak, 1e-6);
          for (let i = 0; i < columns; i++) {
            const x = xOf(i / columns * row.duration), next = xOf((i + 1) / columns * row.duration);
            if (next < GUTTER || x > right) continue;
            const low = (data[2 * i] - 128) / 127 * detail.peak / scale, high = (data[2 * i + 1] - 128) / 127 * detail.peak / scale;
            c.fillRect(x, top + tall / 2 * (1 - high), Math.max(next - x, 1), Math.max((high - low) * tall / 2, 1));
          }
        });
        tick(detail.peak.toFixed(2), top + 7);
        tick("−" + detail.peak.toFixed(2), top + tall - 7);
      }
      { // spectrogram
        const top = tops.mel, tall = heights.mel;
        name("Spectrogram", top, tall, "Hz, dB");
        clipTo(top, tall, () => {
          c.imageSmoothingEnabled = false;
          c.drawImage(melImage, xOf(0), top, xOf(row.duration) - xOf(0), tall);
        });
        const bands = detail.frequencies;
        for (const hertz of [250, 1000, 2000, 4000, 8000]) {
          const above = bands.findIndex((f) => f >= hertz);
          if (above > 0) {
            const at = above - 1 + (hertz - bands[above - 1]) / (bands[above] - bands[above - 1]) + .5;
            tick(hertz >= 1000 ? `${hertz / 1000}k` : String(hertz), top + tall * (1 - at / bands.length));
          }
        }
        for (let i = 0; i < 60; i++) { // the scale of the colors
          const [r, g, b] = magma(1 - i / 59);
          c.fillStyle = `rgb(${r},${g},${b})`;
          c.fillRect(GUTTER + 6, top + 6 + i, 8, 1.5);
        }
        c.fillStyle = "#fff"; c.textAlign = "left"; c.textBaseline = "middle";
        c.fillText("0 dB", GUTTER + 18, top + 11); c.fillText(`−${meta.dynamic_range}`, GUTTER + 18, top + 61);
      }
      if (heights.curves) {
        const top = tops.curves, tall = heights.curves, [n, columns] = detail.curves.shape;
        name("Probability", top, tall, "0 to 1");
        for (const [p, text] of [[0, "0"], [.5, "0.5"], [1, "1"]]) {
          const y = top + tall * (1 - p);
          c.strokeStyle = line; c.lineWidth = 1;
          c.beginPath(); c.moveTo(GUTTER, y); c.lineTo(right, y); c.stroke();
          tick(text, Math.min(Math.max(y, top + 6), top + tall - 6));
        }
        clipTo(top, tall, () => {
          for (let k = n - 1; k >= 0; k--) {
            const label = detail.labels[k];
            if (hidden.has(label)) continue;
            c.strokeStyle = color(label); c.lineWidth = 1.6; c.setLineDash([]);
            c.beginPath();
            for (let i = 0; i < columns; i++) {
              const y = top + tall * (1 - detail.curves.data[k * columns + i] / 255);
              const a = xOf(i * detail.step), b = xOf(Math.min((i + 1) * detail.step, row.duration));
              if (i) c.lineTo(a, y); else c.moveTo(a, y);
              c.lineTo(b, y);
            }
            c.stroke();
            c.lineWidth = 1; c.setLineDash([5, 4]); c.globalAlpha = .7;
            const y = top + tall * (1 - detail.thresholds[k]);
            c.beginPath(); c.moveTo(GUTTER, y); c.lineTo(right, y); c.stroke();
            c.globalAlpha = 1; c.setLineDash([]);
          }
        });
      }
      if (heights.events) {
        const top = tops.events, tall = heights.events;
        if (!eventLabels.length) {
          name("Events", top, tall);
          c.fillStyle = soft; c.fillText("none above its threshold", GUTTER + 6, top + tall / 2);
        }
        eventLabels.forEach((label, i) => {
          const y = top + 4 + i * 18;
          c.fillStyle = ink; c.textAlign = "left"; c.textBaseline = "middle";
          c.fillText(label, 0, y + 7, GUTTER - 8);
          clipTo(top, tall, () => {
            for (const [other, onset, offset, p] of row.events) {
              if (other !== label) continue;
              c.globalAlpha = hidden.has(label) ? .12 : .35 + .65 * p;
              c.fillStyle = color(label);
              c.fillRect(xOf(onset), y, Math.max(xOf(offset) - xOf(onset), 2), 14);
            }
            c.globalAlpha = 1;
          });
        });
      }
      if (heights.scenes) {
        const top = tops.scenes, tall = heights.scenes;
        name("Scene", top, tall);
        clipTo(top, tall, () => {
          detail.scenes.forEach(([from, to, label, p], i) => {
            const a = xOf(from), b = xOf(to);
            const known = detail.scene_labels.indexOf(label);
            c.globalAlpha = .25 + .6 * p; c.fillStyle = COLORS[(known + 3) % COLORS.length];
            c.fillRect(a, top, Math.max(b - a - 1, 1), tall);
            c.globalAlpha = 1;
            const before = detail.scenes[i - 1];
            if (b - a > 40 && (!before || before[2] !== label || b - a > 120)) {
              c.save(); c.beginPath(); c.rect(a, top, b - a, tall); c.clip();
              c.fillStyle = ink; c.textAlign = "left"; c.textBaseline = "middle";
              c.fillText(`${label} ${p.toFixed(2)}`, Math.max(a, GUTTER) + 5, top + tall / 2);
              c.restore();
            }
          });
        });
      }
      { // time axis
        const top = tops.axis;
        const span = view.to - view.from, most = Math.max(2, Math.floor((right - GUTTER) / 90));
        const step = niceStep(span / most);
        c.strokeStyle = line; c.fillStyle = soft; c.textAlign = "center"; c.textBaseline = "top"; c.lineWidth = 1;
        for (let t = Math.ceil(view.from / step) * step; t <= view.to + 1e-9; t += step) {
          const x = xOf(t);
          c.beginPath(); c.moveTo(x, top - 4); c.lineTo(x, top + 2); c.stroke();
          const text = row.duration >= 120 ? clock(t) : String(Math.round(t * 1000) / 1000);
          c.fillText(text, Math.min(Math.max(x, GUTTER + 8), right - 14), top + 4);
        }
        c.textAlign = "left"; c.fillStyle = ink;
        c.fillText(row.duration >= 120 ? "Time (min:s)" : "Time (s)", 0, top + 4);
      }
    }

    function drawOver(hover) {
      const c = prepare(over);
      const vertical = (time, style, dash) => {
        const x = xOf(time);
        if (x < GUTTER || x > width()) return;
        c.strokeStyle = style; c.setLineDash(dash); c.lineWidth = 1.2;
        c.beginPath(); c.moveTo(x, 0); c.lineTo(x, tops.axis); c.stroke();
      };
      if (audio) vertical(audio.currentTime, "#e5484d", []);
      if (hover !== null && hover !== undefined) {
        vertical(hover, "#8b959e", [3, 3]);
        const parts = [row.duration >= 120 ? clock(hover) : `${hover.toFixed(2)} s`];
        if (detail.curves) {
          const [n, columns] = detail.curves.shape;
          const at = Math.min(columns - 1, Math.floor(hover / detail.step));
          const values = detail.labels.map((label, k) => [label, detail.curves.data[k * columns + at] / 255]);
          parts.push(...values.sort((a, b) => b[1] - a[1]).slice(0, 4).map(([label, p]) => `${label} ${p.toFixed(2)}`));
        }
        readout.textContent = parts.join(" · ");
      }
    }

    function zoom(factor, center) {
      const middle = center ?? (audio && audio.currentTime > 0 ? audio.currentTime : (view.from + view.to) / 2);
      const span = Math.min(row.duration, Math.max((view.to - view.from) * factor, Math.min(.2, row.duration)));
      const share = (middle - view.from) / (view.to - view.from);
      view.from = Math.min(Math.max(0, middle - span * share), row.duration - span);
      view.to = view.from + span;
      drawBase(); drawOver();
    }
    function seek(time) {
      if (audio) audio.currentTime = Math.min(Math.max(0, time), row.duration);
      drawOver();
    }
    over.addEventListener("mousemove", (event) => {
      const time = timeOf(event.offsetX);
      drawOver(time >= view.from && time <= view.to ? time : null);
    });
    over.addEventListener("mouseleave", () => { readout.textContent = ""; drawOver(); });
    over.addEventListener("click", (event) => { if (event.offsetX >= GUTTER) seek(timeOf(event.offsetX)); });
    over.addEventListener("dblclick", () => { view.from = 0; view.to = row.duration; drawBase(); drawOver(); });
    over.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      zoom(event.deltaY + event.deltaX > 0 ? 1.25 : .8, timeOf(event.offsetX));
    }, { passive: false });
    over.addEventListener("keydown", (event) => {
      const now = audio ? audio.currentTime : 0, step = (view.to - view.from) / 50;
      const keys = { ArrowLeft: () => seek(now - step), ArrowRight: () => seek(now + step), "+": () => zoom(.6), "-": () => zoom(1.6),
        " ": () => audio && (audio.paused ? audio.play() : audio.pause()) };
      if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
    });
    if (audio) {
      const follow = () => { if (box.isConnected) { drawOver(); if (!audio.paused) requestAnimationFrame(follow); } };
      audio.addEventListener("play", follow);
      for (const name of ["seeked", "pause"]) audio.addEventListener(name, () => { if (box.isConnected) drawOver(); });
    }
    const redraw = () => { if (box.isConnected && width()) { drawBase(); drawOver(); } };
    new ResizeObserver(redraw).observe(box);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

    const legend = el("div", { className: "legend", "aria-label": "Curves" }, ...(detail.labels || []).map((label, k) => {
      const swatch = el("i");
      swatch.style.background = color(label);
      return el("button", { type: "button", "aria-pressed": "true", title: "Show or hide this curve", on: { click: (event) => {
        const button = event.currentTarget;
        if (hidden.delete(label)) button.setAttribute("aria-pressed", "true");
        else { hidden.add(label); button.setAttribute("aria-pressed", "false"); }
        redraw();
      } } }, swatch, `${label}`, el("span", { className: "note", textContent: `threshold ${detail.thresholds[k]}` }));
    }), detail.labels ? el("span", { className: "note", textContent: "dashed: threshold" }) : null);
    const controls = el("div", { className: "bar" }, readout, el("span", { className: "grow" }),
      el("button", { type: "button", textContent: "−", title: "Zoom out", on: { click: () => zoom(1.6) } }),
      el("button", { type: "button", textContent: "+", title: "Zoom in (also Ctrl and the wheel)", on: { click: () => zoom(.6) } }),
      el("button", { type: "button", textContent: "Fit", title: "The whole recording", on: { click: () => { view.from = 0; view.to = row.duration; redraw(); } } }));
    return [controls, box, legend];
  }

  const niceStep = (least) => {
    for (const step of [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400]) {
      if (step >= least) return step;
    }
    return 86400;
  };
  function magma(share) {
    const at = Math.min(Math.max(share, 0), 1) * (MAGMA.length - 1), low = Math.min(Math.floor(at), MAGMA.length - 2);
    return MAGMA[low].map((value, i) => Math.round(value + (MAGMA[low + 1][i] - value) * (at - low)));
  }
  function paintMel(mel) {
    const [bands, columns] = mel.shape;
    const canvas = el("canvas", { width: columns, height: bands });
    const context = canvas.getContext("2d"), image = context.createImageData(columns, bands);
    const palette = Array.from({ length: 256 }, (_, i) => magma(i / 255));
    for (let band = 0; band < bands; band++) {
      for (let i = 0; i < columns; i++) {
        const [r, g, b] = palette[mel.data[band * columns + i]];
        image.data.set([r, g, b, 255], 4 * ((bands - 1 - band) * columns + i));
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  // ---- state ↔ address ---------------------------------------------------------------------

  function show() {
    const query = new URLSearchParams();
    if (state.sort !== "index" || state.down) query.set("sort", (state.down ? "-" : "") + state.sort);
    if (state.page) query.set("page", state.page + 1);
    if (state.filter) query.set("find", state.filter);
    if (state.open !== null) query.set("open", state.open + 1);
    history.replaceState(null, "", `#${query}`);
    drawTable();
    if (show.last !== state.open) { show.last = state.open; drawDetail(); }
  }
  function fromAddress() {
    const query = new URLSearchParams(location.hash.slice(1));
    const sort = query.get("sort") || "index";
    state.down = sort.startsWith("-");
    state.sort = sort.replace(/^-/, "");
    state.page = (Number.parseInt(query.get("page"), 10) || 1) - 1;
    state.filter = query.get("find") || "";
    const open = Number.parseInt(query.get("open"), 10) - 1;
    state.open = rows[open] ? open : rows.length === 1 ? 0 : null;
    document.getElementById("find").value = state.filter;
    show();
  }
  document.getElementById("find").addEventListener("input", (event) => {
    state.filter = event.target.value; state.page = 0; show();
  });
  window.addEventListener("hashchange", fromAddress);
  document.getElementById("provenance").textContent = JSON.stringify(meta.provenance, null, 2);
  document.getElementById("summary").textContent = meta.summary;
  fromAddress();
})();
