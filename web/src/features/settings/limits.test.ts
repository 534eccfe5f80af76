import { expect, it } from "vitest";

import { inWords } from "./limits";

const NOW = new Date(2026, 4, 3, 14, 0, 0);
const soon = new Date(NOW.getTime() + 600_000).toISOString();

it("says what is used, what remains, and when it begins anew", () => {
  const [bytes, tokens] = inWords(
    [
      { name: "tokens_per_day", limit: 1000, used: 1000, remaining: 0, resets_at: soon },
      { name: "stored_bytes", limit: 5_000_000, used: 1_200_000, remaining: 3_800_000, resets_at: null },
    ],
    NOW,
  );
  expect(bytes).toMatchObject({ used: "1.2 MB of 5.0 MB", left: "3.8 MB left.", share: 0.24, full: false });
  expect(tokens).toMatchObject({
    used: "1,000 of 1,000",
    left: "Nothing left; begins anew in 10 min.",
    share: 1,
    full: true,
  });
});

it("knows what has no limit", () => {
  const limits = inWords([{ name: "documents", limit: 0, used: 12, remaining: null, resets_at: null }]);
  expect(limits).toEqual([
    { name: "documents", label: "Documents", used: "12", left: "No limit.", share: null, full: false },
  ]);
});
