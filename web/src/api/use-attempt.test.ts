import { expect, it } from "vitest";
import { toError } from "@lorestream/client";

import { refusal } from "./use-attempt";

const problem = (errors: { field: string; reason: string }[], retryAfter: string | null = null) =>
  toError(422, JSON.stringify({ code: "invalid_input", message: "The request is not valid.", errors }), retryAfter);

it("says what is wrong beside the field, and only there", () => {
  const refused = problem([{ field: "body.password", reason: "needs at least 8 characters" }]);
  expect(refusal(refused, ["password"])).toMatchObject({
    problem: null,
    fields: { password: "Needs at least 8 characters." },
  });
});

it("says what no field of the form can say", () => {
  const both = problem([
    { field: "body.password", reason: "is too common" },
    { field: "body.shoe", reason: "unknown" },
  ]);
  expect(refusal(both, ["password"])).toMatchObject({
    problem: "The request is not valid.",
    fields: { password: "Is too common." },
  });
  expect(refusal(new Error("x"), []).problem).toContain("reload");
});

it("tells when it may be tried again", () => {
  const { retryAt } = refusal(problem([], "30"), []);
  expect((retryAt ?? 0) - Date.now()).toBeGreaterThan(29_000);
});
