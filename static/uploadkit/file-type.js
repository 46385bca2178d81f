// What a file is, by its first bytes.

/** @import { Rules } from "../uploadkit.js" */
import { UploadError, isStop } from "./errors.js";
import { HEAD_BYTES } from "./limits.js";

// First bytes that leave no doubt: media type (where they tell it), and what people call it. The appliance knows more, and decides.
/** @type {[RegExp, string, string][]} */
const SIGNATURES = [
  [/^.{4}ftyp(?:hei[cxms]|hev[cxms])/s, "image/heic", "a picture"],
  [/^.{4}ftypavi[fs]/s, "image/avif", "a picture"],
  [/^.{4}ftypM4[ABP] /s, "", "a sound recording"],
  [/^.{4}ftyp(?:isom|iso[2-9]|mp4[12]|avc1|M4V |qt  |3g[p2])/s, "", "a film"],
  [/^.{4}ftyp|^.{257}ustar/s, "", ""], // others, and archives that begin with a file's name
  [/^\xff\xd8\xff/, "image/jpeg", "a picture"],
  [/^\x89PNG\r\n\x1a\n/, "image/png", "a picture"],
  [/^GIF8[79]a/, "image/gif", "a picture"],
  [/^RIFF.{4}WEBP/s, "image/webp", "a picture"],
  [/^RIFF.{4}AVI |^\x1aE\xdf\xa3/s, "", "a film"],
  [/^RIFF.{4}WAVE|^ID3|^fLaC/s, "", "a sound recording"],
  [/^%PDF-/, "", "a PDF"],
  [/^PK\x03\x04|^Rar!\x1a\x07|^7z\xbc\xaf\x27\x1c|^\x1f\x8b\x08/, "", "an archive"],
  [/^\x7fELF/, "", "a program"],
  [/^\s{0,100}<(?:!doctype html|html)[\s>]/i, "", "a web page"],
];
// Declared types that are checked, and what people call such files.
/** @type {[RegExp, string][]} */
const CHECKED_TYPES = [
  [/^image\/(?:jpe?g|png|gif|webp|hei[cf]|avif)$/, "a picture"],
  [/^video\/(?:mp4|quicktime|webm|(?:x-)?matroska|ogg|mpeg|x-msvideo)$/, "a film"],
  [/^audio\/(?:mpeg|mp3|mp4|x-m4a|(?:x-)?wav|ogg|webm|flac|aac)$/, "a sound recording"],
  [/^application\/pdf$/, "a PDF"],
  [/^application\/(?:x-)?zip(?:-compressed)?$/, "an archive"],
];
const RECORDINGS = ["a film", "a sound recording"];
// Under these types, a picture of another kind is declared as what it is.
const PICTURE_TYPES = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/** Read a file's first bytes, so that nobody is asked to take what can't be sent. @param {File} file */
export async function readHead(file) {
  let head;
  try {
    head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  } catch (error) {
    throw new UploadError("FILE_UNREADABLE", "This can't be read. A folder can't be uploaded: choose the files in it", {
      suggestion: `The browser refused to read the first bytes (${error}): a folder, or a file that was changed, moved or deleted`,
    });
  }
  if (head.length > 0) return head;
  const suggestion = "The appliance takes no file of 0 bytes";
  throw new UploadError("FILE_EMPTY", "The file is empty: there is nothing to upload", { suggestion });
}

/** What first bytes leave no doubt about: media type and noun, "" where they don't tell. @param {Uint8Array} head */
function detect(head) {
  const text = Array.from(head.subarray(0, 512), (byte) => String.fromCharCode(byte)).join("");
  const [, type = "", noun = ""] = SIGNATURES.find(([pattern]) => pattern.test(text)) ?? [];
  return { type, noun };
}

/** Find out what to declare a file as: what the browser says, unless its first bytes say better. Throws where they say that it is something
 * else altogether, and the file route holds files to that.
 * @param {File} file @param {Uint8Array} head @param {() => Promise<Rules>} askRules */
export async function typeToDeclare(file, head, askRules) {
  const { type, noun } = detect(head);
  if (!file.type) return type;
  const named = file.type.split(";")[0].trim().toLowerCase();
  const [, expected = ""] = CHECKED_TYPES.find(([pattern]) => pattern.test(named)) ?? [];
  const isMotionPicture = /hei|avif/.test(named) && RECORDINGS.includes(noun); // some containers hold both
  const isSame = expected === noun || [expected, noun].every((each) => RECORDINGS.includes(each)) || isMotionPicture;
  const isMisnamed = isSame && type && type !== named && PICTURE_TYPES.includes(named);
  if (!expected || !noun || (isSame && !isMisnamed)) return file.type;
  // Without an answer the appliance judges, later.
  const rules = await askRules().catch((error) => { if (isStop(error)) throw error; });
  if (!rules || rules.verifyContent === false) return file.type;
  if (isMisnamed) return type;
  const off = "where that is meant, switch the check of first bytes (verifyContent) off on the file route";
  const suggestion = `The file's first bytes contradict its type ${named}; ${off}`;
  throw new UploadError("UPLOAD_NOT_VERIFIED", `This looks like ${noun}, not ${expected}`, { suggestion });
}
