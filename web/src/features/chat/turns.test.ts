import { beginning } from "@lorestream/client";
import { expect, it } from "vitest";

import type { Message } from "../../api/types";
import type { Exchange, Place } from "./exchange";
import { turnsOf } from "./turns";

const message = (id: string, parent: string | null): Message => ({
  message_id: id,
  parent_id: parent,
  role: id.startsWith("q") ? "user" : "assistant",
  content: id,
  status: "done",
  error: null,
  sources: [],
  citations: [],
  uncited: false,
  run_id: id.startsWith("a") ? `run-${id}` : null,
  created_at: "2026-01-01T00:00:00Z",
  finish_reason: "stop",
  model: "m",
  timings: null,
  usage: null,
  feedback: null,
});
const MESSAGES = [message("q1", null), message("a1", "q1"), message("q2", "a1"), message("a2", "q2")];

const followed = (runId: string | null, place: Partial<Place>): Exchange =>
  ({
    key: "live",
    place: { conversationId: "c", parentId: null, kind: "question", ...place },
    answer: { getState: () => beginning("live", runId) },
  }) as unknown as Exchange;

const shown = (exchanges: Exchange[], messages = MESSAGES, choices = new Map<string | null, string>()) =>
  turnsOf(messages, choices, exchanges).map((turn) =>
    [turn.question?.content ?? "-", turn.answer?.content ?? "-", turn.exchange ? "live" : ""].join(" ").trim(),
  );

it("pairs questions with their answers", () => {
  expect(shown([])).toEqual(["q1 a1", "q2 a2"]);
});

it("shows a new question at the end until the server tells it, and then in its place", () => {
  expect(shown([followed(null, { parentId: "a2" })])).toEqual(["q1 a1", "q2 a2", "- - live"]);
  const told = [...MESSAGES, message("q3", "a2"), message("a3", "q3")];
  expect(shown([followed("run-a3", { parentId: "a2" })], told)).toEqual(["q1 a1", "q2 a2", "q3 a3 live"]);
});

it("shows an edited question where the earlier one stood", () => {
  expect(shown([followed("run-new", { parentId: "a1" })])).toEqual(["q1 a1", "- - live"]);
  expect(shown([followed("run-new", { parentId: null })])).toEqual(["- - live"]);
});

it("shows a new answer under its question", () => {
  expect(shown([followed("run-new", { parentId: "q1", kind: "answer" })])).toEqual(["q1 - live"]);
});

it("leaves a branch that is looked at alone", () => {
  const other = [...MESSAGES, message("a1b", "q1")];
  expect(shown([followed("run-new", { parentId: "a2" })], other)).toEqual(["q1 a1b"]);
  const [turn] = turnsOf(other, new Map([["q1", "a1"]]), []);
  expect(turn?.answerBranches).toMatchObject({ index: 0, all: [{ content: "a1" }, { content: "a1b" }] });
  expect(turn?.questionBranches).toBeNull();
});
