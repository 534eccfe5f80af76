import { expect, it } from "vitest";

import type { EventView } from "../../api/types";
import { KINDS, sentenceOf } from "./events";

const event = (kind: EventView["kind"], rest: Partial<EventView> = {}): EventView => ({
  event_id: "e1",
  at: "2026-05-03T12:00:00Z",
  kind,
  user_id: "u1",
  email: "ada@example.com",
  actor_id: null,
  actor_email: null,
  ip: "127.0.0.1",
  details: {},
  ...rest,
});

it("says each kind in a sentence of its own", () => {
  const said = Object.keys(KINDS).map((kind) => sentenceOf(event(kind as EventView["kind"])));
  expect(new Set(said).size).toBe(said.length);
  for (const sentence of said) expect(sentence).toMatch(/^\S.*\.$/);
});

it("names who did it to whom", () => {
  expect(sentenceOf(event("user_disabled", { actor_id: "u2", actor_email: "ben@example.com" }))).toBe(
    "ben@example.com disabled ada@example.com.",
  );
  expect(sentenceOf(event("user_disabled", { details: { by: "command line" } }))).toBe(
    "The command line disabled ada@example.com.",
  );
  expect(sentenceOf(event("account_deleted"))).toBe("ada@example.com deleted their own account.");
  expect(sentenceOf(event("key_created", { details: { scopes: ["read", "ask"] } }))).toBe(
    "ada@example.com made an API key (read, ask).",
  );
});

it("has words for accounts that are gone or never were", () => {
  expect(sentenceOf(event("login", { user_id: "0123456789", email: null }))).toBe(
    "A deleted account (012345) logged in.",
  );
  expect(sentenceOf(event("login_failed", { user_id: null, email: null }))).toBe(
    "A login to an unknown account failed.",
  );
});
