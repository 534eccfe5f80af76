import { expect, it } from "vitest";

import { draftsOf } from "./drafts";

it("keeps what one user was writing over the end of a login, and shows it to nobody else", () => {
  draftsOf("ada").set("c1", "Half a ques");
  expect(draftsOf("ada").get("c1")).toBe("Half a ques");
  expect(draftsOf("ben").get("c1")).toBe("");
  expect(draftsOf("ada").get("c1")).toBe("");
});

it("puts an unsent question back, unless something else was written since", () => {
  const drafts = draftsOf("eve");
  drafts.keep(null, "Unsent");
  expect(drafts.get(null)).toBe("Unsent");
  drafts.set("c1", "Newer");
  drafts.keep("c1", "Older");
  expect(drafts.get("c1")).toBe("Newer");
});
