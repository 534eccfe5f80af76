import { useState } from "react";
import { LorestreamError } from "@lorestream/client";

import { messageOf } from "./message";

type Fields = Readonly<Record<string, string>>;

/** What became of the last thing that was tried on the server. */
export interface Attempt {
  busy: boolean;
  /** Why it was refused; null where the fields say so themselves. */
  problem: string | null;
  /** What is wrong with which field, in a sentence. */
  fields: Fields;
  /** When it may be tried again (as `Date.now`), where the server said so. */
  retryAt: number | null;
}

const NOTHING: Attempt = { busy: false, problem: null, fields: {}, retryAt: null };

/** Do something that the server may refuse, and say so. */
export function useAttempt() {
  const [state, setState] = useState(NOTHING);
  /** `named` are the fields that show their own errors; anything else is said by `problem`. */
  const attempt = (work: () => Promise<unknown>, named: readonly string[] = []): void => {
    setState({ ...NOTHING, busy: true });
    work().then(
      () => setState(NOTHING),
      (error: unknown) => setState(refusal(error, named)),
    );
  };
  /** Nothing is sent, for these reasons. */
  const refuse = (fields: Fields): void => setState({ ...NOTHING, fields });
  return { ...state, attempt, refuse };
}

export function refusal(error: unknown, named: readonly string[]): Attempt {
  const { fields, retryAt } = error instanceof LorestreamError ? error : NOTHING;
  const shown = Object.entries(fields).filter(([name]) => named.includes(name));
  const said = shown.length > 0 && shown.length === Object.keys(fields).length;
  return {
    busy: false,
    problem: said ? null : messageOf(error),
    fields: Object.fromEntries(shown.map(([name, reason]) => [name, sentence(reason)])),
    retryAt,
  };
}

/** "needs at least 8 characters", as it is said beside its field. */
const sentence = (reason: string): string =>
  `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;
