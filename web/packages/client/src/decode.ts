import type { StreamEvent } from "./types.js";

const TYPES: ReadonlySet<string> = new Set<StreamEvent["type"]>([
  "status",
  "sources",
  "reasoning",
  "token",
  "done",
  "error",
]);

/** The event in a `data:` field; null for what this version does not know, so that newer servers break nothing. */
export function decode(data: string): StreamEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const event = value as Partial<Record<string, unknown>>;
  if (typeof event.type !== "string" || !TYPES.has(event.type)) return null;
  const fits =
    event.type === "sources"
      ? Array.isArray(event.sources)
      : event.type === "token" || event.type === "reasoning"
        ? typeof event.text === "string"
        : event.type !== "error" || typeof event.message === "string";
  return fits ? (value as StreamEvent) : null;
}

export const isTerminal = (event: StreamEvent): boolean => event.type === "done" || event.type === "error";
