import { useState } from "react";
import { useUploads } from "./useUploads.js";

/** Drop files here, or choose them. `onUploaded(file)` is called for each that has arrived. */
export function DropZone({ onUploaded }) {
  const [uploads, begin] = useUploads(onUploaded);
  const [isOver, setIsOver] = useState(false);

  const drop = (event) => {
    event.preventDefault();
    setIsOver(false);
    for (const file of event.dataTransfer.files) begin(file);
  };

  return (
    <main>
      <label
        className={isOver ? "zone over" : "zone"}
        onDragOver={(event) => { event.preventDefault(); setIsOver(true); }}
        onDragLeave={() => setIsOver(false)}
        onDrop={drop}
      >
        Drop files here, or click to choose
        <input type="file" multiple onChange={(event) => { for (const file of event.target.files) begin(file); event.target.value = ""; }} />
      </label>
      <ul>{uploads.map((upload) => <Upload key={upload.id} {...upload} />)}</ul>
    </main>
  );
}

function Upload({ name, progress, file, error, cancel }) {
  if (error) return <li>{name}: <span role="alert">{error}</span></li>;
  if (file) return <li><a href={file.url}>{name}</a></li>;
  return <li>{name} <progress value={progress} /> <button onClick={cancel}>Cancel</button></li>;
}
