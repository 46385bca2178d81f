import { createRoot } from "react-dom/client";
import { DropZone } from "./DropZone.jsx";
import "./style.css";

createRoot(document.getElementById("root")).render(<DropZone onUploaded={(file) => console.log("uploaded", file.url)} />);
