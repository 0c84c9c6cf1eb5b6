// Several forms of an answer in one response: each part has a name and says how long it is.
// Source: https://www.rfc-editor.org/rfc/rfc2046#section-5.1

const END = [13, 10, 13, 10];

// Undoes gzip, which browsers do by themselves and beside the page.
export function unpacked(buffer) {
  return new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
}

// From the bytes of a response to { name: bytes }.
export function readParts(buffer) {
  const bytes = new Uint8Array(buffer);
  const parts = {};
  for (let at = 0; ;) {
    const from = after(bytes, at);
    if (from < 0) return parts;
    const head = new TextDecoder().decode(bytes.subarray(at, from));
    const length = Number(head.match(/^Content-Length: (\d+)\r$/m)?.[1]);
    const name = head.match(/\bname="([^"]*)"/)?.[1];
    if (!name || Number.isNaN(length)) throw new Error('the server sent a part without a name or a length');
    parts[name] = buffer.slice(from, from + length);
    at = from + length + 2;
  }
}

// Where the blank line ends that closes a part's head; -1 if there is no further part.
function after(bytes, start) {
  for (let at = start; at + END.length <= bytes.length; at += 1) {
    if (END.every((one, step) => bytes[at + step] === one)) return at + END.length;
  }
  return -1;
}
