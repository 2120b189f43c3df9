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
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return async (samples, tasks) => {
    const waveform = repeated(samples, spec.shortest);
    const outputs = await session.run(
      { waveform: new ort.Tensor("float32", waveform, [1, waveform.length]) },
      tasks,
    );
    const answers = {};
    for (const task of tasks) answers[task] = probabilities(outputs[task], task);
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

function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
