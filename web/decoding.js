/** A file becomes blocks of mono samples at its own rate, however long it is. */

import { ALL_FORMATS, AudioSampleSink, BlobSource, Input } from "./vendor/mediabunny.min.mjs";

const LONGEST_FLAC_FRAME = 65536; // samples
const LONGEST_WHOLE = 1800; // seconds that are decoded at once: about 0.7 GB of stereo at 48 kHz

/**
 * Open a recording, to be decoded piece by piece.
 *
 * @param {File} file Sound or video in any container and codec that the browser decodes.
 * @param {(file: File) => Promise<{rate: number, samples: Float32Array}>} decodeWhole Decodes a
 *   file at once, by what pages have and workers have not.
 * @returns {Promise<{rate: number, duration: number, blocks: AsyncIterable<Float32Array>}>}
 *   `duration`, in seconds, is what the file claims.
 * @throws {Error} It has no sound, or a codec that this browser lacks.
 */
export async function opened(file, decodeWhole) {
  const input = new Input({ formats: ALL_FORMATS, source: new BlobSource(file) });
  if (!(await input.canRead())) {
    throw new Error(`${file.name} is not a recording in a format that this page reads.`);
  }
  const track = await input.getPrimaryAudioTrack();
  if (!track) throw new Error(`${file.name} holds no sound.`);
  const codec = (await track.getCodec()) ?? "an unknown codec";
  const duration = (await track.getDurationFromMetadata()) ?? (await track.computeDuration());
  if (!(await track.canDecode())) return whole(file, codec, duration, decodeWhole);
  const samples = new AudioSampleSink(track).samples();
  const first = await samples.next();
  if (first.done) throw new Error(`${file.name} holds no samples.`);
  // The decoder's rate, not the container's: AAC may be of twice the rate that its header states.
  const rate = first.value.sampleRate;
  const end = Math.round(duration * rate);
  return { rate, duration, blocks: trimmed(blocksOf(first.value, samples), end, codec) };
}

/** Decode a file that cannot be decoded piece by piece, as in browsers without WebCodecs. */
async function whole(file, codec, duration, decodeWhole) {
  const isKnown = "AudioDecoder" in self;
  if (!isKnown && duration > LONGEST_WHOLE) {
    throw new Error(
      `${file.name} is too long for this browser, which lacks WebCodecs: without it, WAV files ` +
        `may be of any length, others of up to ${LONGEST_WHOLE / 60} minutes.`,
    );
  }
  try {
    if (duration > LONGEST_WHOLE) throw new Error("too long to be decoded at once");
    const { rate, samples } = await decodeWhole(file);
    return { rate, duration: samples.length / rate, blocks: piecesOf(samples, rate) };
  } catch (error) {
    throw new Error(`${file.name} is in ${codec}, which this browser does not decode.`, {
      cause: error,
    });
  }
}

async function* piecesOf(samples, size) {
  for (let at = 0; at < samples.length; at += size) yield samples.subarray(at, at + size);
}

async function* blocksOf(sample, samples) {
  try {
    for (let next = { value: sample }; !next.done; next = await samples.next()) {
      const { timestamp, sampleRate } = next.value;
      const mono = mixed(next.value);
      next.value.close();
      // What lies before 0 is the codec's own run-in.
      const early = Math.max(0, Math.round(-timestamp * sampleRate));
      if (early < mono.length) yield mono.subarray(early);
    }
  } finally {
    await samples.return(); // lets go of the decoder if the file was not read to its end
  }
}

/**
 * Cut the last block at the end that the file claims: codecs fill their last block up. A claim that
 * whole blocks follow is wrong, and nothing is cut.
 */
async function* trimmed(blocks, end, codec) {
  let position = 0;
  let surplus = null;
  for await (const block of blocks) {
    if (surplus) yield surplus;
    const cut = end - position;
    surplus = cut > 0 && cut < block.length ? block.subarray(cut) : null;
    yield surplus ? block.subarray(0, cut) : block;
    position += block.length;
  }
  // Mediabunny passes over a last FLAC frame of under 16 bytes, which holds nothing but silence.
  const left = end - position;
  if (codec === "flac" && left > 0 && left < LONGEST_FLAC_FRAME) yield new Float32Array(left);
}

/** Average the channels. */
function mixed(sample) {
  const { numberOfChannels: channels, numberOfFrames: frames } = sample;
  const mono = new Float32Array(frames);
  const plane = new Float32Array(frames);
  for (let planeIndex = 0; planeIndex < channels; planeIndex++) {
    sample.copyTo(plane, { planeIndex, format: "f32-planar" });
    for (let i = 0; i < frames; i++) mono[i] += plane[i];
  }
  if (channels > 1) for (let i = 0; i < frames; i++) mono[i] /= channels;
  return mono;
}
