import { useState } from "react";

// Our module comes from the appliance, so that both always fit. To have it in your bundle, copy it into src/ and import it from there.
const { createUploader } = await import(/* @vite-ignore */ `${__UPLOADKIT_URL__}/uploadkit.js`);

// All files that are dropped together have one upload token.
const uploader = createUploader({
  endpoint: ({ files }) => fetch(`/upload-endpoint?files=${files}`, { method: "POST" }),
  shareEndpoint: true,
});

/** The uploads of a component: `[{id, name, progress, file, error, cancel}]`, and a function that begins one. */
export function useUploads(onUploaded) {
  const [uploads, setUploads] = useState([]);

  async function begin(file) {
    const id = crypto.randomUUID();
    const control = new AbortController();
    const change = (news) => setUploads((all) => all.map((one) => (one.id === id ? { ...one, ...news } : one)));
    setUploads((all) => [...all, { id, name: file.name, progress: 0, cancel: () => control.abort() }]);
    try {
      const onProgress = (sent, total) => change({ progress: sent / total });
      const done = await uploader.upload(file, { onProgress, signal: control.signal });
      change({ file: done, progress: 1 });
      onUploaded?.(done);
    } catch (error) {
      change({ error: error.code === "ABORTED" ? "Cancelled" : error.message });
    }
  }

  return [uploads, begin];
}
