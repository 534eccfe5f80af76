import { expect, it } from "vitest";

import { groupByDay } from "./group-by-day";

const at = (year: number, month: number, day: number, hour = 12) => ({
  updated_at: new Date(year, month - 1, day, hour).toISOString(),
});

it("groups by the reader's days, softer the longer ago", () => {
  const now = new Date(2026, 2, 10, 0, 30);
  const items = [
    at(2026, 3, 10, 0),
    at(2026, 3, 9, 23),
    at(2026, 3, 9, 1),
    at(2026, 3, 5),
    at(2026, 2, 20),
    at(2026, 2, 2),
    at(2025, 12, 31),
  ];
  expect(groupByDay(items, now).map(({ label, items: { length } }) => `${label}: ${length}`)).toEqual([
    "Today: 1",
    "Yesterday: 2",
    "The last 7 days: 1",
    "February: 2",
    "December 2025: 1",
  ]);
});
