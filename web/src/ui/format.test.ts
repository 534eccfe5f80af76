import { expect, it } from "vitest";

import { formatAgo, formatBytes, formatDay, formatTime, formatWait, plural } from "./format";

const NOW = new Date(2026, 4, 3, 14, 0, 0);
const at = (hours: number): string => new Date(NOW.getTime() + hours * 3_600_000).toISOString();

it("says how long ago", () => {
  expect(formatAgo(at(0), NOW)).toBe("just now");
  expect(formatAgo(at(-0.5), NOW)).toBe("30 min ago");
  expect(formatAgo(at(-3), NOW)).toBe("today at 11:00");
  expect(formatAgo(at(-24), NOW)).toBe("yesterday");
  expect(formatAgo(at(-24 * 10), NOW)).toBe("23 Apr");
  expect(formatAgo(at(-24 * 400), NOW)).toBe("29 Mar 2025");
});

it("names days and times", () => {
  expect(formatDay(at(24), NOW)).toBe("tomorrow");
  expect(formatTime(at(-1), NOW)).toBe("today, 13:00");
});

it("says when something is possible again", () => {
  expect(formatWait(45, NOW)).toBe("in 45 s");
  expect(formatWait(600, NOW)).toBe("in 10 min");
  expect(formatWait(3 * 3600, NOW)).toBe("at 17:00");
  expect(formatWait(10 * 3600, NOW)).toBe("tomorrow at 00:00");
});

it("counts", () => {
  expect(plural(1, "document")).toBe("1 document");
  expect(plural(12_345, "token")).toBe("12,345 tokens");
  expect(formatBytes(5_000_000_000_000)).toBe("5.0 TB");
});
