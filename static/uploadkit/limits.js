// How large, how many, how long: every number of the module.

export const MULTIPART_OVER_BYTES = 10 * 1024 * 1024;
export const MOST_PARTS = 10_000; // of an upload, as S3 has it
export const FILES_AT_ONCE = 4; // with as many PUTs, browsers' six connections to a host have room for calls
export const HEAD_BYTES = 4096; // what the appliance looks at, too
export const START_SECONDS = 120; // for the first byte to go while nothing else of the page does, either
export const SILENCE_SECONDS = 60; // between two bytes, for each request that shares the line
export const ANSWER_SECONDS = 300; // the store joins or copies the whole file before `complete` is answered
export const SLOWEST_BYTES_PER_SECOND = 16 * 1024; // at which a proxy passes on what the browser thinks it has sent
export const FIRST_CONTACT_SECONDS = 8; // a host that never answered is more likely a wrong address, or refuses this page's origin
export const COMPLETE_SECONDS = 900;
export const OFFLINE_PATIENCE = 10; // times; some browsers think that they are offline and are not
export const ENDING_SECONDS = 5; // that a stopped upload waits for answers, so that it is known what began, and that it has ended
export const LIMITED_SECONDS = 3600; // the longest `Retry-After` that is waited for unasked
export const LIMITED_ALTOGETHER_MS = 24 * 3600 * 1000;
export const URL_GOOD_MS = 50 * 60_000; // an hour, by default; a store that refuses one earlier is asked with a fresh one, too
export const REMEMBERED_MS = 7 * 24 * 3600 * 1000; // an upload token finishes what it began for so long
