import { LorestreamError } from "@lorestream/client";

/** What to tell a person about anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof LorestreamError ? error.message : "Something went wrong in this page. Please reload it.";
}
