import type { LimitView } from "./types";

/** The limits of a user by their names on the wire, what fills up slowly first. */
export const LIMIT_LABELS: Readonly<Record<LimitView["name"], string>> = {
  stored_bytes: "Stored files",
  documents: "Documents",
  uploads_per_hour: "Uploads an hour",
  tokens_per_day: "Tokens a day",
  running_answers: "Answers at once",
  open_streams: "Open streams at once",
  requests_per_minute: "Requests a minute",
};
