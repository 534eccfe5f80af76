// What the drivers of our own packages share: the target, what was seen of it, and how that is told.
import { LorestreamClient } from "@lorestream/client";

export const target = JSON.parse(process.argv[2]);
export const client = new LorestreamClient({ url: target.url, token: target.token });
export const model = target.model ?? undefined;

const seen = { text: "", sources: null, end: "", stopped_at: 0 };

/** Note that the client stops now. */
export function stopping() {
  seen.stopped_at = Number(process.hrtime.bigint()) / 1e9;
}

/** Print what was seen: the answer so far, and how it ended or what was thrown. */
export function tell({ text, sources }, end) {
  console.log(JSON.stringify({ ...seen, text, sources: sources?.length ?? null, end }));
}

export const wordsOf = (error) => `${error.status || "in mid-answer"} ${error.code}: ${error.message}`;
