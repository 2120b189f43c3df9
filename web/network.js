/** The network in ONNX Runtime Web: a window's waveform in, probabilities out. */

import * as ort from "./vendor/ort.wasm.bundle.min.mjs";
import { repeated } from "./windows.js";

const RUNTIME = new URL("./vendor/ort-wasm-simd-threaded.wasm.gz", import.meta.url);
// More threads than this gain little on networks of this size.
const MOST_THREADS = 4;

/**
 * Load an ONNX file into a function that answers windows.
 *
 * @param {Uint8Array} bytes The file.
 * @param {Spec} spec What it says about itself.
 * @returns {Promise<(samples: Float32Array, tasks: string[]) => Promise<object>>}
 */
export async function networkOf(bytes, spec) {
  ort.env.wasm.numThreads = threads();
  ort.env.wasm.wasmBinary ??= await unpacked(RUNTIME);
  const embedding = Object.keys(spec.values.members ?? {}).length ? "tag_embedding" : "embedding";
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return async (samples, tasks) => {
    const waveform = repeated(samples, spec.shortest);
    const nameOf = (task) => (task === "familiarity" ? embedding : task);
    const outputs = await session.run(
      { waveform: new ort.Tensor("float32", waveform, [1, waveform.length]) },
      tasks.map(nameOf),
    );
    const answers = {};
    for (const task of tasks) {
      const output = outputs[nameOf(task)];
      answers[task] =
        task === "familiarity" ? spec.familiarity.of(mean(output)) : probabilities(output, task);
    }
    return answers;
  };
}

/** Threads need memory that they share, which browsers give to isolated pages alone. */
export function threads() {
  return self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
}

/** The runtime lies compressed beside the page: any static host can serve it as it is. */
async function unpacked(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname} cannot be had: ${response.status}.`);
  const content = response.body.pipeThrough(new DecompressionStream("gzip"));
  return new Response(content).arrayBuffer();
}

function probabilities(tensor, task) {
  const size = tensor.dims.at(-1);
  if (task === "scene") return softmax(tensor.data);
  const values = tensor.data.map((logit) => 1 / (1 + Math.exp(-logit)));
  if (task === "tag") return values;
  return Array.from({ length: values.length / size }, (_, i) =>
    values.subarray(i * size, (i + 1) * size),
  );
}

/** The mean over the steps of a window's embedding. */
function mean({ data, dims }) {
  const size = dims.at(-1);
  const total = new Float64Array(size);
  data.forEach((value, i) => (total[i % size] += value));
  return total.map((sum) => (sum * size) / data.length);
}

function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
