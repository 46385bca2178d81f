"""A page with many files."""

from __future__ import annotations

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module">
import { createUploader } from "./uploadkit.js";
// After so many answers it refuses for so many seconds, however long the answers took: {answers, seconds}.
window.limited = ({ answers, seconds }) => {
  let given = 0, until = 0;
  window.refused = 0;
  return async (url, init) => {
    const now = Date.now();
    if (until && now >= until) given = until = 0;
    if (given >= answers) {
      refused++;
      until ||= now + seconds * 1000;
      const headers = { "Retry-After": Math.ceil((until - now) / 1000) };
      return new Response(JSON.stringify({ error: { code: "RATE_LIMITED", message: "Too many" } }), { status: 429, headers });
    }
    given++;
    return fetch(url, init);
  };
};
window.run = (endpoint, sizes, { limit, route, ...options } = {}) => {
  const uploader = createUploader({ endpoint, retrySeconds: 2, ...options, ...(limit && { request: limited(limit) }) });
  window.control = new AbortController();
  const files = sizes.map((size, at) => new File([new Uint8Array(size).fill(at + 1)], `file ${at}.bin`, { lastModified: 1 }));
  window.now = { ends: [], done: false };
  window.all = Promise.all(files.map((file) => uploader.upload(file, { route, signal: control.signal }).then(
    (done) => { now.ends.push({ status: done.status }); },
    ({ code, message, suggestion }) => { now.ends.push({ code, message, suggestion }); },
  ))).then(() => { now.done = true; });
};
window.ready = true;
</script>"""
