import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const appliance = process.env.UPLOADKIT_URL ?? "http://127.0.0.1:8080";

const mostFiles = 10_000; // with one upload token

// In the place of your backend: POST /upload-endpoint?files=3 makes an upload token. The API key never reaches the page.
const backend = {
  name: "backend",
  configureServer(server) {
    server.middlewares.use("/upload-endpoint", async (request, response) => {
      const files = Number(new URL(request.url ?? "", "http://here").searchParams.get("files") ?? 1);
      if (!Number.isInteger(files) || files < 1 || files > mostFiles) {
        return response.writeHead(400, { "Content-Type": "text/plain" }).end(`At most ${mostFiles} files can be uploaded at once`);
      }
      try {
        const answer = await fetch(`${appliance}/api/v1/upload-tokens`, {
          method: "POST",
          headers: { "x-api-key": process.env.UPLOADKIT_API_KEY ?? "", "Content-Type": "application/json" },
          body: JSON.stringify({ routeSlug: "default", metadata: { userId: "ann" }, maxFiles: files, expiresIn: 3600 }),
        });
        const told = await answer.json();
        const retryAfter = answer.headers.get("Retry-After");
        if (retryAfter) response.setHeader("Retry-After", retryAfter); // the page waits so long
        response.writeHead(answer.status, { "Content-Type": "text/plain" }).end(told.endpoint ?? told.error.message);
      } catch {
        response.writeHead(502, { "Content-Type": "text/plain" }).end("The appliance does not answer");
      }
    });
  },
};

export default defineConfig({
  plugins: [react(), backend],
  define: { __UPLOADKIT_URL__: JSON.stringify(appliance) },
  server: { port: Number(process.env.PORT ?? 5173), strictPort: true, host: "127.0.0.1" },
});
