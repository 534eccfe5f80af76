import { expect, it } from "vitest";

import { passwordHint, passwordLength } from "./password-hint";

it("names the rule before the mistake, and what is missing while one writes", () => {
  expect(passwordHint(0, 8, 15)).toBe(
    "At least 8 characters, better 15 or more; a few words in a row make a good one.",
  );
  expect(passwordHint(5, 8, 15)).toBe("3 more to go, of at least 8.");
  expect(passwordHint(8, 8, 15)).toBe("Long enough; 15 or more are better.");
  expect(passwordHint(15, 8, 15)).toBe("A good length.");
  expect(passwordHint(0, 15, 15)).toBe("At least 15 characters; a few words in a row make a good one.");
});

it("counts characters as the server does", () => {
  expect(passwordLength("e\u0301")).toBe(1);
  expect(passwordLength("🔑🔑")).toBe(2);
});
