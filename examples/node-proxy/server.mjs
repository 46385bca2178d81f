// A backend that answers /api/uploadkit itself, as createUploadKitHandler does: the page asks here, the API key stays on this server,
// and the bytes go straight from the page to the store. Nothing to install.
//
//     UPLOADKIT_API_KEY=uk_live_... node server.mjs

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const appliance = process.env.UPLOADKIT_URL ?? "http://127.0.0.1:8080";
const apiKey = process.env.UPLOADKIT_API_KEY;
const port = Number(process.env.PORT ?? 3000);
const page = readFileSync(new URL("index.html", import.meta.url), "utf8").replaceAll("http://127.0.0.1:8080", appliance);

if (!apiKey) throw new Error("Set UPLOADKIT_API_KEY");

// What your app allows, by file route: who may upload, and what you vouch for. Throw to refuse.
const routes = {
  default: (request) => ({ userId: userOf(request) }),
};

// In earnest: from your session.
function userOf(request) {
  return "ann";
}

// What the page asks for → what the appliance is asked for (POST, where nothing else is said).
const actions = {
  "request-upload": (asked, begin) => ["/upload/request", begin],
  "upload-complete": ({ fileId }) => ["/upload/complete", { fileId }],
  "upload-abort": ({ fileId }) => [`/files/${begun.get(fileId).key}`, null, "DELETE"], // to delete what is under way is to abort it
  "multipart-init": (asked, begin) => ["/upload/multipart/init", begin],
  "multipart-parts": ({ fileId, uploadId, partNumbers }) => ["/upload/multipart/parts", { fileId, uploadId, partNumbers }],
  "multipart-complete": ({ fileId, uploadId, parts }) => ["/upload/multipart/complete", { fileId, uploadId, parts }],
  "multipart-abort": ({ fileId, uploadId }) => ["/upload/multipart/abort", { fileId, uploadId }],
};

// Of each fileId whose upload it is, by which file route, its key, and whether it may be complete. Without it, whoever knows an id could ask about anybody's file. In earnest: your table.
const begun = new Map();

async function handleUpload(request, response, slug) {
  const allow = Object.hasOwn(routes, slug) ? routes[slug] : null;
  // Other sites' pages can't send this type without asking first.
  if (!request.headers["content-type"]?.startsWith("application/json")) return refuse(response, 415, "UNSUPPORTED_MEDIA_TYPE", "Send JSON");
  const asked = await jsonOf(request);
  if (asked === null) return refuse(response, 400, "VALIDATION_ERROR", "The body must be a JSON object of at most 1 MiB");
  if (!allow || !Object.hasOwn(actions, asked.action)) return refuse(response, 404, "NOT_FOUND", "No such file route or action");
  const { fileName, contentLength: fileSize, contentType, idempotencyKey } = asked;
  const metadata = allow(request); // what the page says in asked.metadata is left out: nobody vouches for it
  const owner = JSON.stringify([userOf(request), slug]);
  const begins = asked.action === "request-upload" || asked.action === "multipart-init";
  const mine = begun.get(asked.fileId);
  if (!begins && mine?.owner !== owner) return refuse(response, 404, "UPLOAD_NOT_FOUND", "There is no such upload of yours");
  if (asked.action === "upload-abort" && mine.isAskedFor) return refuse(response, 409, "CONFLICT", "This upload may be complete");
  if (asked.action === "upload-complete") mine.isAskedFor = true;
  const begin = { fileName, fileSize, contentType: contentType || "application/octet-stream", routeSlug: slug, metadata };
  const [path, body, method = "POST"] = actions[asked.action](asked, begin);
  const headers = { "x-api-key": apiKey, "Content-Type": "application/json" };
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  const told = await fetch(`${appliance}/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
  const result = await told.json();
  if (told.headers.has("Retry-After")) response.setHeader("Retry-After", told.headers.get("Retry-After"));
  if (told.ok && begins) begun.set(result.fileId, { owner, key: result.key, isAskedFor: false });
  answer(response, told.status, told.ok ? asPageKnows(asked.action, result) : { error: { ...result.error, code: codes[result.error.code] ?? result.error.code } });
}

// Pages know one code for a wrong type, as the browser endpoint has it.
const codes = { FILE_TYPE_NOT_ALLOWED: "INVALID_FILE_TYPE" };

// What pages are told where the appliance tells backends something else.
function asPageKnows(action, result) {
  if (action === "upload-abort") return { aborted: true };
  if (action.endsWith("-complete")) return { ok: true, file: asPageNames(result), url: result.url };
  if (action === "request-upload") delete result.headers["Content-Length"]; // browsers set it themselves
  return result;
}

// The names that pages know a file by.
function asPageNames({ id, key, fileName, fileSize, contentType, url, status, metadata, createdAt, updatedAt }) {
  return { id, key, name: fileName, size: fileSize, type: contentType, url, status, metadata, createdAt, updatedAt };
}

async function jsonOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    chunks.push(chunk);
    if ((size += chunk.length) > 1024 * 1024) return null;
  }
  try {
    const body = JSON.parse(Buffer.concat(chunks).toString());
    return body && typeof body === "object" ? body : null;
  } catch {
    return null;
  }
}

function answer(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

function refuse(response, status, code, message) {
  answer(response, status, { error: { code, message } });
}

const server = createServer((request, response) => {
  const slug = /^\/api\/uploadkit\/([\w-]+)$/.exec(request.url)?.[1];
  if (request.method === "POST" && slug) {
    handleUpload(request, response, slug).catch((error) => refuse(response, 502, "BAD_GATEWAY", error.message));
  } else {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(page);
  }
});
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
