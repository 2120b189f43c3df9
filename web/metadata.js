/**
 * What an ONNX file says about itself.
 *
 * ONNX Runtime Web has no call for a model's metadata, so the two kinds of protobuf field that lead
 * to it are read here: `ModelProto.metadata_props` (field 14) holds entries of key (1) and value (2).
 */

const METADATA_PROPS = 14;
const KEY = 1;
const VALUE = 2;

/**
 * Give the metadata of an ONNX file.
 *
 * @param {Uint8Array} bytes The file.
 * @returns {Map<string, string>} Key → value.
 * @throws {Error} It is not an ONNX file.
 */
export function metadataOf(bytes) {
  const text = new TextDecoder();
  const metadata = new Map();
  for (const { field, content } of fieldsOf(bytes)) {
    if (field !== METADATA_PROPS) continue;
    const entry = new Map();
    for (const part of fieldsOf(content)) entry.set(part.field, text.decode(part.content));
    metadata.set(entry.get(KEY) ?? "", entry.get(VALUE) ?? "");
  }
  return metadata;
}

/** Give each field of a protobuf message; `content` is empty for numbers. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new Error("This is not an ONNX file: it ends within a field.");
      const byte = bytes[at++];
      value += (byte & 127) * scale; // not shifted: lengths may pass 31 bits
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    const size = { 0: () => (varint(), 0), 1: () => 8, 2: varint, 5: () => 4 }[tag % 8]?.();
    if (size === undefined || at + size > bytes.length) {
      throw new Error("This is not an ONNX file: a field has an impossible kind or length.");
    }
    yield { field, content: bytes.subarray(at, at + size) };
    at += size;
  }
}
